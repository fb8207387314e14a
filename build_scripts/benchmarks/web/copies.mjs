/**
 * What an asynchronous call of the addon pays for its copies: beside the same call over shared memory, which needs none,
 * and the synchronous one. In rounds, in which the three take turns in any order; the medians.
 *
 *   node build_scripts/benchmarks/web/copies.mjs [BINARY]    after `npm test -- native`, or with an addon of its own
 */
import { fileURLToPath } from "node:url";
import { load, tensor } from "../../../web/dist/lib/native.js";
import { random } from "../../../web/test/wasm_reference.mjs";

const WORKLOADS = {
  "self 8x1024x64": [[8, 1024, 64], [8, 1024, 64], 60],
  "64x1kx128": [[64, 128], [1000, 128], 300],
  "1x1kx128": [[1, 128], [1000, 128], 2000],
};
const built = fileURLToPath(new URL("../../../.cache/node-host/host.node", import.meta.url));
const ra = await load({ binary: process.argv[2] ?? built, threads: 2 });

for (const [name, [nQuery, nKey, rounds]] of Object.entries(WORKLOADS)) {
  const attention = ra.createSync("flash", { dim: nKey.at(-1) });
  const arrays = [nQuery, nKey, nKey].map((shape, i) => tensor(random(shape, i + 1).data, shape));
  const shared = arrays.map((array) => {
    const data = new Float32Array(new SharedArrayBuffer(array.byteLength));
    data.set(array);
    return tensor(data, array.shape);
  });
  const calls = {
    sync: () => attention.forwardSync(...arrays),
    copied: () => attention.forward(...arrays),
    shared: () => attention.forward(...shared),
  };
  const times = Object.fromEntries(Object.keys(calls).map((kind) => [kind, []]));
  for (let round = 0; round < rounds; round++) {
    const order = Object.keys(calls).map((kind) => [Math.random(), kind]);
    for (const [, kind] of order.sort()) {
      const begun = performance.now();
      await calls[kind]();
      times[kind].push(performance.now() - begun);
    }
  }
  const copies = times.copied.map((time, i) => 1 - times.shared[i] / time);
  const row = Object.entries(times).map(([kind, all]) => `${kind} ${(1000 * median(all)).toFixed(1)} us`);
  console.log(name, ra.backend, ...row, `the copies' share ${(100 * median(copies)).toFixed(0)} %`);
}
ra.close();

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
}
