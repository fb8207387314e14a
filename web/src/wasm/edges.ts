/** EdgeFeaturedAttention: additive scores along edges, heads as the last axis of every row. */
import { InvalidConfigError, NumericalInstabilityError } from "../errors.js";
import type { Tensor } from "../tensor.js";
import { newOutput } from "./attention.js";
import { EdgeCalls } from "./edge_calls.js";
import type { Fans } from "./fans.js";
import { GraphDots } from "./graph_dots.js";
import { type Numbers, numbers, type Resident, sizeOf, written } from "./numbers.js";
import { type Graph, type Hold, OverEdges, type WeightAt } from "./over_edges.js";
import { type Learned, xavier } from "./parameters.js";
import type { Settings } from "./settings.js";
import { mismatch } from "./signature.js";

export { RULES } from "./rules/edges.gen.js";

interface Sizes {
  readonly heads: number;
  /** The heads as the kernel wants them: a power of two, the last ones empty. */
  readonly lanes: number;
  /** Of a head. */
  readonly channels: number;
  readonly dimOut: number;
}

function sizesOf(settings: Settings): Sizes {
  const { dim = 1, num_heads: heads = 1, head_dim } = settings as Record<string, number>;
  const isJoined = settings.concat_heads === true;
  const channels = head_dim ?? (isJoined ? dim / heads : dim);
  const lanes = 2 ** Math.ceil(Math.log2(heads));
  return { heads, lanes, channels, dimOut: channels * (isJoined ? heads : 1) };
}

class EdgeFeatured extends OverEdges {
  protected override checkSettings(settings: Settings): void {
    const { dim, num_heads: heads, head_dim } = settings as Record<string, number>;
    if (head_dim === null && settings.concat_heads && (dim as number) % (heads as number) !== 0) {
      throw new InvalidConfigError(
        `dim is ${dim}; expected a multiple of num_heads = ${heads}, or head_dim given`,
      );
    }
    if (settings.share_weights && settings.variant === "gat")
      throw new InvalidConfigError("share_weights is true; expected false, for gat has one map anyway");
  }

  protected learned(settings: Settings): Learned[] {
    const { heads, channels, dimOut } = sizesOf(settings);
    const { dim, edge_dim: edgeDim } = settings as { dim: number; edge_dim: number | null };
    const isGat = settings.variant === "gat";
    const width = heads * channels;
    const maps = isGat || settings.share_weights ? ["source"] : ["source", "target"];
    const vectors = isGat ? ["source_attention", "target_attention"] : ["attention"];
    if (isGat && edgeDim !== null) vectors.push("edge_attention");
    return [
      ...maps.flatMap((name) => [
        xavier(`${name}_weight`, dim, width),
        ...(settings.bias && !isGat ? [{ name: `${name}_bias`, shape: [width] }] : []),
      ]),
      ...(edgeDim === null ? [] : [xavier("edge_weight", edgeDim, width)]),
      ...vectors.map((name) => xavier(name, heads, channels)),
      ...(settings.bias ? [{ name: "bias", shape: [dimOut] }] : []),
    ];
  }

  protected channelsOut(): number {
    return sizesOf(this.settings).dimOut;
  }

  protected pass(
    nodes: Resident,
    edges: Resident | undefined,
    fans: Fans,
    graph: Graph,
    hold: Hold,
    out: Float32Array | undefined,
  ): WeightAt {
    return this.#attend(nodes, nodes, nodes, edges, fans, graph.checkFinite, hold, out);
  }

  /** The output of one node, (dim_out,), from its neighbours. */
  computeSync(query: unknown, keys: unknown, values: unknown, options?: object): Tensor {
    return this.computeWithEdgesSync(query, keys, values, undefined, options);
  }

  computeWithEdgesSync(
    query: unknown,
    keys: unknown,
    values: unknown,
    features?: unknown,
    options: { checkFinite?: boolean } = {},
  ): Tensor {
    this.open();
    const checkFinite = options.checkFinite !== false;
    const [q, k, v] = [
      ["query", query],
      ["keys", keys],
      ["values", values],
    ].map(([name, value]) => numbers(name as string, value)) as [Numbers, Numbers, Numbers];
    const { dim } = this.settings as { dim: number };
    const row = q.shape.length === 1 ? [1, ...q.shape] : q.shape;
    const count = k.shape[0] as number;
    const isFit = [k, v].every(({ shape }) => written(shape) === written([count, dim]));
    if (written(row) !== written([1, dim]) || !isFit || count === 0) {
      const shapes = [q, k, v].map(({ shape }) => written(shape)).join(", ");
      throw mismatch(
        `query, keys and values are ${shapes}; expected (dim,), (n_key, dim) and (n_key, dim) with dim = ${dim}`,
        dim,
        q.shape.at(-1),
      );
    }
    const pairs = { data: Int32Array.from({ length: 2 * count }, (_, i) => i % count), shape: [2, count] };
    // A graph of the neighbours, for the checks of their edges' features.
    const { features: given } = this.graph([k, pairs, features, { checkFinite }]);
    const loops = this.settings.add_self_loops ? 1 : 0;
    const n = count + loops;
    const all = Int32Array.from({ length: n }, (_, i) => i);
    const fans = {
      indptr: Int32Array.of(0, n),
      sources: all,
      rows: all,
      loops: new Int32Array(loops),
      nEdges: count,
    };
    const out = newOutput([this.channelsOut()]);
    this.holding((hold) => {
      const target = this.kept("query", { data: q.data, shape: [1, dim] }, checkFinite, hold);
      const [sources, gathered] = (["keys", "values"] as const).map((name, i) => {
        const own = this.kept(name, [k, v][i] as Numbers, checkFinite, hold);
        return this.#joined(own, target.pointer, n, hold);
      }) as [Resident, Resident];
      let edges = given && this.kept("edge_attr", given, checkFinite, hold);
      if (edges && loops > 0) {
        const width = edges.shape.at(-1) as number;
        const mean = hold([1, width]);
        const zeros = hold([count, 1]);
        this.engine.kernels.fill(zeros.pointer, count, 0);
        const lists = EdgeCalls.of(this.engine).lists([0, count], all.subarray(0, count));
        this.mean(zeros, edges.pointer, mean.pointer, lists, 1, count, count, width);
        edges = this.#joined(edges, mean.pointer, n, hold);
      }
      this.#attend(sources, target, gathered, edges, fans, checkFinite, hold, out);
    });
    return this.shaped(out, [out.length]);
  }

  /** Rows, and where there are to be more than they are, another behind them. */
  #joined(rows: Resident, more: number, n: number, hold: Hold): Resident {
    const [count, width] = rows.shape as [number, number];
    if (n === count) return rows;
    const { kernels } = this.engine;
    const all = hold([n, width]);
    kernels.move(all.pointer, rows.pointer, count * width);
    kernels.move(all.pointer + 4 * count * width, more, width);
    return all;
  }

  #attend(
    sources: Resident,
    targets: Resident,
    gathered: Resident,
    edges: Resident | undefined,
    fans: Fans,
    checkFinite: boolean,
    hold: Hold,
    out: Float32Array | undefined,
  ): WeightAt {
    const { engine, settings } = this;
    const { lanes, channels, dimOut } = sizesOf(settings);
    const isGat = settings.variant === "gat";
    const lead = sources.shape.slice(0, -2);
    const batch = sizeOf(lead);
    const wide = channels * lanes;
    const nEdges = fans.sources.length;
    const through = (x: Resident, weight: number, bias: number, n: number): Resident => {
      const mapped = hold([...x.shape.slice(0, -1), n]);
      engine.project(x, weight, n, bias, n, mapped);
      return mapped;
    };
    const map = (name: string, x: Resident): Resident => {
      const bias = this.parameters.has(`${name}_bias`) ? this.#lanes(`${name}_bias`, 1) : 0;
      return through(x, this.#lanes(`${name}_weight`, x.shape.at(-1) as number), bias, wide);
    };
    const folded = (name: string, by: string, x: Resident): Resident =>
      through(x, this.#folded(`${name}_weight`, `${by}_attention`, x.shape.at(-1) as number), 0, lanes);
    const source = isGat ? folded("source", "source", sources) : map("source", sources);
    const other = settings.share_weights ? "source" : "target";
    const target = isGat
      ? folded("source", "target", targets)
      : settings.share_weights && targets === sources
        ? source
        : map(other, targets);
    const values = !isGat && gathered === sources ? source : map("source", gathered);
    const edge = edges && (isGat ? folded("edge", "edge", edges) : map("edge", edges));
    const attention = isGat
      ? this.derived("ones", lanes, (to) => engine.kernels.fill(to, lanes, 1))
      : this.#lanes("attention", 1);
    const nTarget = targets.shape.at(-2) as number;
    const found = hold([...lead, nTarget, wide]);
    const weights = hold([...lead, nEdges, lanes]);
    const arrays = { source, target, values, edge, attention, out: found, weights };
    const terms = isGat ? 1 : channels;
    const slope = settings.negative_slope as number;
    const status = EdgeCalls.of(engine).additive(arrays, fans, { batch, heads: lanes, terms, slope });
    if (status !== 0 && checkFinite) {
      throw new NumericalInstabilityError(
        "the result overflows float32 although nodes and edge_attr are finite; expected inputs of smaller magnitude",
      );
    }
    if (out) {
      const bias = this.parameters.has("bias") ? this.parameters.at("bias") : 0;
      engine.project(found, this.#combining(), dimOut, bias, dimOut, out);
    }
    let read: Float32Array | undefined;
    return (item, place, head) => {
      read ??= engine.kernels.read(weights.pointer, batch * nEdges * lanes);
      return read[(item * nEdges + place) * lanes + head] as number;
    };
  }

  /** A learned array (rows, heads * channels) as (rows, channels * lanes). */
  #lanes(name: string, rows: number): number {
    const { heads, lanes, channels } = sizesOf(this.settings);
    return this.derived(name, rows * channels * lanes, (to) => {
      const array = this.learnedArray(name, rows * heads * channels);
      const wide = new Float32Array(rows * channels * lanes);
      for (let row = 0; row < rows; row++)
        for (let head = 0; head < heads; head++)
          for (let c = 0; c < channels; c++)
            wide[(row * channels + c) * lanes + head] = array[(row * heads + head) * channels + c] as number;
      this.engine.kernels.write(to, wide);
    });
  }

  /** A map and an attention vector as one map to a number for each head: gat has no need of the rows between. */
  #folded(weight: string, attention: string, rows: number): number {
    const { heads, lanes, channels } = sizesOf(this.settings);
    const wide = channels * lanes;
    const from = this.#lanes(weight, rows);
    return this.derived(`${weight} ${attention}`, rows * lanes, (to) => {
      const vector = this.learnedArray(attention, heads * channels);
      const blocks = new Float32Array(wide * lanes);
      for (let head = 0; head < heads; head++)
        for (let c = 0; c < channels; c++)
          blocks[(c * lanes + head) * lanes + head] = vector[head * channels + c] as number;
      this.holding((hold) => {
        const by = hold([wide, lanes]);
        this.engine.kernels.write(by.pointer, blocks);
        EdgeCalls.of(this.engine).product(rows, lanes, wide, from, by.pointer, to);
      });
    });
  }

  /** The map from lanes to outputs: heads side by side, or their mean. */
  #combining(): number {
    const { heads, lanes, channels, dimOut } = sizesOf(this.settings);
    return this.derived("combining", channels * lanes * dimOut, (to) => {
      const matrix = new Float32Array(channels * lanes * dimOut);
      const isJoined = this.settings.concat_heads === true;
      for (let head = 0; head < heads; head++)
        for (let c = 0; c < channels; c++)
          matrix[(c * lanes + head) * dimOut + (isJoined ? head * channels : 0) + c] = isJoined
            ? 1
            : 1 / heads;
      this.engine.kernels.write(to, matrix);
    });
  }
}

export const BODIES = { edge_featured: EdgeFeatured, graph: GraphDots };
