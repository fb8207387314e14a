/** What EdgeFeaturedAttention and GraphAttention share: nodes, edges and their features, and learned arrays. */
import type { Rules } from "../description.js";
import { UnsupportedError } from "../errors.js";
import type { Tensor } from "../tensor.js";
import { type Home, newOutput } from "./attention.js";
import type { Bank } from "./bank.js";
import { EdgeCalls, type Lists } from "./edge_calls.js";
import { byEdge, type Edges, type Fans, fansOf, readEdges } from "./fans.js";
import { Lasting } from "./lasting.js";
import { type Numbers, type Resident, refuse, type Shape, sizeOf, written } from "./numbers.js";
import { type Learned, Parameters } from "./parameters.js";
import type { Settings } from "./settings.js";
import { mismatch } from "./signature.js";

export type Hold = (shape: Shape) => Resident;

/** A call's arrays, checked. */
export interface Graph {
  readonly nodes: Numbers;
  readonly edges: Edges;
  readonly features: Numbers | undefined;
  readonly lead: Shape;
  readonly checkFinite: boolean;
}

/** What a pass leaves: weights of a place among the fans, item by item. */
export type WeightAt = (item: number, place: number, head: number) => number;

const OPTIONS = ["training", "checkFinite", "transfer", "signal"];

export abstract class OverEdges extends Lasting {
  declare protected parameters: Parameters;
  /** What is made of the parameters once, by name, and of which version of them. */
  readonly #made = { pointers: new Map<string, number>(), version: -1 };

  constructor(home: Home, mechanism: Rules, config: object) {
    super(home, mechanism, config);
    const { settings } = this;
    const isSettled = settings.dim !== undefined;
    this.parameters = new Parameters(home, isSettled ? this.learned(settings) : [], settings.seed as number);
    const { release } = this.parameters;
    const made = this.#made;
    home.own(this, () => {
      release();
      for (const pointer of made.pointers.values()) home.engine.kernels.free(pointer);
      made.pointers.clear();
    });
  }

  /** The learned arrays, in the order in which Python draws them. */
  protected abstract learned(settings: Settings): Learned[];
  protected abstract channelsOut(): number;
  /**
   * Through a graph: from nodes and the features of the edges, behind which are those of the loops, to the outputs
   * (..., n_node, channelsOut). Weights, where they are wanted.
   */
  protected abstract pass(
    nodes: Resident,
    edges: Resident | undefined,
    fans: Fans,
    graph: Graph,
    hold: Hold,
    out: Float32Array | undefined,
  ): WeightAt;

  protected fixedAxes({ dim, edge_dim }: Settings): Record<string, number> {
    return { dim: dim as number, ends: 2, ...(typeof edge_dim === "number" ? { edge_dim } : {}) };
  }

  forwardSync(...args: unknown[]): Tensor {
    const graph = this.graph(args);
    const shape = [...graph.lead, graph.nodes.shape.at(-2) as number, this.channelsOut()];
    const out = newOutput(shape);
    this.run(graph, out);
    return this.shaped(out, shape);
  }

  /** The weights of the caller's edges in his order, (..., n_edges, num_heads). */
  attentionWeightsSync(...args: unknown[]): Tensor {
    const graph = this.graph(args);
    const heads = this.settings.num_heads as number;
    const count = graph.edges.sources.length;
    const shape = [...graph.lead, count, heads];
    const out = newOutput(shape);
    this.engine.kernels.now(() => {
      this.run(graph, undefined, (fans, at) => {
        const loops = this.settings.add_self_loops as boolean;
        for (let item = 0; item < sizeOf(graph.lead); item++) {
          const own = out.subarray(item * count * heads, (item + 1) * count * heads);
          byEdge(fans, graph.edges, loops, heads, (place, head) => at(item, place, head), own);
        }
      });
    });
    return this.shaped(out, shape);
  }

  override keep(_memory: Bank): void {
    this.open();
    throw new UnsupportedError(
      `${this.mechanism.class} cannot read a memory; expected a mechanism over keys and values`,
    );
  }

  protected shaped(out: Float32Array, shape: Shape): Tensor {
    return this.restore(out, { isVector: false } as never, shape);
  }

  /** nodes, edge_index and edge_attr of a call, and its options. */
  protected graph(args: readonly unknown[]): Graph {
    this.open();
    const positional = [...args];
    const last = positional.at(-1);
    let options: Record<string, unknown> = {};
    if (isOptions(last)) {
      options = last;
      positional.pop();
    }
    for (const name of Object.keys(options))
      if (!OPTIONS.includes(name))
        throw new UnsupportedError(`unknown option '${name}'; known: ${OPTIONS.join(", ")}`);
    if (options.training === true)
      throw new UnsupportedError(
        "training needs load({ runtime: 'pyodide' }); this runtime computes forward only",
      );
    const [nodes, index, attr] = positional;
    if (positional.length > 3)
      throw new UnsupportedError(`${positional.length} inputs came; expected (nodes, edge_index, edge_attr)`);
    for (const [name, value] of [
      ["nodes", nodes],
      ["edge_index", index],
    ] as const)
      if (value === undefined || value === null)
        throw new UnsupportedError(`${name} is missing; expected (nodes, edge_index, edge_attr)`);
    const binding = this.signature.bind([["nodes", nodes]]);
    const array = binding.arrays[0] as Numbers;
    const { lead } = binding;
    const edges = readEdges(index, array.shape.at(-2) as number);
    const features = this.#features(attr, edges, lead);
    return { nodes: array, edges, features, lead, checkFinite: options.checkFinite !== false };
  }

  #features(attr: unknown, edges: Edges, lead: Shape): Numbers | undefined {
    if (attr === undefined || attr === null) return undefined;
    if ((this.settings.edge_dim ?? null) === null)
      throw new UnsupportedError("edge_attr came, but edge_dim is null; expected no edge_attr");
    const count = edges.sources.length;
    if (count === 0) return undefined;
    const features = this.signature.bind([["edge_attr", attr]]).arrays[0] as Numbers;
    const { shape } = features;
    if (shape.at(-2) !== count) {
      throw mismatch(
        `edge_attr is ${written(shape)}; expected (${count}, edge_dim), a row for each edge`,
        count,
        shape.at(-2),
      );
    }
    if (shape.length > 2 && shape.slice(0, -2).join() !== lead.join()) {
      throw mismatch(
        `edge_attr is ${written(shape)}; expected the leading dimensions ${written(lead)} of nodes, or none`,
        lead,
        shape.slice(0, -2),
      );
    }
    return features;
  }

  /** The whole way; `use` is given the weights while they last. */
  protected run(graph: Graph, out: Float32Array | undefined, use?: (fans: Fans, at: WeightAt) => void): void {
    const { add_self_loops: loops, isolated } = this.settings;
    const nNode = graph.nodes.shape.at(-2) as number;
    const fans = fansOf(graph.edges, nNode, loops as boolean, isolated === "self");
    this.holding((hold) => {
      const nodes = this.kept("nodes", graph.nodes, graph.checkFinite, hold);
      const features = graph.features && this.#withLoops(graph.features, graph, fans, hold);
      const weights = this.pass(nodes, features, fans, graph, hold, out);
      use?.(fans, weights);
    });
  }

  /** What was made for this call is freed after it. */
  protected holding(work: (hold: Hold) => void): void {
    const { kernels, staging } = this.engine;
    const held: number[] = [];
    try {
      work((shape) => {
        const array = staging.hold(shape.map((size) => Math.max(size, 1)));
        held.push(array.pointer);
        return { ...array, shape, step: sizeOf(shape.slice(-2)) };
      });
    } finally {
      for (const pointer of held) kernels.free(pointer);
      EdgeCalls.of(this.engine).trim();
    }
  }

  /** An array in the kernels' memory. */
  protected kept(name: string, array: Numbers, checkFinite: boolean, hold: Hold): Resident {
    const { kernels, staging } = this.engine;
    const own = hold(array.shape);
    kernels.write(own.pointer, array.data);
    if (checkFinite && !staging.allFinite(own.pointer, array.data.length))
      refuse(name, array, Number.isFinite, "finite numbers");
    return own;
  }

  /** Features of edges and behind them those of the loops: the mean over the other edges into the node, or zeros. */
  #withLoops(features: Numbers, graph: Graph, fans: Fans, hold: Hold): Resident {
    const given = this.kept("edge_attr", features, graph.checkFinite, hold);
    if (fans.loops.length === 0) return given;
    const { kernels } = this.engine;
    const nNode = fans.indptr.length - 1;
    const [count, dim] = features.shape.slice(-2) as [number, number];
    const rows = count + fans.loops.length;
    const all = hold([...features.shape.slice(0, -2), rows, dim]);
    const zeros = hold([Math.max(count, nNode), 1]);
    kernels.fill(zeros.pointer, Math.max(count, nNode), 0);
    // The edges into each node that are no loops.
    const others = fansOf(graph.edges, nNode, false, false);
    const isLoop = (row: number): boolean => graph.edges.sources[row] === graph.edges.targets[row];
    const hasAll = fans.loops.length === nNode;
    const [indptr, indices] = [[0], [] as number[]];
    for (let node = 0; node < nNode; node++) {
      for (let at = others.indptr[node] as number; at < (others.indptr[node + 1] as number); at++) {
        const row = others.rows[at] as number;
        if (hasAll && !isLoop(row)) indices.push(row);
      }
      indptr.push(indices.length);
    }
    const calls = EdgeCalls.of(this.engine);
    const lists = calls.lists(indptr, indices);
    for (let item = 0; item < sizeOf(features.shape.slice(0, -2)); item++) {
      const from = given.pointer + 4 * item * count * dim;
      const to = all.pointer + 4 * item * rows * dim;
      kernels.move(to, from, count * dim);
      const out = to + 4 * count * dim;
      if (hasAll) this.mean(zeros, from, out, lists, nNode, count, indices.length, dim);
      else kernels.fill(out, fans.loops.length * dim, 0);
    }
    return all;
  }

  /** Means of rows of values by lists of them: softmax of equal scores is one. */
  protected mean(
    zeros: Resident,
    values: number,
    out: number,
    lists: Lists,
    nQuery: number,
    nKey: number,
    nEdges: number,
    dimValue: number,
  ): void {
    const pointers = { query: zeros.pointer, keys: zeros.pointer, values, bias: 0, out, lse: 0 };
    const sizes = { heads: 1, nQuery, nKey, nEdges, dim: 1, dimValue, scale: 1 };
    this.engine.kernels.now(() => EdgeCalls.of(this.engine).dots(pointers, lists, sizes)); // it may be moved at once
  }

  /** Something made of the parameters, kept until they change. */
  protected derived(name: string, count: number, make: (pointer: number) => void): number {
    const { kernels } = this.engine;
    const made = this.#made;
    this.parameters.at(this.parameters.names[0] as string); // that they are there, and their version with them
    if (made.version !== this.parameters.version) {
      for (const pointer of made.pointers.values()) kernels.free(pointer);
      made.pointers.clear();
      made.version = this.parameters.version;
    }
    let pointer = made.pointers.get(name);
    if (pointer === undefined) {
      pointer = kernels.alloc(4 * count);
      made.pointers.set(name, pointer);
      const place = pointer;
      kernels.now(() => make(place));
    }
    return pointer;
  }

  protected learnedArray(name: string, count: number): Float32Array {
    return this.engine.kernels.read(this.parameters.at(name), count);
  }
}

/** { edges } is a graph, every other plain object options. */
function isOptions(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  if ("shape" in value || "$array" in value || "edges" in value) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
