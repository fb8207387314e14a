/**
 * Runs what docs/javascript/migration.md says of the two packages that people come from, and fails where one is not so.
 *
 *   node build_scripts/migration_claims.mjs [FOLDER]     # with their node_modules; default: .cache/bench/node
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const folder = resolve(process.argv[2] ?? fileURLToPath(new URL("../.cache/bench/node", import.meta.url)));
const modules = join(folder, "node_modules");
const native = createRequire(join(folder, "x.mjs"))("@ruvector/attention");
const place = join(modules, "ruvector-attention-wasm/ruvector_attention_wasm");
const wasm = await import(pathToFileURL(`${place}.js`).href);
await wasm.default({ module_or_path: readFileSync(`${place}_bg.wasm`) });

let seed = 7;
const uniform = () => {
  seed = (seed * 16807) % 2147483647;
  return seed / 2147483647;
};
const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
const vector = (dim, size = 1) => Float32Array.from({ length: dim }, () => normal() * size);
const bank = (count, dim, size) => Array.from({ length: count }, () => vector(dim, size));
const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
const apart = (a, b) => Math.max(...Array.from(b, (x, i) => Math.abs(x - a[i])));
const largest = (a) => Math.max(...Array.from(a, Math.abs));

/** softmax(q kᵀ / √d) v in float64. */
function attention(query, keys, values) {
  const scores = keys.map((key) => dot(key, query) / Math.sqrt(query.length));
  const top = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - top));
  const total = weights.reduce((a, b) => a + b);
  return Array.from(values[0], (_, c) =>
    values.reduce((sum, row, j) => sum + (row[c] * weights[j]) / total, 0),
  );
}

const [DIM, N_KEY] = [64, 100];
const [query, keys, values] = [vector(DIM), bank(N_KEY, DIM), bank(N_KEY, DIM)];
const exact = attention(query, keys, values);
const part = (rows, head) => rows.map((row) => row.slice(head * 8, head * 8 + 8));
const headed = Array.from({ length: 8 }, (_, h) => {
  const [[q], k, v] = [part([query], h), part(keys, h), part(values, h)];
  return attention(q, k, v);
}).flat();

const claims = {
  "dot-product, flash and multi-head attention are right, the last without projections"() {
    const outputs = [
      [new native.DotProductAttention(DIM).compute(query, keys, values), exact],
      [wasm.scaled_dot_attention(query, keys, values), exact],
      [new native.FlashAttention(DIM, 16).compute(query, keys, values), exact],
      [new wasm.WasmFlashAttention(DIM, 16).compute(query, keys, values), exact],
      [new native.MultiHeadAttention(DIM, 8).compute(query, keys, values), headed],
      [new wasm.WasmMultiHeadAttention(DIM, 8).compute(query, keys, values), headed],
    ];
    for (const [output, wanted] of outputs) assert(apart(output, wanted) < 1e-6);
  },
  "the types of @ruvector/attention name four functions that it does not have, and none that it has"() {
    const types = readFileSync(join(modules, "@ruvector/attention/index.d.ts"), "utf8");
    const named = [...types.matchAll(/export (?:function|class|const) (\w+)/g)].map(([, name]) => name);
    assert.equal(named.length, 4);
    for (const name of named) assert(!(name in native));
    assert(Object.keys(native).length > 30);
  },
  "LinearAttention gives next to nothing for rows of unit variance, and is off by a third for smaller ones"() {
    const [q, k] = [vector(DIM, 0.25), bank(N_KEY, DIM, 0.25)];
    const wanted = attention(q, k, values);
    for (const Linear of [native.LinearAttention, wasm.WasmLinearAttention]) {
      assert(largest(new Linear(DIM, 256).compute(query, keys, values)) < 1e-20);
      const output = new Linear(DIM, 256).compute(q, k, values);
      assert(Math.hypot(...wanted.map((x, i) => x - output[i])) / Math.hypot(...wanted) > 0.3);
    }
  },
  "LocalGlobalAttention takes the query to stand in the middle, and half of the window on either side"() {
    const seen = [0, 1, 48, 49, 50, 51, 52];
    const wanted = attention(
      query,
      seen.map((j) => keys[j]),
      seen.map((j) => values[j]),
    );
    for (const Local of [native.LocalGlobalAttention, wasm.WasmLocalGlobalAttention])
      assert(apart(new Local(DIM, 4, 2).compute(query, keys, values), wanted) < 1e-6);
  },
  "every expert of MoEAttention is the same: the output is that of plain attention"() {
    assert(apart(native.MoEAttention.simple(DIM, 4, 2).compute(query, keys, values), exact) < 1e-6);
    assert(apart(new wasm.WasmMoEAttention(DIM, 4, 2).compute(query, keys, values), exact) < 1e-6);
  },
  "HyperbolicAttention takes a positive curvature for the negative one"() {
    const [q, k, v] = [vector(8, 0.2), bank(20, 8, 0.2), bank(20, 8, 0.2)];
    for (const Hyperbolic of [native.HyperbolicAttention, wasm.WasmHyperbolicAttention]) {
      const [one, other] = [1, -1].map((curvature) => new Hyperbolic(8, curvature).compute(q, k, v));
      assert.equal(apart(one, other), 0);
    }
  },
  "logMap does not undo expMap"() {
    const [x, v] = [vector(8, 0.2), vector(8, 0.3)];
    assert(apart(native.logMap(x, native.expMap(x, v, 1), 1), v) > 0.1);
  },
  "a NaN goes through without a word"() {
    const bad = Float32Array.from(query, (value, i) => (i === 3 ? Number.NaN : value));
    assert(new native.DotProductAttention(DIM).compute(bad, keys, values).every(Number.isNaN));
    assert(wasm.scaled_dot_attention(bad, keys, values).every(Number.isNaN));
  },
  "a key of another length is computed with, and in WebAssembly a query too"() {
    const ragged = [...keys.slice(1), vector(3)];
    assert.equal(new native.DotProductAttention(DIM).compute(query, ragged, values).length, DIM);
    assert.equal(wasm.scaled_dot_attention(query, ragged, values).length, DIM);
    assert.equal(wasm.scaled_dot_attention(query.slice(0, 5), keys, values).length, 5);
  },
  "a query that may attend to nothing gets NaN"() {
    const nothing = keys.map(() => false);
    assert(
      new native.DotProductAttention(DIM).computeWithMask(query, keys, values, nothing).every(Number.isNaN),
    );
  },
  "WasmLRScheduler begins at 0, and rises again after its end"() {
    const scheduler = new wasm.WasmLRScheduler(1, 4, 12);
    const rates = Array.from({ length: 14 }, () => {
      const rate = scheduler.get_lr();
      scheduler.step();
      return rate;
    });
    assert(rates[0] === 0 && rates[12] === 0 && rates[13] > 0.03);
  },
  "WasmAdam steps parameters of another number than it was made for"() {
    const parameters = Float32Array.of(1, 2);
    new wasm.WasmAdam(3, 0.1).step(parameters, Float32Array.of(0.1, -0.2, 0.3));
    assert(parameters[0] < 1);
  },
  "optimizers take a negative rate, and parameters of another number than they were made for"() {
    const [parameters, gradients] = [Float32Array.of(1, 2), Float32Array.of(0.5, Number.NaN)];
    const stepped = new native.AdamOptimizer(7, -0.1).step(parameters, gradients);
    assert(stepped[0] > 1.09 && Number.isNaN(stepped[1]));
    assert(new native.SgdOptimizer(7, 0.1).step(parameters, Float32Array.of(0.5, 1)).length === 2);
  },
  "AdamOptimizer.withConfig decays weights as AdamW does, besides the means of the gradients"() {
    const [parameters, gradients] = [Float32Array.of(1, 2), Float32Array.of(0.5, 1)];
    const adam = native.AdamOptimizer.withConfig(2, 0.1, 0.9, 0.99, 1e-8, 0.1).step(parameters, gradients);
    const adamW = native.AdamWOptimizer.withBetas(2, 0.1, 0.1, 0.9, 0.99).step(parameters, gradients);
    assert(apart(adam, adamW) < 1e-7);
    assert(apart(adam, [0.9, 1.9]) > 0.009); // where the decay is in the gradient, Adam's first step is its rate
  },
  "InfoNceLoss of no negatives is 0, and takes a negative temperature"() {
    const [anchor, positive] = [Float32Array.of(1, 0), Float32Array.of(0, 1)];
    assert.equal(new native.InfoNceLoss(0.1).compute(anchor, positive, []), 0);
    assert(Number.isFinite(new native.InfoNceLoss(-0.1).compute(anchor, positive, [anchor])));
  },
  "LocalContrastiveLoss says half as much by compute as by computeWithGradients"() {
    const given = [
      Float32Array.of(1, 0),
      Float32Array.of(1, 0.1),
      [Float32Array.of(0, 1), Float32Array.of(0.7, 0.1)],
    ];
    const loss = new native.LocalContrastiveLoss(0.5);
    const ratio = loss.computeWithGradients(...given).loss / loss.compute(...given);
    assert(Math.abs(ratio - 2) < 1e-5);
  },
  "SpectralRegularization of two equal rows is 0, and of two orthogonal ones"() {
    const spectral = new native.SpectralRegularization(1);
    const [one, other] = [Float32Array.of(1, 0), Float32Array.of(0, 1)];
    assert.equal(spectral.computeBatch([one, one]), 0);
    assert.equal(spectral.computeBatch([one, other]), 0);
  },
  "HardNegativeMiner draws the same each time, Random as well as DistanceWeighted"() {
    const rows = bank(200, 8, 1);
    for (const strategy of ["Random", "DistanceWeighted"]) {
      const miner = new native.HardNegativeMiner(strategy);
      const drawn = Array.from(
        { length: 20 },
        () => miner.mine(query.slice(0, 8), rows[0], rows.slice(1), 1)[0],
      );
      assert.equal(new Set(drawn).size, 1);
    }
  },
  "random_orthogonal_matrix has no seed"() {
    assert(apart(wasm.random_orthogonal_matrix(8), wasm.random_orthogonal_matrix(8)) > 0.1);
  },
};

for (const [what, check] of Object.entries(claims)) {
  check();
  console.log(`so it is: ${what}`);
}
