/** What the runtime of the kernels must do of hyperbolic and linear attention and of graphs: more of wasm_checks.mjs. */
import { assert, close, equal, throws } from "./wasm_assert.mjs";
import { random } from "./wasm_reference.mjs";

export const mechanismChecks = [];
const check = (what, body) => mechanismChecks.push([what, body]);

const scaled = ({ data, shape }, by) => ({ data: data.map((x) => x * by), shape });
const query = scaled(random([5, 4], 1), 0.3);
const keys = scaled(random([7, 4], 2), 0.3);
const values = scaled(random([7, 3], 3), 0.3);
const nodes = random([6, 4], 4);
const edgeIndex = { data: Int32Array.of(0, 1, 2, 3, 4, 1, 2, 0, 1, 2, 2, 2, 0, 2, 1, 1), shape: [2, 8] };
const features = random([8, 2], 5);
const first = ({ data, shape }, n) => ({
  data: data.slice(0, (data.length / shape[0]) * n),
  shape: [n, ...shape.slice(1)],
});
const row = ({ data, shape }, i) => data.slice(i * shape.at(-1), (i + 1) * shape.at(-1));
const stacked = (...arrays) => ({
  data: Float32Array.from(arrays.flatMap(({ data }) => Array.from(data))),
  shape: [arrays.length, ...arrays[0].shape],
});
const dot = (a, b) => Array.from(a).reduce((sum, x, i) => sum + x * b[i], 0);
/** A result as what another is compared with. */
const found = (output) => ({ data: output, shape: output.shape });

/** Every kind over queries and keys, by a config. */
const KEYED = [
  ["hyperbolic", { dim: 4, curvature: -1.5 }],
  ["hyperbolic", { dim: 4, curvature: -0.5, model: "lorentz", aggregation: "tangent" }],
  ["linear", { dim: 4, numFeatures: 10, seed: 3 }],
  ["linear", { dim: 4, kernel: "elu", normalize: true }],
  ["linear", { dim: 4, kernel: "relu" }],
];
/** Every kind over edges. */
const EDGED = [
  ["edge_featured", { dim: 4, edgeDim: 2, numHeads: 2 }],
  ["edge_featured", { dim: 4, edgeDim: 2, numHeads: 3, headDim: 2, variant: "gat", concatHeads: false }],
  ["graph", { dim: 4, edgeDim: 2, numHeads: 2, temperature: 0.7 }],
];

for (const [name, config] of KEYED) {
  const what = `${name} ${Object.values(config).slice(1).join(" ")}`;

  check(`${what}: promises, batches, vectors, leading dimensions and a memory give the same`, async (ra) => {
    const attention = ra.createSync(name, config);
    const output = attention.forwardSync(query, keys, values);
    close(await attention.forward(query, keys, values), found(output), 0);
    const vector = attention.forwardSync(row(query, 0), keys, values);
    close(vector, { data: output.slice(0, 3), shape: [3] });
    const [one, two] = await attention.forwardBatch([[query, keys, values], { query, keys, values }]);
    close(one, found(output), 0);
    close(two, found(output), 0);
    const [q, k] = [stacked(query, scaled(query, -1)), stacked(keys, keys)];
    const both = attention.forwardSync(q, k, values); // the values are those of both items
    close(both.slice(0, 15), { data: output }, 1e-6, "the first of two");
    equal(both.shape, [2, 5, 3], "the shape");
    const bank = ra.memorySync(first(keys, 4), first(values, 4));
    attention.forwardSync(query, bank);
    bank.appendSync(
      { data: keys.data.slice(16), shape: [3, 4] },
      { data: values.data.slice(12), shape: [3, 3] },
    );
    close(attention.forwardSync(query, bank), found(output), 1e-6, "with a memory");
    const weights = attention.attentionWeightsSync(query, keys);
    close(attention.attentionWeightsSync(query, bank), found(weights), 1e-6, "weights with a memory");
    let i = 0;
    for await (const streamed of attention.forwardStream(query, keys, values))
      close(streamed, { data: output.slice(3 * i, 3 * ++i), shape: [3] }, 1e-6, "a stream");
    bank.free();
    attention.free();
  });

  check(`${what}: keys that are not seen count for nothing, whatever they hold`, (ra) => {
    const attention = ra.createSync(name, config);
    const output = attention.forwardSync(query, first(keys, 4), first(values, 4));
    const mask = { data: Uint8Array.of(1, 1, 1, 1, 0, 0, 0), shape: [1, 7] };
    close(attention.forwardSync(query, keys, values, { mask }), found(output), 1e-6, "masked");
    const dirty = [keys, values].map(({ data, shape }) => ({
      data: data.map((x, i) => (i < 4 * shape[1] ? x : Number.NaN)),
      shape,
    }));
    close(attention.forwardSync(query, ...dirty, { keyLengths: 4 }), found(output), 1e-6, "behind a length");
    const causal = attention.forwardSync(query, keys, values, { causal: true });
    for (let i = 0; i < 5; i++) {
      const seen = attention.forwardSync(row(query, i), first(keys, i + 3), first(values, i + 3));
      close(causal.slice(3 * i, 3 * i + 3), { data: seen }, 2e-6, `row ${i} of a causal call`);
    }
    const weights = attention.attentionWeightsSync(query, keys, { mask });
    for (let i = 0; i < 5; i++) {
      const total = weights.slice(7 * i, 7 * i + 7).reduce((a, b) => a + b, 0);
      assert(Math.abs(total - 1) < 1e-5, `the sum of row ${i} is ${total}`);
      equal([...weights.slice(7 * i + 4, 7 * i + 7)], [0, 0, 0], "weights of what is not seen");
    }
    attention.free();
  });

  check(`${what}: NaN and wrong shapes are refused by name`, async (ra, api) => {
    const attention = ra.createSync(name, config);
    const nan = { data: keys.data.map((x, i) => (i === 9 ? Number.NaN : x)), shape: keys.shape };
    const { NumericalInstabilityError, DimensionMismatchError, UnsupportedError } = api;
    for (const q of [query, first(query, 1)]) {
      await throws(() => attention.forward(q, nan, values), NumericalInstabilityError, /^keys holds nan at index \(2, 1\)/);
      const inf = { data: values.data.map((x, i) => (i === 1 ? Infinity : x)), shape: values.shape };
      await throws(() => attention.forward(q, keys, inf), NumericalInstabilityError, /^values holds inf at index \(0, 1\)/);
    }
    await throws(() => attention.attentionWeights(query, nan), NumericalInstabilityError, /^keys holds nan/);
    await throws(() => attention.forward(query, random([7, 5], 1), values), DimensionMismatchError, /^keys is \(7, 5\)/);
    await throws(() => attention.forward(query, keys), UnsupportedError, /^values is missing/);
    await throws(() => attention.forward(query, keys, values, { maks: 1 }), UnsupportedError, /unknown option 'maks'/);
    await throws(() => attention.forward(query, keys, values, { training: true }), UnsupportedError, /pyodide/);
    await throws(() => attention.backward(values), UnsupportedError, /pyodide/);
    equal(attention.forwardSync(query, keys, values).shape, [5, 3], "the shape after an error");
    attention.free();
    await throws(() => attention.forward(query, keys, values), api.RuntimeLostError, /was disposed/);
  }); // biome-ignore format: a line a refusal
}

check("the functions of the ball are their formulas", async (ra, api) => {
  const c = 1.5;
  const ball = ra.createSync("hyperbolic", { dim: 4, curvature: -c });
  const [x, y] = [row(keys, 0), row(keys, 1)];
  const gap = x.map((each, i) => each - y[i]);
  const spread = (1 - c * dot(x, x)) * (1 - c * dot(y, y));
  const distance = Math.acosh(1 + (2 * c * dot(gap, gap)) / spread) / Math.sqrt(c);
  const told = ball.poincareDistanceSync(x, y);
  assert(Math.abs(told - distance) < 1e-6, `the distance is ${told}; expected ${distance}`);
  assert((await ball.poincareDistance(x, y)) === told, "expected the same by a promise");
  const [xy, xx, yy] = [dot(x, y), dot(x, x), dot(y, y)];
  const whole = 1 + 2 * c * xy + c * c * xx * yy;
  const sum = x.map((each, i) => ((1 + 2 * c * xy + c * yy) * each + (1 - c * xx) * y[i]) / whole);
  close(ball.mobiusAddSync(x, y), { data: sum, shape: [4] });
  const all = ball.poincareDistanceSync(keys, x);
  equal(all.shape, [7], "distances to one point");
  assert(all[0] === 0 && Math.abs(all[1] - distance) < 1e-6, `the distances are ${all}`);
  close(ball.fromPoincareSync(ball.toPoincareSync(keys)), keys);
  const far = ball.toPoincareSync([30, 0, 0, -40]);
  const radius = 1 / Math.sqrt(c);
  assert(Math.abs(Math.hypot(...far) - radius) < 1e-5 && Math.hypot(...far) < radius, `the point is ${far}`);
  close(ball.projectToBallSync([3, 0, 0, 4], 0.5), { data: [0.3 * radius, 0, 0, 0.4 * radius], shape: [4] });
  close(ball.projectToBallSync(keys), keys, 0);
  await throws(() => ball.poincareDistance(x, [1, 2]), api.DimensionMismatchError, /^y is \(2,\); expected \(\.\.\., dim\) with dim = 4/);
  await throws(() => ball.toPoincare([1, Number.NaN, 0, 0]), api.NumericalInstabilityError, /^x holds nan at index \(1,\)/);
  await throws(() => ball.toPoincare(3), api.DimensionMismatchError, /^x is a single number/);
  await throws(() => ball.projectToBall(x, 2), api.InvalidConfigError, /^eps is 2; expected a finite number above 0 and below 1/);
  const sharp = ball.computeWithTemperatureSync(query, keys, values, 0.25);
  const same = ra.createSync("hyperbolic", { dim: 4, curvature: -c, temperature: 0.25 });
  close(sharp, found(same.forwardSync(query, keys, values)), 0);
  await throws(() => ball.computeWithTemperature(query, keys, values, 0), api.InvalidConfigError, /^temperature is 0/);
  ball.free();
  same.free();
}); // biome-ignore format: a line a refusal

check("midpoints near the boundary keep their digits, in a batch and with a memory", (ra) => {
  // Two points at 0.9999 of the radius, mirror images: by symmetry the midpoint is on the axis between them, and of
  // rows (a, b) and (a, -b) it is A / (B + sqrt(B^2 - A^2)) with A = 2 l a, B = 2 (l - 1), weights halves.
  const [a, b] = [Math.fround(0.9998), Math.fround(0.004)];
  const lambda = 2 / (1 - a * a - b * b);
  const [sum, rest] = [lambda * a, lambda - 1];
  const middle = sum / (rest + Math.sqrt(rest * rest - sum * sum));
  const ball = ra.createSync("hyperbolic", { dim: 2 });
  const pair = { data: Float32Array.of(a, b, a, -b), shape: [2, 2] };
  const origin = { data: new Float32Array(12), shape: [6, 2] }; // as far from both
  const expected = { data: Float32Array.from({ length: 12 }, (_, i) => (i % 2 ? 0 : middle)), shape: [6, 2] };
  close(ball.forwardSync(origin, pair, pair), expected, 1e-6);
  const batch = ball.forwardSync(stacked(origin, origin), stacked(pair, pair), pair);
  close(batch, { data: [...expected.data, ...expected.data], shape: [2, 6, 2] }, 1e-6);
  const bank = ra.memorySync(pair);
  close(ball.forwardSync(origin, bank), expected, 1e-6);
  close(ball.forwardSync(first(origin, 1), bank), first(expected, 1), 1e-6);
  bank.free();
  ball.free();
});

check("random features and parameters come from the seed as NumPy draws them", (ra) => {
  // what Python's classes of these settings have, in float32
  const drawn = {
    linear: [
      { dim: 3, numFeatures: 8, seed: 11 },
      { features: [0.049952153, -0.7455067, 0.8323122, 1.6704673, -0.1892218, -0.26974198, 0.40248322, 1.5756769, 1.3871871] },
    ],
    edge_featured: [
      { dim: 3, edgeDim: 2, numHeads: 2, headDim: 2, seed: 11 },
      {
        source_weight: [-0.68775433, -0.0013371389, 0.18793844],
        target_weight: [0.30152655, -0.41604722, -0.6703529],
        edge_weight: [-0.2934503, 0.18319061, -0.52939755],
        attention: [-1.0211506, 0.9698615, -0.17158996],
        bias: [0, 0, 0],
      },
    ],
    graph: [
      { dim: 2, edgeDim: 1, numHeads: 2, seed: 11 },
      { query_weight: [-0.90981364, -0.0017688685], output_weight: [0.39888215, -0.55037874], edge_weight: [0.4818525, 0.035022471] },
    ],
  };
  for (const [name, [config, expected]] of Object.entries(drawn)) {
    const attention = ra.createSync(name, config);
    const state = attention.stateDictSync();
    for (const [key, data] of Object.entries(expected))
      close(state[key].slice(0, data.length), { data }, 1e-7, `${name}, ${key}`);
    attention.loadStateDictSync(state);
    equal(attention.numParametersSync(), Object.values(state).reduce((sum, { length }) => sum + length, 0));
    attention.free();
  }
  const odd = ra.createSync("linear", { dim: 5, numFeatures: 7, seed: 1 });
  const rows = found(odd.stateDictSync().features);
  odd.free();
  equal(rows.shape, [7, 5], "the shape of an odd number of features");
  for (let i = 0; i < 3; i++) {
    assert(row(rows, i).every((x, c) => x === -row(rows, 4 + i)[c]), `row ${4 + i} is not that of ${i} turned round`);
    assert(Math.abs(dot(row(rows, i), row(rows, i + 1))) < 1e-5, `rows ${i} and ${i + 1} are not orthogonal`);
  }
}); // biome-ignore format: a table

check("many random features come near to softmax attention", (ra) => {
  const favor = ra.createSync("linear", { dim: 4, numFeatures: 4096, seed: 5 });
  const exact = ra.createSync("flash", { dim: 4 });
  const [a, b] = [favor, exact].map((each) => each.forwardSync(query, keys, values));
  const error = Math.hypot(...a.map((x, i) => x - b[i])) / Math.hypot(...b);
  assert(error < 0.01, `the relative error is ${error}; expected below 0.01`);
  favor.free();
  exact.free();
});

check("other features than the drawn ones count from the next call on", (ra) => {
  const favor = ra.createSync("linear", { dim: 4, numFeatures: 6 });
  favor.forwardSync(query, keys, values);
  favor.loadStateDictSync({ features: { data: new Float32Array(24), shape: [6, 4] } });
  const mean = favor.forwardSync(query, keys, values); // features of zeros weigh keys by their length alone
  const weights = Array.from({ length: 7 }, (_, j) => Math.exp((-0.5 * dot(row(keys, j), row(keys, j))) / 2));
  const total = weights.reduce((x, y) => x + y, 0);
  const expected = [0, 1, 2].map(
    (c) => weights.reduce((sum, w, j) => sum + w * row(values, j)[c], 0) / total,
  );
  close(mean.slice(0, 3), { data: expected });
  favor.free();
});

for (const [name, config] of EDGED) {
  const what = `${name} ${config.variant ?? ""}`;

  check(`${what}: every form of edges gives the same, and so do promises and items`, async (ra, api) => {
    const graph = ra.createSync(name, config);
    const output = graph.forwardSync(nodes, edgeIndex, features);
    const [sources, targets] = [edgeIndex.data.slice(0, 8), edgeIndex.data.slice(8)];
    const pairs = Array.from(sources, (source, i) => [source, targets[i]]);
    for (const form of [
      pairs,
      { edges: pairs },
      [[...sources], [...targets]],
      api.tensor(edgeIndex.data.slice(), [2, 8]),
    ])
      close(graph.forwardSync(nodes, form, features), found(output), 0);
    close(await graph.forward(nodes, edgeIndex, features, { checkFinite: true }), found(output), 0);
    const both = graph.forwardSync(stacked(nodes, nodes), edgeIndex, stacked(features, scaled(features, -1)));
    close(both.slice(0, output.length), { data: output }, 1e-6, "the first of two");
    const other = graph.forwardSync(nodes, edgeIndex, scaled(features, -1));
    close(both.slice(output.length), { data: other }, 1e-6, "the second of two");
    const [item] = await graph.forwardBatch([[nodes, edgeIndex, features]]);
    close(item, found(output), 0);
    graph.free();
  });

  check(`${what}: weights into a node sum to 1 with that of its loop`, (ra) => {
    const graph = ra.createSync(name, config);
    const weights = graph.attentionWeightsSync(nodes, edgeIndex, features);
    equal(weights.shape, [8, config.numHeads], "the shape");
    const bare = ra.createSync(name, { ...config, addSelfLoops: false });
    const alone = bare.attentionWeightsSync(nodes, edgeIndex, features);
    for (let head = 0; head < config.numHeads; head++) {
      const into = [0, 1, 2].map((node) => {
        const own = [...alone].filter((_, i) => i % config.numHeads === head);
        return own.reduce((sum, x, e) => sum + (edgeIndex.data[8 + e] === node ? x : 0), 0);
      });
      into.forEach((sum, node) => {
        assert(Math.abs(sum - 1) < 1e-5, `the weights into ${node} sum to ${sum}`);
      });
      // the edge from node 2 to itself has the weight of the loop that took its place
      const own = [4, 2, 3, 5].map((e) => weights[e * config.numHeads + head]);
      assert(
        own.every((x) => x > 0 && x < 1),
        `weights are ${own}`,
      );
    }
    const empty = bare.forwardSync(nodes, { data: new Int32Array(0), shape: [2, 0] });
    const last = row(found(bare.forwardSync(nodes, edgeIndex, features)), 5); // which no edge leads to
    close(row(found(empty), 5), { data: last }, 0, "a node without edges");
    const own = ra.createSync(name, { ...config, addSelfLoops: false, isolated: "self" });
    assert(
      row(found(own.forwardSync(nodes, edgeIndex, features)), 5).some((x, i) => x !== last[i]),
      "expected it to see itself",
    );
    for (const each of [graph, bare, own]) each.free();
  });

  check(`${what}: what is wrong with nodes or edges is said by name`, async (ra, api) => {
    const { OutOfBoundsError, UnsupportedError, DimensionMismatchError, NumericalInstabilityError } = api;
    const graph = ra.createSync(name, config);
    const refused = [
      [[nodes, [[0, 9], [1, 2]], features], OutOfBoundsError, /^edge_index names node 9; expected 0 to 5/],
      [[nodes, [[0.5, 1], [1, 2]]], UnsupportedError, /^edge_index holds numbers that are not whole/],
      [[nodes, [[0, 1, 2]]], DimensionMismatchError, /^edge_index is \(1, 3\); expected \(2, n_edges\)/],
      [[nodes, [[true, false]]], UnsupportedError, /^edge_index is an array of bool/],
      [[nodes], UnsupportedError, /^edge_index is missing/],
      [[random([6, 3], 1), edgeIndex], DimensionMismatchError, /^nodes is \(6, 3\)/],
      [[nodes, edgeIndex, random([7, 2], 1)], DimensionMismatchError, /^edge_attr is \(7, 2\); expected \(8, edge_dim\)/],
      [[nodes, edgeIndex, random([8, 3], 1)], DimensionMismatchError, /^edge_attr is \(8, 3\)/],
      [[{ data: nodes.data.map((x, i) => (i === 5 ? NaN : x)), shape: [6, 4] }, edgeIndex], NumericalInstabilityError, /^nodes holds nan at index \(1, 1\)/],
      [[nodes, edgeIndex, { data: features.data.map((x, i) => (i === 5 ? Infinity : x)), shape: [8, 2] }], NumericalInstabilityError, /^edge_attr holds inf at index \(2, 1\)/],
      [[nodes, edgeIndex, features, { mask: [1] }], UnsupportedError, /^unknown option 'mask'/],
      [[nodes, edgeIndex, features, { training: true }], UnsupportedError, /pyodide/],
    ];
    for (const [args, Expected, message] of refused) await throws(() => graph.forward(...args), Expected, message);
    await throws(() => graph.call("forward_k_hop", 0, nodes, edgeIndex, 2), UnsupportedError, /forward_k_hop needs load\(\{ runtime: 'pyodide' \}\)/);
    const bank = ra.memorySync(nodes);
    await throws(() => bank.project(graph), UnsupportedError, /cannot read a memory/);
    bank.free();
    const { edgeDim: _, ...bare } = config;
    const without = ra.createSync(name, bare);
    await throws(() => without.forward(nodes, edgeIndex, features), UnsupportedError, /^edge_attr came/);
    graph.free();
    without.free();
  }); // biome-ignore format: a table
}

check("one node among its neighbours is what it is in their graph", (ra) => {
  for (const config of [
    EDGED[0][1],
    EDGED[1][1],
    { ...EDGED[0][1], addSelfLoops: false, shareWeights: true },
  ]) {
    const attention = ra.createSync("edge_featured", config);
    const star = { data: Int32Array.of(1, 2, 3, 0, 0, 0), shape: [2, 3] };
    const three = { data: nodes.data.slice(4, 16), shape: [3, 4] };
    const attr = first(features, 3);
    const whole = attention.forwardSync(first(nodes, 4), star, attr);
    const one = attention.computeWithEdgesSync(row(nodes, 0), three, three, attr);
    close(one, { data: row(found(whole), 0), shape: [one.length] }, 1e-6);
    const plain = attention.forwardSync(first(nodes, 4), star);
    close(
      attention.computeSync(row(nodes, 0), three, three),
      { data: row(found(plain), 0), shape: [one.length] },
      1e-6,
    );
    attention.free();
  }
  const graph = ra.createSync("graph", { dim: 4, edgeDim: 2 });
  const { values: output, weights, metadata } = graph.computeSync(nodes, { edges: [[0, 2], [1, 0], [3, 2]], numNodes: 6, edgeFeatures: first(features, 3) }); // biome-ignore format: a graph
  equal([output.shape, weights.shape], [[6, 4], [3, 1]], "the shapes"); // biome-ignore format: shapes
  equal(metadata, { num_nodes: 6, num_edges: 3, attention_type: "graph" });
  graph.free();
});

check(
  "large calls by promises give what they give at once, and the arguments may change meanwhile",
  async (ra) => {
    const [q, k, v] = [random([300, 32], 1), random([500, 32], 2), random([500, 16], 3)].map((x) =>
      scaled(x, 0.05),
    );
    const far = { data: Float32Array.from({ length: 1000 }, (_, i) => (i % 2 ? (i / 1000 - 0.5) * 1e-3 : 0.9998)), shape: [500, 2] }; // biome-ignore format: near the boundary
    const edges = { data: Int32Array.from({ length: 8000 }, (_, i) => (i * 7919) % 300), shape: [2, 4000] };
    const attr = random([4000, 8], 6);
    const calls = [
      ["hyperbolic", { dim: 32 }, [q, k, v]],
      ["hyperbolic", { dim: 32, model: "lorentz", aggregation: "tangent" }, [q, k, v, { causal: true }]],
      ["hyperbolic", { dim: 32 }, [q, k, far]],
      ["linear", { dim: 32, numFeatures: 64 }, [q, k, v]],
      ["linear", { dim: 32, kernel: "elu" }, [q, k, v, { causal: true }]],
      ["edge_featured", { dim: 32, numHeads: 4, edgeDim: 8 }, [q, edges, attr]],
      ["graph", { dim: 32, numHeads: 4, edgeDim: 8 }, [q, edges, attr]],
    ];
    for (const [name, config, args] of calls) {
      const attention = ra.createSync(name, config);
      const expected = attention.forwardSync(...args);
      const own = args.map((x) => (x.data ? { data: x.data.slice(), shape: x.shape } : x));
      const promise = attention.forward(...own);
      for (const { data } of own) data?.fill(0);
      close(await promise, found(expected), 1e-6, name);
      const weighed =
        name === "edge_featured" || name === "graph" ? args : [...args.slice(0, 2), ...args.slice(3)];
      const weights = attention.attentionWeightsSync(...weighed);
      close(await attention.attentionWeights(...weighed), found(weights), 1e-6, `weights of ${name}`);
      attention.free();
    }
  },
);

check("what these kernels do not cover is refused by name", async (ra, { UnsupportedError, InvalidConfigError }) => {
  const refused = [
    ["hyperbolic", { dim: 4, aggregation: "frechet" }, UnsupportedError, /^aggregation 'frechet' needs load\(\{ runtime: 'pyodide' \}\)/],
    ["hyperbolic", { dim: 4, adaptiveCurvature: true }, UnsupportedError, /^adaptive_curvature needs load\(\{ runtime: 'pyodide' \}\)/],
    ["hyperbolic", { dim: 4, topK: 2 }, UnsupportedError, /^top_k needs load\(\{ runtime: 'pyodide' \}\)/],
    ["hyperbolic", { dim: 4, curvature: 0 }, InvalidConfigError, /^curvature is 0; expected a number below 0/],
    ["hyperbolic", { dim: 4, model: "klein" }, InvalidConfigError, /^model is 'klein'/],
    ["linear", { dim: 4, kernel: "rbf" }, InvalidConfigError, /^kernel is 'rbf'/],
    ["linear", { dim: 4, scale: 0 }, InvalidConfigError, /^scale is 0; expected above 0/],
    ["edge_featured", { dim: 4, numHeads: 3 }, InvalidConfigError, /^dim is 4; expected a multiple of num_heads = 3, or head_dim given/],
    ["edge_featured", { dim: 4, variant: "gat", shareWeights: true }, InvalidConfigError, /^share_weights is true/],
    ["graph", { dim: 4, numHeads: 3 }, InvalidConfigError, /^dim is 4; expected a multiple of num_heads = 3/],
  ];
  for (const [name, config, Expected, message] of refused)
    await throws(() => ra.create(name, config), Expected, message);
  const linear = ra.createSync("linear", { dim: 4 });
  const perQuery = { mask: { data: new Uint8Array(35).fill(1), shape: [5, 7] } };
  await throws(() => linear.forward(query, keys, values, perQuery), UnsupportedError, /^mask is \(5, 7\), one row for each query/);
  await throws(() => linear.forward(query, keys, values, { mask: { type: "window", window: 2 } }), UnsupportedError, /^mask is a window/);
  await throws(() => linear.forward(query, keys, values, { bias: [1] }), UnsupportedError, /^unknown option 'bias'/);
  linear.free();
}); // biome-ignore format: a table

check("2 000 of these made and disposed leave the heap where it was", (ra) => {
  const round = (i) => {
    const [name, config] = [...KEYED, ...EDGED][i % 8];
    const attention = ra.createSync(name, { ...config, seed: i });
    if (i % 40 < 8) {
      if (i % 8 < 5) attention.forwardSync(query, keys, values);
      else attention.forwardSync(nodes, edgeIndex, features);
    }
    attention.free();
  };
  for (let i = 0; i < 80; i++) round(i);
  const [{ used, bytes }, handles] = [ra.heap, ra.handles];
  for (let i = 0; i < 2000; i++) round(i);
  equal(ra.heap, { bytes, used }, "the heap");
  equal(ra.handles, handles, "the number of objects");
});
