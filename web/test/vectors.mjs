/** Where the golden vectors lie that every runtime reads. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../../tests/vectors/", import.meta.url));

/** The files of the mechanisms that the kernels' runtime has. */
export function vectorFiles() {
  const names = [
    "cross_attention",
    "flash",
    "local_global",
    "multi_head",
    "scaled_dot_product",
    "self_attention",
  ];
  return readdirSync(FOLDER)
    .filter((name) => names.includes(name.replace(".json", "")))
    .map((name) => join(FOLDER, name));
}
