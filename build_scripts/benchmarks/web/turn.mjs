// The clock of one turn, as session.py has it: the median over up to 20 groups of calls.

/** Milliseconds per call over about `seconds`; the first call warms caches and sizes the groups. */
export async function turn(call, seconds) {
  const first = await group(call, 1);
  if (first >= seconds * 1e3) return { ms: first, calls: 1 };
  const calls = Math.max(1, Math.min(10_000, Math.floor((seconds * 1e3) / Math.max(first, 1e-4))));
  const size = Math.max(1, Math.floor(calls / 20));
  const taken = [];
  for (let done = 0; done < calls; done += size) taken.push((await group(call, size)) / size);
  return { ms: median(taken), calls: taken.length * size };
}

async function group(call, size) {
  const start = performance.now();
  for (let i = 0; i < size; i++) {
    const result = call();
    // Awaiting a value that is no promise would add a trip through the microtask queue to every synchronous engine.
    if (result instanceof Promise) await result;
  }
  return performance.now() - start;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
