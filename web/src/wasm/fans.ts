/** Edges in every form, by target: how the kernels read a graph. Nothing is computed here but places. */
import { DimensionMismatchError, OutOfBoundsError, UnsupportedError } from "../errors.js";
import { given, written } from "./numbers.js";

const FORMS = "(2, n_edges), pairs (n_edges, 2) or { edges: pairs }";

/** The edges as they were given. */
export interface Edges {
  readonly sources: Int32Array;
  readonly targets: Int32Array;
}

/** The edges into each node, as rows: node i attends to sources[indptr[i] … indptr[i + 1]]. */
export interface Fans {
  readonly indptr: Int32Array;
  readonly sources: Int32Array;
  /** Which edge each is: one of the caller's, or behind those one of the loops. */
  readonly rows: Int32Array;
  /** The nodes that were given an edge to themselves. */
  readonly loops: Int32Array;
  readonly nEdges: number;
}

/** Raises UnsupportedError, DimensionMismatchError, OutOfBoundsError. */
export function readEdges(value: unknown, nNode: number): Edges {
  const isObject = typeof value === "object" && value !== null && "edges" in value;
  const { data, shape, dtype } = given("edge_index", isObject ? value.edges : value);
  if (shape.length === 0) throw new UnsupportedError(`edge_index is a number; expected ${FORMS}`);
  if (dtype === "bool") throw new UnsupportedError(`edge_index is an array of bool; expected ${FORMS}`);
  const inRows = !isObject && shape.length === 2 && shape[0] === 2;
  if (data.length > 0 && !inRows && !(shape.length === 2 && shape[1] === 2)) {
    throw new DimensionMismatchError(`edge_index is ${written(shape)}; expected ${FORMS}`);
  }
  const count = data.length / 2;
  const [sources, targets] = [new Int32Array(count), new Int32Array(count)];
  for (let i = 0; i < data.length; i++) {
    const node = data[i] as number;
    if (!Number.isInteger(node))
      throw new UnsupportedError("edge_index holds numbers that are not whole; expected numbers of nodes");
    if (node < 0 || node >= nNode)
      throw new OutOfBoundsError(`edge_index names node ${node}; expected 0 to ${nNode - 1}`);
    const isSource = inRows ? i < count : i % 2 === 0;
    (isSource ? sources : targets)[inRows ? i % count : i >> 1] = node;
  }
  return { sources, targets };
}

/**
 * By target, in the order in which they came. `selfLoops`: every node gets one edge to itself in place of those that it
 * has; `isolatedLoops`: a node without edges into it gets one.
 */
export function fansOf(edges: Edges, nNode: number, selfLoops: boolean, isolatedLoops: boolean): Fans {
  const { sources, targets } = edges;
  const nEdges = sources.length;
  const kept = (edge: number): boolean => !selfLoops || sources[edge] !== targets[edge];
  const counts = new Int32Array(nNode);
  let total = 0;
  for (let edge = 0; edge < nEdges; edge++) {
    if (!kept(edge)) continue;
    counts[targets[edge] as number] = (counts[targets[edge] as number] as number) + 1;
    total++;
  }
  const nodes = Int32Array.from({ length: nNode }, (_, node) => node);
  const loops = selfLoops
    ? nodes
    : isolatedLoops
      ? nodes.filter((node) => counts[node] === 0)
      : new Int32Array(0);
  for (const node of loops) counts[node] = (counts[node] as number) + 1;
  const indptr = new Int32Array(nNode + 1);
  for (let node = 0; node < nNode; node++)
    indptr[node + 1] = (indptr[node] as number) + (counts[node] as number);
  const next = indptr.slice(0, nNode);
  const [from, rows] = [new Int32Array(total + loops.length), new Int32Array(total + loops.length)];
  const put = (source: number, target: number, row: number): void => {
    const at = next[target] as number;
    next[target] = at + 1;
    from[at] = source;
    rows[at] = row;
  };
  for (let edge = 0; edge < nEdges; edge++)
    if (kept(edge)) put(sources[edge] as number, targets[edge] as number, edge);
  loops.forEach((node, i) => {
    put(node, node, nEdges + i);
  });
  return { indptr, sources: from, rows, loops, nEdges };
}

/**
 * Numbers of every head, `at` of an edge in its place among the fans, as the caller knows his edges: (n_edges, heads). Of
 * edges that a loop took the place of, the first of a node has what the loop has, the others 0.
 */
export function byEdge(
  fans: Fans,
  { sources, targets }: Edges,
  selfLoops: boolean,
  heads: number,
  at: (place: number, head: number) => number,
  out: Float32Array,
): void {
  const places = new Int32Array(fans.nEdges + fans.loops.length).fill(-1);
  fans.rows.forEach((row, place) => {
    places[row] = place;
  });
  const taken = new Set<number>();
  for (let edge = 0; edge < fans.nEdges; edge++) {
    const node = targets[edge] as number;
    let place = places[edge] as number;
    if (selfLoops && sources[edge] === node && !taken.has(node)) {
      taken.add(node);
      place = places[fans.nEdges + node] as number;
    }
    for (let head = 0; head < heads; head++) out[edge * heads + head] = place < 0 ? 0 : at(place, head);
  }
}
