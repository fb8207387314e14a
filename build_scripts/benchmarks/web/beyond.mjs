// What the npm package's Pyodide takes beyond the call that Python makes on arrays that it has: the way of the arrays
// there and back, and the bridge. Both calls are in one interpreter, in turns, so that the difference is not that of two
// moments of the machine.
import { median } from "./turn.mjs";
import { Unavailable } from "./unavailable.mjs";

const DIRECT = `
import time
import numpy as np
import ruvector_attention as ra

class Direct:
    def __init__(self, dim):
        self.attention = ra.ScaledDotProductAttention(dim=dim)

    def keep(self, *arrays):
        self.arrays = [np.array(array, dtype=np.float32) for array in arrays]

    def milliseconds(self):
        started = time.perf_counter()
        self.attention(*self.arrays)
        return (time.perf_counter() - started) * 1e3
`;

/** { beyond_ms, kernel_ms }: medians over so many pairs of calls of n queries over n keys. */
export async function beyondTheKernel(host, { n, dim, pairs }) {
  if (!host.library || !host.pyodide?.wheel) throw new Unavailable("the npm package or the wheel was not built");
  const { load } = await import(host.library);
  const place = { indexURL: `${host.pyodide.index}/`, wheel: host.pyodide.wheel };
  const ra = await load({ worker: false, modules: { bench_direct: DIRECT }, ...place });
  try {
    const attention = await ra.create("scaled_dot_product", { dim });
    const direct = await ra.create("bench_direct:Direct", { dim });
    const numbers = (seed) => Float32Array.from({ length: n * dim }, (_, i) => Math.sin((i + 1) * seed));
    const arrays = [0.37, 0.73, 0.91].map((seed) => ({ data: numbers(seed), shape: [n, dim] }));
    await direct.call("keep", ...arrays);
    const differences = [];
    const kernels = [];
    for (let pair = 0; pair < pairs; pair++) {
      const started = performance.now();
      const output = await attention.forward(...arrays);
      const whole = performance.now() - started;
      if (output.length !== n * dim) throw new Error(`${output.length} numbers came back; expected ${n * dim}`);
      const kernel = await direct.call("milliseconds");
      if (pair === 0) continue; // what is set up once
      differences.push(whole - kernel);
      kernels.push(kernel);
    }
    return { beyond_ms: median(differences), kernel_ms: median(kernels) };
  } finally {
    ra.close();
  }
}
