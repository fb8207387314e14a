/** GraphAttention: scaled dot products along edges, whose features are learned additions to the scores. */
import { InvalidConfigError, NumericalInstabilityError } from "../errors.js";
import { mapKeys, snake } from "../naming.js";
import { EdgeCalls } from "./edge_calls.js";
import type { Fans } from "./fans.js";
import { given, type Resident, sizeOf } from "./numbers.js";
import { type Graph, type Hold, OverEdges, type WeightAt } from "./over_edges.js";
import { type Learned, xavier } from "./parameters.js";
import { type Settings, shown } from "./settings.js";

const MAPS = ["query", "keys", "values", "output"];

export class GraphDots extends OverEdges {
  protected override checkSettings({ dim, num_heads: heads }: Settings): void {
    if ((dim as number) % (heads as number) !== 0)
      throw new InvalidConfigError(`dim is ${dim}; expected a multiple of num_heads = ${heads}`);
  }

  protected learned(settings: Settings): Learned[] {
    const { dim, edge_dim: edgeDim, num_heads: heads } = settings as Record<string, number>;
    return [
      ...MAPS.flatMap((name) => [
        xavier(`${name}_weight`, dim as number, dim as number),
        ...(settings.bias ? [{ name: `${name}_bias`, shape: [dim as number] }] : []),
      ]),
      ...(typeof edgeDim === "number" ? [xavier("edge_weight", edgeDim, heads as number)] : []),
    ];
  }

  protected channelsOut(): number {
    return this.settings.dim as number;
  }

  /** { values, weights, metadata } of node features and { edges, numNodes, edgeFeatures }, or edges in any other form. */
  computeSync(nodeFeatures: unknown, graph: unknown): Record<string, unknown> {
    this.open();
    const isObject = typeof graph === "object" && graph !== null && "edges" in graph;
    const { num_nodes: count = null, edge_features: features } = isObject
      ? mapKeys(graph, snake)
      : ({} as Record<string, unknown>);
    const rows = given("node_features", nodeFeatures).shape[0];
    if (count !== null && count !== rows) {
      throw new InvalidConfigError(
        `num_nodes is ${shown(count)}; expected ${rows}, the rows of node_features`,
      );
    }
    const edges = isObject ? { edges: graph.edges } : graph;
    const inputs = [nodeFeatures, edges, features];
    const { edges: read } = this.graph(inputs);
    const about = { num_nodes: rows, num_edges: read.sources.length, attention_type: this.mechanism.name };
    const weights = this.attentionWeightsSync(...inputs);
    return { values: this.forwardSync(...inputs), weights, metadata: about };
  }

  protected pass(
    nodes: Resident,
    edges: Resident | undefined,
    fans: Fans,
    graph: Graph,
    hold: Hold,
    out: Float32Array | undefined,
  ): WeightAt {
    const { engine, settings } = this;
    const { kernels } = engine;
    const {
      dim,
      num_heads: heads,
      temperature,
    } = settings as Record<"dim" | "num_heads" | "temperature", number>;
    const width = dim / heads;
    const scale = ((settings.scale as number | null) ?? width ** -0.5) / temperature;
    const n = nodes.shape.at(-2) as number;
    const nEdges = fans.sources.length;
    const batch = sizeOf(graph.lead);
    const calls = EdgeCalls.of(engine);
    const [query, keys, values] = MAPS.slice(0, 3).map((name) => {
      const { weight, bias } = this.parameters.of(name);
      const mapped = hold([...graph.lead, n, dim]);
      engine.project(nodes, weight, dim, bias, dim, mapped);
      return mapped;
    }) as [Resident, Resident, Resident];
    const attended = hold([...graph.lead, n, dim]);
    const lse = hold([batch, heads, n]);
    const biases = edges && this.#biases(edges, fans, heads, hold);
    const [indptr, sources] = edges ? tiled(fans, heads) : [fans.indptr, fans.sources];
    const lists = calls.lists(indptr, sources);
    const sizes = { heads, nQuery: n, nKey: n, nEdges, dim: width, dimValue: width, scale };
    const biasOf = (item: number): number =>
      biases ? biases.pointer + 4 * (edges && edges.shape.length > 2 ? item : 0) * heads * nEdges : 0;
    let status = 0;
    for (let item = 0; item < batch; item++) {
      const at = 4 * item * n * dim;
      const pointers = {
        query: query.pointer + at,
        keys: keys.pointer + at,
        values: values.pointer + at,
        bias: biasOf(item),
        out: attended.pointer + at,
        lse: lse.pointer + 4 * item * heads * n,
      };
      status |= calls.dots(pointers, lists, sizes);
    }
    if (status !== 0 && graph.checkFinite) {
      throw new NumericalInstabilityError(
        "the result overflows float32 although nodes and edge_attr are finite; expected inputs of smaller magnitude",
      );
    }
    if (out) {
      const { weight, bias } = this.parameters.of("output");
      engine.project(attended, weight, dim, bias, dim, out);
    }
    let read: Float32Array | undefined;
    return (item, place, head) => {
      if (!read) {
        const weights = hold([batch, heads, nEdges]);
        const own = calls.lists(fans.indptr, fans.sources);
        for (let each = 0; each < batch; each++) {
          const pointers = {
            query: query.pointer + 4 * each * n * dim,
            keys: keys.pointer + 4 * each * n * dim,
            bias: biasOf(each),
            lse: lse.pointer + 4 * each * heads * n,
            weights: weights.pointer + 4 * each * heads * nEdges,
          };
          calls.weights(pointers, own, sizes);
        }
        read = kernels.read(weights.pointer, batch * heads * nEdges);
      }
      return read[(item * heads + head) * nEdges + place] as number;
    };
  }

  /** What edges add to the scores, (..., heads, edges), in the order of the fans and after the temperature. */
  #biases(edges: Resident, fans: Fans, heads: number, hold: Hold): Resident {
    const { kernels } = this.engine;
    const [rows, dim] = edges.shape.slice(-2) as [number, number];
    const nEdges = fans.sources.length;
    const lead = edges.shape.slice(0, -2);
    const weight = this.derived("tempered", dim * heads, (to) => {
      const { temperature } = this.settings as { temperature: number };
      kernels.write(
        to,
        this.learnedArray("edge_weight", dim * heads).map((x) => x / temperature),
      );
    });
    const sorted = hold([...lead, nEdges, dim]);
    const biases = hold([...lead, heads, nEdges]);
    for (let item = 0; item < sizeOf(lead); item++) {
      fans.rows.forEach((row, place) => {
        kernels.move(
          sorted.pointer + 4 * (item * nEdges + place) * dim,
          edges.pointer + 4 * (item * rows + row) * dim,
          dim,
        );
      });
      const from = sorted.pointer + 4 * item * nEdges * dim;
      const to = biases.pointer + 4 * item * heads * nEdges;
      EdgeCalls.of(this.engine).product(heads, nEdges, dim, weight, from, to, true);
    }
    return biases;
  }
}

/** The lists of every head, one behind the other. */
function tiled({ indptr, sources }: Fans, heads: number): [number[], number[]] {
  const all = Array.from({ length: heads }, (_, head) => head);
  return [
    all.flatMap((head) => Array.from(indptr, (at) => at + head * sources.length)),
    all.flatMap(() => Array.from(sources)),
  ];
}
