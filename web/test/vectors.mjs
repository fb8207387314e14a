/** Where the golden vectors lie that every runtime reads. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DESCRIPTION } from "../dist/lib/wasm_description.js";

const FOLDER = fileURLToPath(new URL("../../tests/vectors/", import.meta.url));

/** The files of the mechanisms that the kernels' runtime has. */
export function vectorFiles() {
  return readdirSync(FOLDER)
    .filter((name) => DESCRIPTION.mechanisms.some((mechanism) => `${mechanism.name}.json` === name))
    .map((name) => join(FOLDER, name));
}
