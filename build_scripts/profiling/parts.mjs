/** Times the parts of the kernels of some modules, interleaved, in this engine; profile_kernels.py says what it means. */
import { load } from "./kernels.mjs";

const ROUNDS = 15;
const PEAK_ROUNDS = 100_000;
const EVERYWHERE = 2 ** 31 - 1;

function attention(kernels, { nQuery, nKey, dim, dimValue }) {
  const normal = () => Math.random() + Math.random() + Math.random() - 1.5;
  const rows = { query: [nQuery, dim], keys: [nKey, dim], values: [nKey, dimValue], out: [nQuery, dimValue] };
  const buffers = {};
  for (const [name, [n, width]] of Object.entries(rows)) buffers[name] = kernels.floats(n * width, normal);
  return kernels.prepare("attention", {
    ints: {
      batch: 1, heads: 1, kv_heads: 1, n_query: nQuery, n_key: nKey, dim, query_row: dim, key_row: dim,
      behind: EVERYWHERE, ahead: EVERYWHERE, stop: Math.ceil(nQuery / 192),
      dim_value: dimValue, value_row: dimValue, out_row: dimValue,
    }, // biome-ignore format: one list
    floats: { scale: 0.125 },
    buffers,
  });
}

function gemm(kernels, m, k, n) {
  const buffers = {
    a: kernels.floats(m * k, Math.random),
    b: kernels.floats(k * n, Math.random),
    out: kernels.floats(m * n),
  };
  return kernels.prepare("gemm", {
    ints: { m, k, n, a_row: k, a_col: 1, b_row: n, b_col: 1, stop: m },
    buffers,
  });
}

/** The calls of profile_kernels.py, by name. */
function calls(kernels, cases) {
  const found = {
    peak: kernels.prepare("peak", {
      ints: { rounds: PEAK_ROUNDS },
      buffers: { out: kernels.floats(2, () => 1) },
    }),
  };
  for (const [name, [kind, ...sizes]] of Object.entries(cases)) {
    const [nQuery, nKey, dim, dimValue] = sizes;
    found[name] =
      kind === "gemm" ? gemm(kernels, ...sizes) : attention(kernels, { nQuery, nKey, dim, dimValue });
  }
  return found;
}

/** Milliseconds of a call, by instruction set and name, and of `peak` the operations too. */
export async function measure(modules, cases) {
  const lanes = [];
  for (const bytes of modules) {
    const kernels = await load(bytes);
    for (const [name, call] of Object.entries(calls(kernels, cases))) {
      for (const end = performance.now() + 80; performance.now() < end; ) call();
      lanes.push({ target: kernels.target, name, call, samples: [] });
    }
    lanes.find((lane) => lane.target === kernels.target && lane.name === "peak").operations =
      operations(kernels);
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const { call, samples } of round % 2 ? lanes : [...lanes].reverse()) {
      const start = performance.now();
      let count = 0;
      for (; performance.now() - start < 8; count++) call();
      samples.push((performance.now() - start) / count);
    }
  }
  return lanes.map(({ target, name, samples, operations: of }) => ({
    target,
    name,
    ms: median(samples),
    operations: of,
  }));
}

function operations(kernels) {
  const out = kernels.floats(2, () => 1);
  kernels.prepare("peak", { ints: { rounds: 1 }, buffers: { out } })();
  return 2 * PEAK_ROUNDS * kernels.read(out)[1];
}

const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];
