/** Takes the files of a start that went well, and puts them back before Python begins. */
import type { FileSystem, Pyodide, PyProxy } from "./pyodide_api.js";
import { type Bytes, type Files, pack, unpack } from "./start_archive.js";
import type { StartStore } from "./start_store.js";

/** Milliseconds of compiling between two looks at whether something better is to do; a long module takes longer. */
const SLICE = 8;

/** Where Python's library lies, as one zip file: "/lib/python314.zip". */
function libraryOf(sitePackages: string): string {
  return sitePackages.replace(/python(\d+)\.(\d+)\/site-packages$/, "python$1$2.zip");
}

/** The start that is kept for this key; undefined, and nothing is kept any more, where it is damaged. */
export async function readKept(store: StartStore, place: string, key: string): Promise<Files | undefined> {
  try {
    const bytes = await store.read(place, key);
    const files = bytes && (await unpack(key, bytes));
    if (bytes && !files) await store.remove(place);
    return files;
  } catch {
    return undefined;
  }
}

/** Before Python begins: everything that was installed, and the library with bytecode in the place of the plain one. */
export async function putBack(fs: FileSystem, sitePackages: string, files: Files): Promise<void> {
  const library = libraryOf(sitePackages);
  const folders = new Set<string>();
  for (const [path, bytes] of files) {
    if (path === library) continue;
    const folder = path.slice(0, path.lastIndexOf("/"));
    if (!folders.has(folder)) fs.mkdirTree(folder);
    folders.add(folder);
    fs.writeFile(path, bytes, { canOwn: true }); // a view of what was read: nothing is copied
  }
  // Pyodide writes what it has fetched as its library some time; what is kept has to come after that.
  const begun = performance.now();
  while (!fs.analyzePath(library).exists) {
    if (performance.now() - begun > 30_000) throw new Error(`${library} was not written`);
    await new Promise((soon) => setTimeout(soon, 1));
  }
  fs.writeFile(library, files.get(library) as Bytes, { canOwn: true });
}

/** What a start has installed, and nobody else. */
export interface Installed {
  readonly sitePackages: string;
  /** Folders in it. */
  readonly names: readonly string[];
}

/**
 * Compiles what this start imported, a module at a time, and gives what it installed to the store. `calm` resolves when
 * there is nothing better to do.
 */
export async function keep(
  pyodide: Pyodide,
  installed: Installed,
  calm: () => Promise<void>,
  write: (files: Files) => Promise<void>,
): Promise<void> {
  const { FS } = pyodide;
  const { sitePackages, names } = installed;
  const library = libraryOf(sitePackages);
  const copy = `/home/pyodide/${crypto.randomUUID()}.zip`;
  await calm();
  const compiler = pyodide.pyimport("ruvector_attention.bytecode");
  let writer: (PyProxy & { step(): boolean }) | undefined;
  try {
    writer = compiler.BytecodeWriter(sitePackages, library, copy) as PyProxy & { step(): boolean };
    let isLeft = true;
    while (isLeft) {
      await calm();
      const begun = performance.now();
      do isLeft = writer.step();
      while (isLeft && performance.now() - begun < SLICE);
    }
    await calm();
    const files: Files = new Map();
    for (const name of names) collect(FS, `${sitePackages}/${name}`, files);
    files.set(library, FS.readFile(copy));
    await write(files);
  } finally {
    writer?.destroy();
    compiler.destroy();
    if (FS.analyzePath(copy).exists) FS.unlink(copy);
  }
}

export async function store(kept: StartStore, place: string, key: string, files: Files): Promise<void> {
  await kept.write(place, key, await pack(key, files));
}

function collect(fs: FileSystem, path: string, files: Files): void {
  if (!fs.isDir(fs.stat(path).mode)) {
    files.set(path, fs.readFile(path));
    return;
  }
  for (const name of fs.readdir(path))
    if (name !== "." && name !== "..") collect(fs, `${path}/${name}`, files);
}
