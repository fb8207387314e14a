/** Arrays that the checks of mechanisms share, and what is done with them. */
import { random } from "./wasm_reference.mjs";

export const scaled = ({ data, shape }, by) => ({ data: data.map((x) => x * by), shape });
export const query = scaled(random([5, 4], 1), 0.3);
export const keys = scaled(random([7, 4], 2), 0.3);
export const values = scaled(random([7, 3], 3), 0.3);
export const nodes = random([6, 4], 4);
export const edgeIndex = {
  data: Int32Array.of(0, 1, 2, 3, 4, 1, 2, 0, 1, 2, 2, 2, 0, 2, 1, 1),
  shape: [2, 8],
};
export const features = random([8, 2], 5);
export const first = ({ data, shape }, n) => ({
  data: data.slice(0, (data.length / shape[0]) * n),
  shape: [n, ...shape.slice(1)],
});
export const row = ({ data, shape }, i) => data.slice(i * shape.at(-1), (i + 1) * shape.at(-1));
export const stacked = (...arrays) => ({
  data: Float32Array.from(arrays.flatMap(({ data }) => Array.from(data))),
  shape: [arrays.length, ...arrays[0].shape],
});
export const dot = (a, b) => Array.from(a).reduce((sum, x, i) => sum + x * b[i], 0);
/** A result as what another is compared with. */
export const found = (output) => ({ data: output, shape: output.shape });
