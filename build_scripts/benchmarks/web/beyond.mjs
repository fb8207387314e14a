// What a call of the npm package's Pyodide takes beyond the kernel: the way of the arrays there and back, the bridge, and
// what Python does about the kernel. The kernel, the function in C that attends, is timed within each of the calls that
// are timed, so that no difference is that of two moments of the machine.
import { median } from "./turn.mjs";
import { Unavailable } from "./unavailable.mjs";

const CLOCK = `
import functools
import time
import ruvector_attention as ra
from ruvector_attention import kernels

taken = {"kernel": 0.0, "python": 0.0}

def timed(function, name):
    @functools.wraps(function)
    def timing(*arguments, **options):
        started = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            taken[name] = (time.perf_counter() - started) * 1e3
    return timing

kernels.active.attention = timed(kernels.active.attention, "kernel")
ra.ScaledDotProductAttention.forward = timed(ra.ScaledDotProductAttention.forward, "python")

class Clock:
    def last(self):
        last = dict(taken)
        taken.update(kernel=float("nan"), python=float("nan"))
        return last
`;

/**
 * For each place ("here": this thread, "worker") and each number of queries over n keys, medians over so many calls:
 * { place, queries, whole_ms, kernel_ms, python_ms, beyond_ms }, python_ms the call that Python makes less the kernel.
 */
export async function beyondTheKernel(host, { n, dim, queries, places, seconds }) {
  if (!host.library || !host.pyodide?.wheel) throw new Unavailable("the npm package or the wheel was not built");
  const { load } = await import(host.library);
  const rows = [];
  for (const place of places) {
    const ra = await load({
      worker: place === "worker",
      modules: { bench_clock: CLOCK },
      indexURL: `${host.pyodide.index}/`,
      wheel: host.pyodide.wheel,
    });
    try {
      for (const count of queries) rows.push({ place, queries: count, ...(await inTurns(ra, count, { n, dim, seconds })) });
    } finally {
      ra.close();
    }
  }
  return { rows };
}

async function inTurns(ra, count, { n, dim, seconds }) {
  const attention = await ra.create("scaled_dot_product", { dim });
  const clock = await ra.create("bench_clock:Clock");
  const numbers = (rows, seed) => Float32Array.from({ length: rows * dim }, (_, i) => Math.sin((i + 1) * seed));
  const arrays = [[count, 0.37], [n, 0.73], [n, 0.91]].map(([rows, seed]) => ({ data: numbers(rows, seed), shape: [rows, dim] }));
  const taken = { whole: [], kernel: [], python: [], beyond: [] };
  const end = performance.now() + seconds * 1e3;
  for (let turn = 0; turn < 12 || performance.now() < end; turn++) {
    const started = performance.now();
    const output = await attention.forward(...arrays);
    const whole = performance.now() - started;
    if (output.length !== count * dim) throw new Error(`${output.length} numbers came back; expected ${count * dim}`);
    const { kernel, python } = await clock.call("last");
    if (!(python >= kernel)) throw new Error(`the kernel took ${kernel} ms of a call of ${python}`);
    if (turn < 5) continue; // what is set up once
    taken.whole.push(whole);
    taken.kernel.push(kernel);
    taken.python.push(python - kernel);
    taken.beyond.push(whole - kernel);
  }
  await attention.dispose();
  await clock.dispose();
  return Object.fromEntries(Object.entries(taken).map(([name, values]) => [`${name}_ms`, median(values)]));
}
