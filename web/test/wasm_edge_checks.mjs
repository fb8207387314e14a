/** What the runtime of the kernels must do of attention along the edges of graphs. */
import { assert, close, equal, throws } from "./wasm_assert.mjs";
import { edgeIndex, features, first, found, nodes, row, scaled, stacked } from "./wasm_inputs.mjs";
import { random } from "./wasm_reference.mjs";

export const edgeChecks = [];
const check = (what, body) => edgeChecks.push([what, body]);

/** Every kind over edges. */
export const EDGED = [
  ["edge_featured", { dim: 4, edgeDim: 2, numHeads: 2 }],
  ["edge_featured", { dim: 4, edgeDim: 2, numHeads: 3, headDim: 2, variant: "gat", concatHeads: false }],
  ["graph", { dim: 4, edgeDim: 2, numHeads: 2, temperature: 0.7 }],
];

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
