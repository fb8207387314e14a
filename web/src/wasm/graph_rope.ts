/** GraphRoPEAttention: queries and keys turned by positions, then scaled dot products. */
import { NumericalInstabilityError, OutOfBoundsError } from "../errors.js";
import { type Tensor, tensor } from "../tensor.js";
import { steps } from "./addends.js";
import { newOutput } from "./attention.js";
import { type Hold, holding } from "./holding.js";
import { type Numbers, numbers, refuse, type Shape, type Source, sizeOf, written } from "./numbers.js";
import { shown } from "./settings.js";
import { broadcast, mismatch } from "./signature.js";
import { type Call, SplitHeads } from "./split_heads.js";
import type { Operand } from "./staging.js";
import { type Turn, Waves } from "./waves.js";

export class GraphRope extends SplitHeads {
  protected override ownOptions(): readonly string[] {
    return ["queryPositions", "keyPositions"];
  }

  protected attend(call: Call, out: Float32Array, isWeights: boolean): boolean {
    const { binding, own } = call;
    const [query, keys, values] = binding.arrays as [Source, Source, Source];
    const scoring = this.scored(call);
    const { heads, width, engine } = this;
    const valueWidth = isWeights ? 0 : (values.shape.at(-1) as number) / heads;
    let told = false;
    holding(engine, (hold) => {
      const [q, k] = this.#turned(query, keys, own, hold).map((source) => ({ source, width })) as [
        Operand,
        Operand,
      ];
      told = isWeights
        ? engine.weigh(q, k, binding.lead, scoring, out)
        : engine.attend(q, k, { source: values, width: valueWidth }, binding.lead, scoring, out);
    });
    return told;
  }

  /** forward without positions. */
  computeSync(query: unknown, keys: unknown, values?: unknown): Tensor {
    return this.forwardSync(query, keys, ...(values === undefined ? [] : [values]));
  }

  /** forward with them; a Memory stands for keys and values both. */
  computeWithPositionsSync(...args: unknown[]): Tensor {
    const [queryPositions, keyPositions] = args.slice(-2);
    return this.forwardSync(...args.slice(0, -2), { queryPositions, keyPositions });
  }

  /** Rows (..., n, dim), or one, turned by positions (..., n). */
  applyRotarySync(x: unknown, positions: unknown): Tensor {
    this.open();
    const rows = numbers("x", x);
    const { dim } = this.settings as { dim: number };
    if (rows.shape.at(-1) !== dim) {
      throw mismatch(
        `x is ${written(rows.shape)}; expected (..., dim) with dim = ${dim}`,
        dim,
        rows.shape.at(-1),
      );
    }
    const lifted = rows.shape.length === 1 ? { ...rows, shape: [1, dim] } : rows;
    const at = this.#positions("positions", positions, lifted.shape.slice(0, -1));
    const out = newOutput(rows.shape);
    if (this.#turn.frequencies.length === 0) out.set(rows.data);
    else checkStatus("positions", Waves.of(this.engine).turn(lifted, at, this.#turn, out));
    return tensor(out, rows.shape);
  }

  /** Distances in a graph as positions: maxDistance where a node is further away, or not reached. */
  distanceToPositionSync(distance: unknown, maxDistance: unknown): number | Tensor {
    const { data, shape } = numbers("distance", distance);
    if (!(typeof maxDistance === "number" && maxDistance > 0))
      throw new OutOfBoundsError(`max_distance is ${shown(maxDistance)}; expected more than 0`);
    if (!Array.from(data).every((x) => x >= 0))
      throw new OutOfBoundsError("distance holds NaN or a negative number; expected at least 0");
    const positions = Float64Array.from(data, (x) => Math.min(x, maxDistance));
    return shape.length === 0 ? (positions[0] as number) : (tensor(positions, shape) as unknown as Tensor);
  }

  /** Queries and keys, each as it comes where nothing turns it. */
  #turned(query: Source, keys: Source, own: Call["own"], hold: Hold): Source[] {
    const given = { query_positions: own.queryPositions ?? null, key_positions: own.keyPositions ?? null };
    if (Object.values(given).every((positions) => positions === null)) return [query, keys];
    const all = Object.entries(given).map(([name, value], i) => {
      const source = i === 0 ? query : keys;
      return { name, source, at: this.#positions(name, value ?? 0, source.shape.slice(0, -1)) };
    });
    const turn = this.#turn;
    return all.map(({ name, source, at }) => {
      if (turn.frequencies.length === 0) return source;
      const out = hold(source.shape);
      checkStatus(name, Waves.of(this.engine).turn(source, at, turn, out));
      return out;
    });
  }

  get #turn(): Turn {
    const { base, interleaved } = this.settings as { base: number; interleaved: boolean };
    const pairs = Math.floor(this.width / 2);
    const frequencies = Float64Array.from({ length: pairs }, (_, i) => base ** (-i / pairs));
    return { heads: this.heads, width: this.width, frequencies, interleaved };
  }

  /** As rows are turned by them: of every row of `shape` (..., n), or (n) where all items have the same. */
  #positions(name: string, value: unknown, shape: Shape): Float64Array {
    const array = numbers(name, value);
    const own = array.shape.length === 0 ? [1] : array.shape;
    const joined = broadcast(own, shape);
    if (array.data.length === 0 || joined?.join() !== shape.join()) {
      const message = `${name} is ${written(array.shape)}; expected a shape that broadcasts to ${written(shape)}`;
      throw mismatch(message, shape, array.shape);
    }
    const wide = array.data;
    refuse(name, array, (_, i) => Number.isFinite(wide[i]), "finite numbers");
    const { max_position: limit, scaling } = this.settings as {
      max_position: number | null;
      scaling: number;
    };
    const furthest = Array.from(wide).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    if (limit !== null && furthest > limit) {
      throw new OutOfBoundsError(
        `${name} reaches ${furthest}; expected at most max_position = ${limit}, without sign`,
      );
    }
    const isShared = sizeOf(own.slice(0, -1)) === 1;
    const target = isShared ? shape.slice(-1) : shape;
    return repeated({ data: wide, shape: isShared ? own.slice(-1) : own }, target, scaling);
  }
}

/** Where status is known: what is planned for another thread is computed again where it fails. */
function checkStatus(name: string, status: number): void {
  if (status === 0) return;
  throw new NumericalInstabilityError(
    `${name} times a frequency is 2^52 or more; expected positions that have a sine`,
  );
}

/** An array as often as it is needed for a shape, divided. */
function repeated({ data, shape }: Numbers, target: Shape, divisor: number): Float64Array {
  const strides = steps(shape, target);
  return Float64Array.from({ length: sizeOf(target) }, (_, i) => {
    let [rest, from] = [i, 0];
    for (let axis = target.length - 1; axis >= 0; axis--) {
      from += (rest % (target[axis] as number)) * (strides[axis] as number);
      rest = Math.floor(rest / (target[axis] as number));
    }
    return (data[from] as number) / divisor;
  });
}
