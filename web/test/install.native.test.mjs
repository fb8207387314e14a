/**
 * What npm installs from the packed tarballs: with the platform's package the addon runs, without it WebAssembly does,
 * and says so once. $RUVECTOR_NPM_PACKAGES is the folder that build_scripts/build_node.py fills.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, sep } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { filesOf } from "../contents.mjs";
import platforms from "../src/native/platforms.json" with { type: "json" };

const PACKAGES =
  process.env.RUVECTOR_NPM_PACKAGES ?? fileURLToPath(new URL("../../dist/npm", import.meta.url));
const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
const isMusl = !process.report.getReport().header.glibcVersionRuntime && process.platform === "linux";
const here = platforms.find(
  ({ os, cpu, libc }) =>
    os === process.platform && cpu === process.arch && (!libc || libc === (isMusl ? "musl" : "glibc")),
);
const tarball = (name) => join(PACKAGES, `${name}-${version}.tgz`);
const folders = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A project of its own with these tarballs installed, and no network. */
function installed(...names) {
  const folder = mkdtempSync(join(tmpdir(), "ruvector-install-"));
  folders.push(folder);
  writeFileSync(join(folder, "package.json"), '{ "private": true, "type": "module" }\n');
  const cache = ["--offline", "--cache", join(folder, "cache"), "--no-audit", "--no-fund"];
  const { status, stderr } = spawnSync("npm", ["install", ...cache, ...names.map(tarball)], {
    cwd: folder,
    encoding: "utf8",
    shell: process.platform === "win32",
  });
  assert.equal(status, 0, stderr);
  return folder;
}

function run(folder, program, env = {}) {
  writeFileSync(join(folder, "program.js"), program);
  const { status, stdout, stderr } = spawnSync(process.execPath, ["program.js"], {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
  assert.equal(status, 0, stderr);
  return { stdout: stdout.trim().split("\n"), stderr };
}

const PROGRAM = readFileSync(new URL("installed_program.mjs", import.meta.url), "utf8");

test("there are tarballs", () => {
  const found = readdirSync(PACKAGES).filter((name) => name.endsWith(".tgz"));
  assert.ok(found.includes(`ruvector-attention-${version}.tgz`), `${found}`);
  assert.ok(here, `there is no package for ${process.platform} ${process.arch}`);
});

test("the platform's package holds the addon, what npm reads, and no path of the machine that made it", () => {
  const files = filesOf(tarball(`ruvector-attention-${here.name}`));
  const names = files.map(({ path }) => path);
  assert.deepEqual(names, ["LICENSE", "README.md", "package.json", "ruvector-attention.node"]);
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const places = [root, join(tmpdir(), sep), join(homedir(), sep)].filter((place) => place !== sep);
  for (const { path, bytes } of files)
    for (const place of places) assert(!bytes.includes(place), `${path} has ${place} in it`);
});

test("the platform's package beside the main one: the addon runs, in silence", () => {
  const folder = installed("ruvector-attention", `ruvector-attention-${here.name}`);
  const { stdout, stderr } = run(folder, PROGRAM);
  assert.equal(stdout.length, 6);
  for (const i of [0, 2, 4]) assert.match(stdout[i], /^(avx512|avx2|sse4|neon|scalar) 5 7$/);
  for (const i of [1, 3, 5]) assert.equal(stdout[i], "true");
  assert.equal(stderr, "");
  const forced = run(folder, PROGRAM, { RUVECTOR_ATTENTION_BACKEND: "scalar" });
  assert.equal(forced.stdout[0], "scalar 5 7");
  const wrong = `import { load } from "ruvector-attention/native";
    await load().catch((error) => console.log(error.name, error.message));`;
  const { stdout: said } = run(folder, wrong, { RUVECTOR_ATTENTION_BACKEND: "mmx" });
  assert.match(
    said[0],
    /^LoadError RUVECTOR_ATTENTION_BACKEND is 'mmx'; expected one that this machine runs: /,
  );
});

test("the main package alone: WebAssembly runs, and one warning says why", () => {
  const { stdout, stderr } = run(installed("ruvector-attention"), PROGRAM);
  for (const i of [0, 2, 4]) assert.match(stdout[i], /^wasm-[a-z0-9-]+ 5 7$/);
  for (const i of [1, 3, 5]) assert.equal(stdout[i], "true");
  const warnings = stderr.split("\n").filter((line) => line.includes("Warning"));
  assert.equal(warnings.length, 1, stderr);
  assert.match(warnings[0], /ruvector-attention-\S+ is not installed, the package with the addon for/);
  assert.match(warnings[0], /the kernels run as WebAssembly instead$/);
});
