/** Where the tests find Pyodide and the wheel: from the environment, else where the build scripts put them. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Pyodide's folder: $PYODIDE_DIR, else the cache's current version. */
export const indexURL = must(
  process.env.PYODIDE_DIR ?? join(ROOT, ".cache/pyodide/314.0.7"),
  "build_scripts/toolchain.py",
);

/** The wheel: $RUVECTOR_WHEEL, else the one in dist/. */
export const wheel = must(
  process.env.RUVECTOR_WHEEL ?? join(ROOT, "dist", wheelIn(join(ROOT, "dist"))),
  "build_scripts/build.py pyodide",
);

function wheelIn(folder) {
  const found = existsSync(folder)
    ? readdirSync(folder).find((name) => name.endsWith("wasm32.whl"))
    : undefined;
  return found ?? "ruvector_attention-wasm32.whl";
}

function must(path, command) {
  if (!existsSync(path)) throw new Error(`${path} does not exist; run python3 ${command}`);
  return path;
}

/** The golden vectors that a mechanism's tests made, by file. */
export function vectorFiles() {
  const folder = join(ROOT, "tests/vectors");
  return existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => name.endsWith(".json"))
        .map((name) => join(folder, name))
    : [];
}
