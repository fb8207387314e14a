/**
 * Builds the npm package into dist/lib and the demo page into dist/page.
 *
 *   node build.mjs [--kernels FOLDER] [--pyodide FOLDER --wheel FILE]
 *
 * With a folder of WebAssembly modules of the kernels they become part of the package. With a Pyodide folder and the wheel, dist/page is complete: any static server can serve it, and it loads nothing
 * from elsewhere. Without them only the code is built.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { minify } from "terser";

const WEB = fileURLToPath(new URL(".", import.meta.url));
const LIB = join(WEB, "dist/lib");
const PAGE = join(WEB, "dist/page");

const { values: options } = parseArgs({
  options: { kernels: { type: "string" }, pyodide: { type: "string" }, wheel: { type: "string" } },
});

const common = {
  bundle: true,
  format: "esm",
  target: "es2022",
  external: ["node:*"],
  logLevel: "warning",
};

/**
 * The package twice. dist/lib runs wherever modules do, in Node and in a page without a bundler. dist/lib/browser is what
 * bundlers take for a page: without a word of Node in it, because some of them refuse `node:` wherever they see it.
 */
const VARIANTS = [
  { folder: LIB, options: {}, plugins: [] },
  {
    folder: join(LIB, "browser"),
    options: { define: { process: "undefined" } },
    plugins: [assetsAbove(), withoutAddons()],
  },
];

/** Of the kernels' runtime, what is fetched when it is asked for: the files of the package, and their sources. */
const PIECES = {
  wasm_batching: "batching.ts",
  wasm_client: "worker_client.ts",
  wasm_description: "description.gen.ts",
  wasm_dual_space: "dual_space.ts",
  wasm_edges: "edges.ts",
  wasm_heads: "heads.ts",
  wasm_hierarchical: "hierarchical.ts",
  wasm_hyperbolic: "hyperbolic.ts",
  wasm_linear: "linear.ts",
  wasm_memory: "memory.ts",
  wasm_moe: "moe.ts",
  wasm_positions: "positions.ts",
  wasm_threads: "threads/index.ts",
  wasm_top_k: "top_k.ts",
};

async function buildLibrary() {
  await rm(LIB, { recursive: true, force: true });
  for (const variant of VARIANTS) await buildVariant(variant);
  if (options.kernels) {
    for (const file of await readdir(options.kernels)) {
      if (file.endsWith(".wasm")) await copyFile(join(options.kernels, file), join(LIB, file));
    }
  }
  const tsc = join(WEB, "node_modules/typescript/bin/tsc");
  const { status } = spawnSync(process.execPath, [tsc, "-p", join(WEB, "tsconfig.types.json")], {
    stdio: "inherit",
  });
  if (status !== 0) throw new Error("tsc found errors");
}

async function buildVariant({ folder, options, plugins }) {
  const library = { ...common, ...options, outdir: folder, minify: true, write: false, metafile: true };
  const core = { files: new Set(), exports: new Set() };
  const builds = [
    // The kernels' runtime is a part that is fetched when it is loaded.
    {
      entryPoints: {
        index: join(WEB, "src/index.ts"),
        classes: join(WEB, "src/classes/index.ts"),
        native: join(WEB, "src/native/index.ts"),
      },
      splitting: true,
      chunkNames: "part-[hash]",
      plugins,
    },
    // Where only it is wanted it is one file,
    {
      entryPoints: { wasm: join(WEB, "src/wasm/core.ts") },
      plugins: [...Object.entries(PIECES).map(([name, file]) => elsewhere(file, name)), ...plugins],
    },
    // and one more for each of what not everybody wants, which has the rest from the first.
    ...Object.entries(PIECES).map(([name, file]) => ({
      entryPoints: { [name]: join(WEB, "src/wasm", file) },
      plugins: [
        ...Object.entries(PIECES).map(([other, path]) => elsewhere(path, other)),
        ofCore(core),
        ...plugins,
      ],
    })),
    {
      entryPoints: {
        worker: join(WEB, "src/worker.ts"),
        wasm_worker: join(WEB, "src/wasm/worker.ts"),
        wasm_thread: join(WEB, "src/wasm/threads/thread.ts"),
      },
      plugins,
    },
  ];
  await mkdir(folder, { recursive: true });
  for (const part of builds) {
    const { outputFiles, metafile } = await build({ ...library, ...part });
    if (part.entryPoints.wasm) {
      const [{ inputs, exports }] = Object.values(metafile.outputs);
      core.files = new Set(Object.keys(inputs).map((path) => resolve(path)));
      // Of these it has a line or two, and what is only for Node goes away only where IN_NODE is known.
      for (const own of ["abort.ts", "protocol.ts", "places.ts", "naming.ts"])
        core.files.delete(join(WEB, "src", own));
      core.exports = new Set(exports);
    }
    for (const { path, text } of outputFiles) {
      checkImports(path, text, core.exports);
      await writeFile(path, await smaller(text));
    }
  }
}

/** What esbuild leaves: code behind a condition that another module decides, and a few per cent. */
async function smaller(code) {
  const compress = { passes: 3, unsafe_arrows: true, pure_getters: true };
  const { code: small } = await minify(code, { module: true, ecma: 2022, compress });
  // Pyodide's address is known when it is asked for; a bundler is not to look for it. Terser drops such comments.
  return small.replace(
    /(?<![\w.$])import\((?=[\w$])/g,
    "import(/* webpackIgnore: true */ /* @vite-ignore */ ",
  );
}

/** There are no addons in a page. */
function withoutAddons() {
  const path = join(WEB, "src/native/load_in_page.ts");
  return {
    name: "without-addons",
    setup: ({ onResolve }) =>
      onResolve({ filter: /(\/native|^\.)\/load\.js$/ }, ({ importer, path: given }) =>
        given.includes("/native/") || importer.endsWith("src/native/index.ts") ? { path } : undefined,
      ),
  };
}

/** Imports of a source of the kernels' runtime that stay imports, of another file of the package. */
function elsewhere(source, name) {
  return {
    name: "elsewhere",
    setup: ({ onResolve }) => {
      const filter = new RegExp(`/${source.replace(/\.ts$/, "").replaceAll(".", "\\.")}\\.js$`);
      onResolve({ filter }, ({ kind, path, resolveDir }) => {
        const isMeant = resolve(resolveDir, path) === join(WEB, "src/wasm", source.replace(/\.ts$/, ".js"));
        return isMeant && kind === "dynamic-import" ? { path: `./${name}.js`, external: true } : undefined;
      });
    },
  };
}

/** What wasm.js holds already comes from there. */
function ofCore(core) {
  return {
    name: "of-core",
    setup: ({ onResolve }) =>
      onResolve({ filter: /^\.\.?\/.*\.js$/ }, ({ kind, path, resolveDir }) =>
        kind === "import-statement" && core.files.has(resolve(resolveDir, path.replace(/\.js$/, ".ts")))
          ? { path: "./wasm.js", external: true }
          : undefined,
      ),
  };
}

/** Imports that are never made. */
function without(filter) {
  return {
    name: "without",
    setup: ({ onResolve }) => onResolve({ filter }, () => ({ path: "./wasm.js", external: true })),
  };
}

/** Of wasm.js only what core.ts exports. */
function checkImports(path, text, exported) {
  for (const [, names] of text.matchAll(/import\s*\{([^}]*)\}\s*from\s*"\.\/wasm\.js"/g)) {
    for (const name of names.split(",").map((each) => each.trim().split(" as ")[0]))
      if (!exported.has(name))
        throw new Error(`${basename(path)} imports ${name}, which src/wasm/core.ts lacks`);
  }
}

/** What both variants share lies in the folder above the second. */
function assetsAbove() {
  const shared = /"\.\/(?=wasm-[a-z0-9-]+\.wasm"|assets\/")/g;
  return {
    name: "assets-above",
    setup: ({ onLoad }) =>
      onLoad({ filter: /\/src\/(load|wasm\/module|wasm\/threads\/index)\.ts$/ }, async ({ path }) => ({
        contents: (await readFile(path, "utf8")).replace(shared, '"../'),
        loader: "ts",
      })),
  };
}

async function buildPage() {
  await mkdir(PAGE, { recursive: true });
  await build({
    ...common,
    entryPoints: {
      app: join(WEB, "demo/main.ts"),
      worker: join(WEB, "src/worker.ts"),
      style: join(WEB, "demo/page.css"),
    },
    outdir: PAGE,
    minify: true,
    plugins: [without(/\/(wasm|native)\/load\.js$/)], // the page runs Pyodide and never asks for the others
  });
  for (const file of ["index.html", "icon.svg", "digits_job.py"]) {
    await copyFile(join(WEB, "demo", file), join(PAGE, file));
  }
}

/** Pyodide's own files and the wheels its lock names, where they are present; nothing else of its folder. */
async function copyAssets(pyodide, wheel) {
  const target = join(PAGE, "pyodide");
  await rm(target, { recursive: true, force: true });
  await mkdir(target, { recursive: true });
  const lock = JSON.parse(await readFile(join(pyodide, "pyodide-lock.json"), "utf8"));
  const wanted = new Set([
    "pyodide.mjs",
    "pyodide.asm.mjs", // from 0.28 on
    "pyodide.asm.js", // before
    "pyodide.asm.wasm",
    "python_stdlib.zip",
    "pyodide-lock.json",
    lock.packages.numpy.file_name,
  ]);
  const present = await readdir(pyodide);
  for (const file of present) if (wanted.has(file)) await copyFile(join(pyodide, file), join(target, file));
  if (!present.includes(lock.packages.numpy.file_name)) throw new Error(`${pyodide} lacks the NumPy wheel`);
  for (const file of await readdir(PAGE)) if (file.endsWith(".whl")) await rm(join(PAGE, file));
  await copyFile(wheel, join(PAGE, basename(wheel)));
  const sha256 = createHash("sha256")
    .update(await readFile(wheel))
    .digest("hex");
  const manifest = { pyodide: "pyodide/", wheel: basename(wheel), sha256 };
  await writeFile(join(PAGE, "assets.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

await buildLibrary();
await buildPage();
if (options.pyodide && options.wheel) await copyAssets(options.pyodide, options.wheel);
