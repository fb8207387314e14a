/** What is in the tarball, and what others say of it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join, sep } from "node:path";
import { before, describe, test } from "node:test";
import { filesOf, table } from "../contents.mjs";
import { install, pack, run, SCRATCH, WEB } from "./packed.mjs";

const MODULES = [
  "wasm-relaxed-simd.wasm",
  "wasm-simd128.wasm",
  "wasm-scalar.wasm",
  "wasm-relaxed-simd-threads.wasm",
  "wasm-simd128-threads.wasm",
];
/** The scripts of the package that one of them imports, or starts as a worker: by their places in the tarball. */
function scriptsIn(name) {
  const text = readFileSync(join(SCRATCH, "node_modules/ruvector-attention", name), "utf8");
  const places = [...text.matchAll(/["'](\.{1,2}\/[\w./-]+\.js)["']/g)].map(([, place]) => place);
  return places.map((place) => new URL(place, new URL(name, "file:///")).pathname.slice(1));
}

const bin = (name) => join(WEB, "node_modules/.bin", name);
let packed;
let names;

before(async () => {
  packed = await pack();
  names = packed.files.map(({ path }) => path);
  await install(packed.tarball, []);
});

describe("the tarball", () => {
  test("holds a declaration for every source, the modules, scripts that an entry asks for, and nothing else", async () => {
    const { exports } = JSON.parse(await readFile(join(WEB, "package.json"), "utf8"));
    const sources = (await readdir(join(WEB, "src"), { recursive: true })).filter((name) =>
      name.endsWith(".ts"),
    );
    const declarations = sources.map(
      (name) => `dist/lib/${name.split(sep).join("/").replace(/ts$/, "d.ts")}`,
    );
    const entries = Object.values(exports)
      .flatMap((entry) => (typeof entry === "string" ? entry : Object.values(entry)))
      .map((name) => name.replace("./", ""))
      .filter((name) => name.endsWith(".js"));
    const asked = new Set();
    for (const wanted = entries; wanted.length > 0; ) {
      const name = wanted.pop();
      if (asked.has(name)) continue;
      asked.add(name);
      wanted.push(...scriptsIn(name));
    }
    const modules = MODULES.map((name) => `dist/lib/${name}`);
    assert.deepEqual(
      names.toSorted(),
      ["README.md", "package.json", ...declarations, ...asked, ...modules].sort(),
    );
  });

  test("is what the command `npm run contents` prints, compressed and not", () => {
    const lines = table(packed.tarball).split("\n");
    assert.deepEqual(
      lines.slice(2, -1).map((line) => line.match(/^\S+/)[0]),
      names.toSorted(),
    );
    console.log(lines.join("\n"));
    const numbers = lines
      .at(-1)
      .match(/^(\d+) files +([\d ]*\d) {2,}([\d ]*\d)$/)
      .slice(1);
    const [count, size, compressed] = numbers.map((number) => Number(number.replaceAll(" ", "")));
    assert.equal(count, names.length);
    const told = packed.files.reduce((sum, file) => sum + file.size, 0); // by npm
    assert.equal(size, told);
    assert(compressed > size / 10 && compressed < size / 2, `${compressed} of ${size} bytes`);
  });

  test("has no path of the machine that made it, in any file", () => {
    const places = [join(WEB, ".."), join(tmpdir(), sep), join(homedir(), sep)].filter(
      (place) => place !== sep,
    );
    for (const { path, bytes } of filesOf(packed.tarball))
      for (const place of places) assert(!bytes.includes(place), `${path} has ${place} in it`);
  });

  test("holds every file that its exports name", async () => {
    const { exports } = JSON.parse(await readFile(join(WEB, "package.json"), "utf8"));
    const named = Object.values(exports).flatMap((entry) =>
      typeof entry === "string" ? [entry] : Object.values(entry),
    );
    assert(
      named.length >= 20,
      `${named.length} files are named; expected those of every entry and condition`,
    );
    for (const name of named) assert(names.includes(name.replace("./", "")), `${name} is missing`);
  });

  test("names no map and no other file that it does not hold", async () => {
    const scripts = names.filter((name) => /\.(js|d\.ts)$/.test(name));
    for (const name of scripts) {
      const text = await readFile(join(SCRATCH, "node_modules/ruvector-attention", name), "utf8");
      assert(!text.includes("sourceMappingURL"), `${name} names a map`);
      const folder = new URL(name, "file:///");
      // sentences in comments name files too; a file's name in code is in quotes, and relative
      for (const [, place] of text.matchAll(/["'](\.{1,2}\/[\w./-]+\.(?:js|wasm))["']/g)) {
        const path = new URL(place, folder).pathname.slice(1);
        const declared = path.replace(/\.js$/, ".d.ts");
        const found = names.includes(path) || (name.endsWith(".d.ts") && names.includes(declared));
        assert(found, `${name} asks for ${place}, which is not in the tarball`);
      }
    }
  });

  test("holds no eval, no function made of text, and no Node in what pages get", async () => {
    for (const name of names.filter((name) => name.endsWith(".js"))) {
      const text = await readFile(join(SCRATCH, "node_modules/ruvector-attention", name), "utf8");
      assert(!/\beval\(|\bnew Function\b/.test(text), `${name} makes code of text`);
      if (name.startsWith("dist/lib/browser/"))
        assert(!/["']node:|\bprocess\.|\brequire\(["']/.test(text), `${name} has Node in it`);
    }
  });
});

test("publint has nothing to say", async () => {
  const printed = await run(bin("publint"), ["--strict", "--pack", "npm"]);
  assert.match(printed, /All good!/);
});

test("the types resolve as the modules do, says attw", async () => {
  // a module of WebAssembly has no types, and who writes require() gets ESM in every case
  const modules = ["kernels.wasm", ...MODULES];
  const options = ["--profile", "esm-only", "--format", "json", "--exclude-entrypoints", ...modules];
  const { analysis } = JSON.parse(await run(bin("attw"), [packed.tarball, ...options]));
  const entries = Object.keys(analysis.entrypoints).filter((name) => name !== "./package.json");
  assert(entries.length >= 4, `attw looked at ${entries}; expected every entry`);
  for (const name of entries)
    for (const mode of ["node16-esm", "bundler"]) {
      const { resolution, visibleProblems = {} } = analysis.entrypoints[name].resolutions[mode];
      assert(resolution?.fileName.endsWith(".d.ts"), `${name} has no types in ${mode}`);
      assert.deepEqual(visibleProblems[mode] ?? [], []);
    }
});

describe("the installed package", () => {
  const node = (program, ...flags) =>
    run(process.execPath, [...flags, "--input-type=module", "-e", program], { cwd: SCRATCH });

  test("does nothing when it is imported in Node, where there is no page", async () => {
    const program = `
      const started = process.getActiveResourcesInfo().length;
      globalThis.fetch = () => { throw new Error("something was fetched"); };
      const names = Object.getOwnPropertyNames(globalThis).sort().join();
      await import("ruvector-attention");
      await import("ruvector-attention/wasm");
      await new Promise((done) => setTimeout(done, 20)); // the loader's own reading comes to its end
      const after = Object.getOwnPropertyNames(globalThis).sort().join();
      console.log(names === after, process.getActiveResourcesInfo().slice(started).join(), typeof document);`;
    assert.equal((await node(program)).trim(), "true  undefined");
  });

  test("does nothing when what pages get is imported without a page, as on a server that bundles for pages", async () => {
    const program = `
      const { load } = await import("ruvector-attention/wasm");
      const whole = await import("ruvector-attention");
      console.log(import.meta.resolve("ruvector-attention/wasm").includes("/browser/"), typeof load, typeof whole.load);`;
    assert.equal((await node(program, "--conditions=browser")).trim(), "true function function");
  });

  test("gives every entry by its name", async () => {
    const program = `
      import { readFileSync } from "node:fs";
      for (const name of ["kernels.wasm", ${MODULES.map((name) => JSON.stringify(name))}]) {
        const bytes = readFileSync(new URL(import.meta.resolve("ruvector-attention/" + name)));
        console.log(bytes.subarray(0, 4).toString("hex"));
      }
      const { load } = await import("ruvector-attention/wasm");
      const ra = await load();
      console.log(ra.createSync("flash", { dim: 1 }).forwardSync([[1]], [[1]], [[5]])[0]);`;
    assert.equal((await node(program)).trim(), `${"0061736d\n".repeat(MODULES.length + 1)}5`);
  });

  test("compiles under a strict TypeScript program of a user's", async () => {
    const { writeFile } = await import("node:fs/promises");
    await writeFile(
      join(SCRATCH, "user.ts"),
      `import { load } from "ruvector-attention/wasm";
       import { DimensionMismatchError, load as loadAny, type Tensor } from "ruvector-attention";
       const ra = await load();
       const output: Tensor = ra.createSync("flash", { dim: 2 }).forwardSync([[1, 0]], [[1, 0]], [[5, 6]]);
       const whole = await loadAny({ runtime: "wasm", worker: true });
       const again: Tensor = await (await whole.create("flash", { dim: 2 })).forward([[1, 0]], [[1, 0]], [[5]]);
       console.log(output.shape, again.shape, DimensionMismatchError.name);
       // @ts-expect-error there is no such setting
       ra.createSync("flash", { dimm: 2 });
      `,
    );
    for (const [module, resolution] of [
      ["nodenext", "nodenext"],
      ["esnext", "bundler"],
    ]) {
      const options = ["--strict", "--noEmit", "--target", "es2022", "--ignoreConfig"];
      options.push(
        "--module",
        module,
        "--moduleResolution",
        resolution,
        "--lib",
        "es2023,esnext.disposable,dom",
      );
      await run(bin("tsc"), [...options, "user.ts"], { cwd: SCRATCH });
    }
  });
});
