/** What the bridge must do, wherever Pyodide runs. Each test file calls this with a host of its own. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { after, before, test } from "node:test";
import {
  DimensionMismatchError,
  EmptyInputError,
  InvalidConfigError,
  load,
  NumericalInstabilityError,
  OutOfBoundsError,
  PythonError,
  RuntimeLostError,
  tensor,
  UnsupportedError,
} from "../dist/lib/index.js";
import { CROSSING, crossingTests } from "./crossing.suite.mjs";
import { memoryTests } from "./memory.suite.mjs";
import { indexURL, vectorFiles, wheel } from "./runtime.mjs";
import { trainingTests } from "./training.suite.mjs";

const MEAN = `
import numpy as np
import ruvector_attention as ra

@ra.register
class MeanAttention(ra.Attention):
    """out_i = mean_j v_j"""
    name = "mean"
    inputs = (ra.TensorSpec("query", "... n_query dim"), ra.TensorSpec("values", "... n_key dim_value"))

    def forward(self, query, values):
        query, values = self.bind(query=query, values=values).arrays
        return np.repeat(values.mean(axis=-2, keepdims=True), query.shape[-2], axis=-2)

class Counter:
    def __init__(self, start=0):
        self.value = start
    def add(self, amount):
        self.value += amount
        return {"value": self.value, "as_list": [self.value], "none": None}
    def kinds(self):
        return [np.arange(3), np.array([True, False]), np.float64(0.5), np.zeros((2, 0), np.float32), 2**40]
    def unsendable(self):
        return object()
`;

/** softmax(scale · q kᵀ) v in double precision, straight from the formula. */
function reference(query, keys, values, scale, allowed = () => true) {
  return query.map((q, i) => {
    const scores = keys.map((k, j) =>
      allowed(i, j) ? scale * q.reduce((s, x, c) => s + x * k[c], 0) : -Infinity,
    );
    const top = Math.max(...scores);
    const weights = scores.map((s) => (top === -Infinity ? 0 : Math.exp(s - top)));
    const sum = weights.reduce((a, b) => a + b, 0) || 1;
    return values[0].map((_, c) => weights.reduce((s, w, j) => s + (w / sum) * values[j][c], 0));
  });
}

function close(actual, expected, tolerance = 2e-6, what = "the result") {
  const flat = expected.flat(Infinity);
  assert.equal(actual.length, flat.length);
  const limit = tolerance * (1 + Math.max(...flat.map(Math.abs)));
  flat.forEach((x, i) => {
    assert.ok(
      Math.abs(actual[i] - x) <= limit,
      `${what}: element ${i} is ${actual[i]}; expected ${x} within ${limit}`,
    );
  });
}

function random(rows, columns, seed) {
  let state = seed;
  const next = () => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return state / 2147483648 - 0.5;
  };
  return Array.from({ length: rows }, () => Array.from({ length: columns }, next));
}

const query = random(5, 8, 1);
const keys = random(7, 8, 2);
const values = random(7, 3, 3);
const flat = (rows) => tensor(Float32Array.from(rows.flat()), [rows.length, rows[0].length]);

/** `more` adds the tests of a host, with a function that gives the loaded runtime. */
export function bridgeTests(options, more) {
  let ra;
  let attention;
  const stages = [];

  before(async () => {
    ra = await load({
      indexURL,
      wheel,
      modules: { own: MEAN, crossing: CROSSING },
      onProgress: (progress) => stages.push(progress),
      ...options,
    });
    attention = await ra.create("scaled_dot_product", { dim: 8 });
  });
  after(() => ra?.close());

  test("progress rises from 0 to 1 and names its stages", () => {
    const fractions = stages.map(({ fraction }) => fraction);
    assert.deepEqual(fractions, [...fractions].sort());
    assert.equal(fractions.at(-1), 1);
    assert.ok(stages.every(({ stage }) => stage.length > 0));
  });

  test("describe lists the mechanisms, the errors and what runs", async () => {
    const { mechanisms, errors, backend, version } = await ra.describe();
    assert.ok(mechanisms.some(({ name }) => name === "multi_head"));
    assert.ok(errors.includes("DimensionMismatchError"));
    assert.match(backend, /^(wasm-|numpy)/);
    assert.equal(version, ra.version);
  });

  test("forward equals the formula in double precision", async () => {
    const output = await attention.forward(query, keys, values);
    assert.ok(output instanceof Float32Array);
    assert.deepEqual(output.shape, [5, 3]);
    close(output, reference(query, keys, values, 8 ** -0.5));
  });

  test("arrays of arrays, rows, flat arrays with a shape and { data, shape } give the same", async () => {
    const expected = [...(await attention.forward(query, keys, values))];
    const rows = (matrix) => matrix.map((row) => Float32Array.from(row));
    const shaped = (matrix) => ({ data: matrix.flat(), shape: [matrix.length, matrix[0].length] });
    const doubles = (matrix) => ({
      data: Float64Array.from(matrix.flat()),
      shape: [matrix.length, matrix[0].length],
    });
    for (const form of [rows, flat, shaped, doubles]) {
      assert.deepEqual([...(await attention.forward(form(query), form(keys), form(values)))], expected);
    }
  });

  test("a bare vector gives a vector, a batch keeps its leading dimensions", async () => {
    assert.deepEqual((await attention.forward(Float32Array.from(query[0]), keys, values)).shape, [3]);
    assert.deepEqual((await attention.forward([query, query], keys, values)).shape, [2, 5, 3]);
  });

  test("a mask by its rule: a window with global tokens, and one inside of another", async () => {
    const square = [...query, ...query.slice(0, 2)];
    const near = (i, j) => Math.abs(i - j) <= 1 || i < 1 || j < 1;
    const window = { type: "window", window: 1, globalTokens: 1 };
    close(
      await attention.forward(square, keys, values, { mask: window }),
      reference(square, keys, values, 8 ** -0.5, near),
    );
    const both = { type: "and", masks: [window, { type: "causal" }] };
    close(
      await attention.forward(square, keys, values, { mask: both }),
      reference(square, keys, values, 8 ** -0.5, (i, j) => near(i, j) && j <= i),
    );
    await assert.rejects(
      attention.forward(square, keys, values, { mask: { type: "windw" } }),
      InvalidConfigError,
    );
  });

  test("masks of booleans, of bytes and of numbers mean the same", async () => {
    const allowed = (i, j) => (i + j) % 3 !== 0;
    const grid = query.map((_, i) => keys.map((_, j) => allowed(i, j)));
    const expected = reference(query, keys, values, 8 ** -0.5, allowed);
    const bytes = tensor(Uint8Array.from(grid.flat().map(Number)), [5, 7]);
    const addends = grid.map((row) => row.map((may) => (may ? 0 : -Infinity)));
    for (const mask of [grid, bytes, { data: grid.flat(), shape: [5, 7] }, addends]) {
      close(await attention.forward(query, keys, values, { mask }), expected);
    }
  });

  test("options are camelCase, and causal hides the future", async () => {
    const output = await attention.forward(query, keys, values, { causal: true, checkFinite: true });
    close(
      output,
      reference(query, keys, values, 8 ** -0.5, (i, j) => j <= i + 2),
    );
  });

  test("attention weights sum to one", async () => {
    const weights = await attention.attentionWeights(query, keys);
    assert.deepEqual(weights.shape, [5, 7]);
    for (let i = 0; i < 5; i++) {
      const sum = weights.subarray(i * 7, i * 7 + 7).reduce((a, b) => a + b, 0);
      assert.ok(Math.abs(sum - 1) < 1e-5);
    }
  });

  test("forwardBatch takes items of different lengths", async () => {
    const outputs = await attention.forwardBatch([
      [query, keys, values],
      [query.slice(1), keys.slice(1), values.slice(1)],
      { query, keys, values, causal: true },
    ]);
    assert.deepEqual(
      outputs.map(({ shape }) => shape),
      [
        [5, 3],
        [4, 3],
        [5, 3],
      ],
    );
  });

  test("classes carry the names of Python's, and config keys are camelCase", async () => {
    const heads = await ra.MultiHeadAttention.create({ dim: 8, numHeads: 2, projections: false });
    assert.ok(heads instanceof ra.MultiHeadAttention);
    assert.equal(heads.constructor.name, "MultiHeadAttention");
    assert.equal(heads.config.numHeads, 2);
    assert.deepEqual((await heads.forward(query, keys, keys)).shape, [5, 8]);
    await heads.dispose();
  });

  test("parameters go out and come back by stateDict and loadStateDict", async () => {
    const [one, two] = [1, 2].map((seed) => new ra.MultiHeadAttention({ dim: 8, numHeads: 2, seed }));
    const output = await one.forward(query, keys, keys);
    assert.notDeepEqual([...(await two.forward(query, keys, keys))], [...output]);
    await two.loadStateDict(await one.stateDict());
    assert.deepEqual([...(await two.forward(query, keys, keys))], [...output]);
    await Promise.all([one.dispose(), two.dispose()]);
  });

  test("a user's own mechanism is a class like any other", async () => {
    const mean = new ra.MeanAttention({});
    close(await mean.forward([[1]], [[1, 2], [3, 4]]), [[2, 3]]); // biome-ignore format: one row a line says nothing more
    await mean.dispose();
  });

  test("any class of a module can be held, and plain results arrive as plain data", async () => {
    const counter = await ra.create("own:Counter", { start: 2 });
    assert.deepEqual(await counter.call("add", 3), { value: 5, as_list: [5], none: null });
    const [integers, booleans, number, empty, large] = await counter.call("kinds");
    assert.deepEqual([...integers], [0, 1, 2]);
    assert.ok(integers instanceof Int32Array);
    assert.deepEqual([...booleans], [1, 0]);
    assert.equal(number, 0.5);
    assert.deepEqual(empty.shape, [2, 0]);
    assert.equal(large, 2 ** 40);
    await assert.rejects(counter.call("unsendable"), UnsupportedError);
    await counter.dispose();
  });

  const nan = query.map((row, i) => (i === 2 ? [...row.slice(0, 7), Number.NaN] : row));
  const cases = [
    ["a wrong width", DimensionMismatchError, () => [[[1, 2, 3]], keys, values], /dim = 8/],
    ["other numbers of keys and values", DimensionMismatchError, () => [query, keys, values.slice(1)], /n_key/],
    ["ragged rows", DimensionMismatchError, () => [[[1, 2], [3]], keys, values], /ragged/],
    ["a shape that does not fit", DimensionMismatchError, () => [{ data: new Float32Array(3), shape: [2, 2] }, keys, values], /query/],
    ["a mask of another shape", DimensionMismatchError, () => [query, keys, values, { mask: [[true, false]] }], /mask/],
    ["NaN", NumericalInstabilityError, () => [nan, keys, values], /query.*2, 7/],
    ["infinity", NumericalInstabilityError, () => [query, keys, [[Infinity, 0, 0], ...values.slice(1)]], /values/],
    ["an empty array", EmptyInputError, () => [[], keys, values], /query/],
    ["an empty typed array", EmptyInputError, () => [new Float32Array(0), keys, values], /query/],
    ["a string", UnsupportedError, () => ["digits", keys, values], /query/],
    ["a number", DimensionMismatchError, () => [5, keys, values], /query/],
    ["null", UnsupportedError, () => [null, keys, values], /query/],
    ["strings in an array", UnsupportedError, () => [[["a", "b"]], keys, values], /query/],
    ["booleans in an array", UnsupportedError, () => [[[true, false]], keys, values], /query/],
    ["bigints in an array", UnsupportedError, () => [[[1n, 2n]], keys, values], /query/],
    ["a function", UnsupportedError, () => [() => 1, keys, values], /query/],
    ["a Map", UnsupportedError, () => [new Map(), keys, values], /query/],
    ["a DataView", UnsupportedError, () => [new DataView(new ArrayBuffer(8)), keys, values], /query/],
    ["a missing input", PythonError, () => [query], /keys/],
    ["an unknown option", PythonError, () => [query, keys, values, { maks: [] }], /maks/],
  ]; // biome-ignore format: a table
  for (const [what, Expected, inputs, message] of cases) {
    test(`${what} gives ${Expected.name}`, async () => {
      await assert.rejects(attention.forward(...inputs()), (error) => {
        assert.ok(error instanceof Expected, `${error.name}: ${error.message}`);
        assert.equal(error.name, Expected.name);
        assert.match(error.message, message);
        return true;
      });
    });
  }

  test("an error keeps what was expected and what came", async () => {
    const error = await attention.forward([[1, 2, 3]], keys, values).catch((e) => e);
    assert.deepEqual([error.expected, error.actual], [8, 3]);
  });

  test("a bad config, mechanism, method or head is refused by name", async () => {
    await assert.rejects(ra.create("flash", { dim: 0 }), InvalidConfigError);
    await assert.rejects(ra.create("flash", { dims: 8 }), /did you mean 'dim'/);
    await assert.rejects(ra.create("flsh", { dim: 8 }), /did you mean 'flash'/);
    await assert.rejects(ra.create("own:Nothing"), InvalidConfigError);
    assert.throws(() => new ra.FlashAttention(8), UnsupportedError);
    await assert.rejects(attention.call("fly"), UnsupportedError);
    await assert.rejects(attention.call("__init__"), UnsupportedError);
    const heads = await ra.create("multi_head", { dim: 8, numHeads: 2 });
    await assert.rejects(heads.headOutput(9, query, keys, keys), OutOfBoundsError);
    const doomed = new ra.FlashAttention({ dim: -1 });
    await assert.rejects(doomed.forward(query, keys, values), InvalidConfigError);
    await Promise.all([heads.dispose(), doomed.dispose()]);
  });

  test("an error leaves the runtime usable", async () => {
    await assert.rejects(attention.forward("x", keys, values));
    assert.deepEqual((await attention.forward(query, keys, values)).shape, [5, 3]);
  });

  test("dispose releases the handle, once, and ends the object", async () => {
    const before = (await ra.describe()).handles;
    const flash = await ra.create("flash", { dim: 8 });
    assert.equal((await ra.describe()).handles, before + 1);
    await Promise.all([flash.dispose(), flash.dispose()]);
    assert.equal((await ra.describe()).handles, before);
    await assert.rejects(flash.forward(query, keys, values), RuntimeLostError);
  });

  test("Symbol.dispose and Symbol.asyncDispose release too", async () => {
    const before = (await ra.describe()).handles;
    (await ra.create("flash", { dim: 8 }))[Symbol.dispose]();
    await (await ra.create("flash", { dim: 8 }))[Symbol.asyncDispose]();
    assert.equal((await ra.describe()).handles, before);
  });

  test("calls made together answer each for itself", async () => {
    const outputs = await Promise.all(query.map((row) => attention.forward([row], keys, values)));
    close(
      outputs.flatMap((output) => [...output]),
      reference(query, keys, values, 8 ** -0.5),
    );
  });

  test("inputs stay the caller's unless they are handed over", async () => {
    const [q, k, v] = [query, keys, values].map(flat);
    await attention.forward(q, k, v);
    assert.equal(q.length, 40);
    const part = new Float32Array(100).subarray(0, 8);
    await attention.forward(part, keys, values, { transfer: true });
    assert.equal(part.length, 8); // a view on more than it shows is copied all the same
    const output = await attention.forward(q, k, v, { transfer: true });
    close(output, reference(query, keys, values, 8 ** -0.5));
    assert.equal(q.length, options.worker ? 0 : 40);
    if (options.worker) await assert.rejects(attention.forward(q, keys, values), /query has 0 elements/);
  });

  test("large inputs are read before their memory comes back, and where threads share it", async () => {
    const attention = await ra.create("flash", { dim: 8 });
    const large = [random(5, 8, 4), random(2500, 8, 5), random(2500, 8, 6)]; // keys and values have 80 kB each
    const expected = reference(...large, 8 ** -0.5);
    const own = large.map((rows) => flat(rows));
    for (let i = 0; i < 3; i++) close(await attention.forward(...own), expected);
    const shared = own.map((array) => {
      const view = new Float32Array(new SharedArrayBuffer(array.byteLength));
      view.set(array);
      return tensor(view, array.shape);
    });
    close(await attention.forward(...shared, { transfer: true }), expected);
    for (const arrays of [own, shared])
      assert.deepEqual(
        arrays.map(({ length }) => length),
        [40, 20_000, 20_000],
      );
    await attention.dispose();
  });

  test("hundreds of calls leave no handle behind", async () => {
    const before = (await ra.describe()).handles;
    for (let i = 0; i < 300; i++) await attention.forward(query, keys, values);
    assert.equal((await ra.describe()).handles, before);
  });

  memoryTests({ runtime: () => ra, query, keys, values, reference, close, flat }, options);
  trainingTests(() => ra);
  crossingTests(() => ra, !options.worker);
  more?.(() => ra);

  const files = vectorFiles();
  test("golden vectors", {
    skip: files.length === 0 && "tests/vectors is empty; run build_scripts/make_vectors.py",
  }, async () => {
    for (const file of files) await checkVectors(ra, file);
  });
}

/** The cases of one file; build_scripts/make_vectors.py explains their form. */
async function checkVectors(ra, file) {
  for (const vector of JSON.parse(readFileSync(file, "utf8")).cases) {
    const attention = await ra.create(vector.mechanism, vector.config);
    if (vector.parameters) await attention.loadStateDict(arrays(vector.parameters));
    const { values, ...withoutValues } = arrays(vector.inputs);
    const inputs = Object.values(arrays(vector.inputs));
    const options = arrays(vector.options);
    for (const [name, expected] of Object.entries(vector.expected)) {
      const result =
        name === "output"
          ? await attention.forward(...inputs, options)
          : await attention.call(name, ...Object.values(withoutValues), options);
      const what = `${basename(file)}, ${vector.name}, ${name}`;
      assert.deepEqual(result.shape, expected.shape, what);
      close(result, expected.data.map(Number), vector.tolerance, what);
    }
    await attention.dispose();
  }
}

function arrays(group) {
  return Object.fromEntries(Object.entries(group).map(([name, value]) => [name, array(value)]));
}

function array(value) {
  if (typeof value !== "object") return value;
  const { data, shape, dtype } = value;
  if (dtype === "bool") return { data: data.map(Boolean), shape };
  return tensor(dtype === "int64" ? Int32Array.from(data) : Float32Array.from(data, Number), shape);
}
