/**
 * What is in the packed tarball, file by file: its size, and that compressed by Brotli, as a server sends it.
 *
 *   npm run contents                      of the package as `npm pack` makes it of dist/lib
 *   npm run contents -- FILE.tgz ...      of these, as build_scripts/build_node.py makes them
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync } from "node:zlib";

const WEB = fileURLToPath(new URL(".", import.meta.url));

function run(command, words, cwd) {
  const { error, status, stdout, stderr } = spawnSync(command, words, {
    cwd,
    encoding: "utf8",
    shell: process.platform === "win32" && command === "npm",
  });
  if (error || status !== 0) throw new Error(`${command} ${words.join(" ")}: ${error?.message ?? stderr}`);
  return stdout;
}

/** Every file of a tarball: [{ path, bytes }], by path. */
export function filesOf(tarball) {
  const folder = mkdtempSync(join(tmpdir(), "ruvector-contents-"));
  try {
    run("tar", ["-xzf", resolve(tarball), "-C", folder]);
    const root = join(folder, "package"); // npm's name for it in every tarball
    const paths = readdirSync(root, { recursive: true }).filter((path) =>
      statSync(join(root, path)).isFile(),
    );
    return paths.sort().map((path) => ({
      path: path.split(sep).join("/"),
      bytes: readFileSync(join(root, path)),
    }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A line a file, and the sums. */
export function table(tarball) {
  const files = filesOf(tarball).map(({ path, bytes }) => [
    path,
    bytes.length,
    brotliCompressSync(bytes).length,
  ]);
  const sum = (column) => files.reduce((total, file) => total + file[column], 0);
  const rows = [...files, [`${files.length} files`, sum(1), sum(2)]];
  const width = Math.max(...rows.map(([path]) => path.length));
  const line = (path, ...sizes) => [path.padEnd(width), ...sizes.map((size) => size.padStart(9))].join("  ");
  const packed = `${basename(tarball)}, ${grouped(statSync(tarball).size)} bytes`;
  const head = line("name", "size", "brotli");
  return [packed, head, ...rows.map(([path, ...sizes]) => line(path, ...sizes.map(grouped)))].join("\n");
}

const grouped = (size) => String(size).replace(/\B(?=(\d{3})+$)/g, " ");

function main(tarballs) {
  if (tarballs.length > 0) {
    console.log(tarballs.map(table).join("\n\n"));
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "ruvector-pack-"));
  try {
    const [{ filename }] = JSON.parse(run("npm", ["pack", "--json", "--pack-destination", folder], WEB));
    console.log(table(join(folder, filename)));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv.slice(2));
