/** HyperbolicAttention: distances in the ball, and means there, of points that the kernels bring inside. */

import type { Rules } from "../description.js";
import {
  EmptyInputError,
  InvalidConfigError,
  NumericalInstabilityError,
  UnsupportedError,
} from "../errors.js";
import { type Tensor, tensor } from "../tensor.js";
import type { ScoreOptions } from "./addends.js";
import { steps } from "./addends.js";
import { type Home, newOutput } from "./attention.js";
import { Ball, INPUT_EPS, type Operation, OUTPUT_EPS } from "./ball.js";
import { Bank } from "./bank.js";
import type { Scoring } from "./engine.js";
import { Lasting } from "./lasting.js";
import type { Run } from "./layout.js";
import {
  type Numbers,
  numbers,
  type Resident,
  refuse,
  type Shape,
  type Source,
  sizeOf,
  written,
} from "./numbers.js";
import { Parameters } from "./parameters.js";
import { Scored, type Space, type Spaces } from "./scored.js";
import { type Settings, shown } from "./settings.js";
import { type Binding, broadcast, mismatch } from "./signature.js";
import type { Placed } from "./staging.js";

export { RULES } from "./rules/hyperbolic.gen.js";

const INPUTS = ["query", "keys", "values"];
/** Queries for which reading keys and values is all of the work, so that it is done once. */
const FEW = 4;

type Hold = (shape: Shape) => Resident;

/** Rows as points of the space, and what distances need of each, (..., n, 1). */
interface Points {
  readonly rows: Resident;
  readonly aux: Resident;
}

/** Keys as points, and values as they are summed and as they are; what a Memory keeps. */
type BankArrays = readonly [keys: Resident, aux: Resident, summed: Resident, inside: Resident];

class Hyperbolic extends Lasting {
  constructor(home: Home, mechanism: Rules, config: object) {
    super(home, mechanism, config);
    const { adaptive_curvature: isLearned, curvature, seed } = this.settings as Record<string, number>;
    if (!isLearned) return;
    const draw = (): Float32Array => Float32Array.of(Math.log(-(curvature as number)));
    this.parameters = new Parameters(home, [{ name: "log_curvature", shape: [1], draw }], seed as number);
    home.own(this, this.parameters.release);
  }

  /** Of the space as it is now, below 0. */
  get curvature(): number {
    if (!this.parameters) return this.settings.curvature as number;
    return -Math.exp(this.engine.kernels.read(this.parameters.at("log_curvature"), 1)[0] as number);
  }

  protected override checkSettings({ curvature, aggregation }: Settings): void {
    if ((curvature as number) >= 0) {
      throw new InvalidConfigError(
        `curvature is ${curvature}; expected a number below 0, as a hyperbolic space has`,
      );
    }
    if (aggregation === "frechet") {
      throw new UnsupportedError(
        "aggregation 'frechet' needs load({ runtime: 'pyodide' }); expected 'gyromidpoint' or 'tangent' here",
      );
    }
  }

  protected fixedAxes({ dim }: Settings): Record<string, number> {
    return { dim: dim as number };
  }

  protected override scale(): number {
    return 1 / (this.settings.temperature as number);
  }

  forwardSync(...args: unknown[]): Tensor {
    return this.#forward(args, undefined);
  }

  /** forward with another temperature for this call. */
  computeWithTemperatureSync(...args: unknown[]): Tensor {
    this.open();
    const [temperature] = args.splice(3, 1);
    if (!(Number.isFinite(temperature) && (temperature as number) > 0)) {
      throw new InvalidConfigError(`temperature is ${shown(temperature)}; expected a finite number above 0`);
    }
    return this.#forward(args, 1 / (temperature as number));
  }

  attentionWeightsSync(...args: unknown[]): Tensor {
    const [binding, how] = this.#bind(args, INPUTS.slice(0, 2));
    const { n_query: nQuery, n_key: nKey } = binding.sizes as { n_query: number; n_key: number };
    const shape = [...binding.lead, nQuery, nKey];
    const out = newOutput(shape);
    this.#holding((hold) => {
      const [query, keys] = binding.arrays.map((array) => this.#points(array, hold)) as [Points, Points];
      if (!this.#areFinite(how, query.rows, keys.rows)) this.blame(binding, how.keyLengths);
      const spaces = this.#spaces(query, keys);
      const told = Scored.of(this.engine).weigh(query.rows, keys.rows, { spaces }, binding.lead, how, out);
      if (!told) this.blame(binding, how.keyLengths);
    });
    return this.restore(out, binding, shape);
  }

  // --- the space by itself

  poincareDistanceSync(x: unknown, y: unknown): Tensor | number {
    const found = this.#pairs("distance", x, y);
    return found.shape.length === 0 ? (found[0] as number) : found;
  }

  toPoincareSync(x: unknown): Tensor {
    return this.#map("exp0", x);
  }

  fromPoincareSync(x: unknown): Tensor {
    return this.#map("log0", x);
  }

  mobiusAddSync(x: unknown, y: unknown): Tensor {
    return this.#pairs("sum", x, y);
  }

  projectToBallSync(x: unknown, eps?: unknown): Tensor {
    this.open();
    const share = eps ?? INPUT_EPS;
    if (!(Number.isFinite(share) && (share as number) > 0 && (share as number) < 1)) {
      throw new InvalidConfigError(`eps is ${shown(share)}; expected a finite number above 0 and below 1`);
    }
    return this.#map("inside", x, share as number);
  }

  #map(operation: Operation, value: unknown, eps = INPUT_EPS): Tensor {
    this.open();
    const x = pointsOf("x", value);
    const out = newOutput(x.shape);
    const { ball } = this;
    this.#holding((hold) => {
      const inside = operation === "log0" ? this.#mapped("inside", x, hold) : x;
      ball.map(operation, inside, this.#c, out, eps);
    });
    return tensor(out, x.shape);
  }

  /** Of rows of two arrays, whose leading dimensions broadcast. */
  #pairs(operation: "distance" | "sum", first: unknown, second: unknown): Tensor {
    this.open();
    const [x, y] = [pointsOf("x", first), pointsOf("y", second)];
    const dim = x.shape.at(-1) as number;
    if (y.shape.at(-1) !== dim) {
      throw mismatch(
        `y is ${written(y.shape)}; expected (..., dim) with dim = ${dim}, from x ${written(x.shape)}`,
        dim,
        y.shape.at(-1),
      );
    }
    const lead = broadcast(x.shape.slice(0, -1), y.shape.slice(0, -1));
    if (!lead) {
      throw mismatch(
        `y is ${written(y.shape)}; its leading dimensions do not broadcast with ${written(x.shape.slice(0, -1))}, those before it`,
        x.shape.slice(0, -1),
        y.shape.slice(0, -1),
      );
    }
    const shape = operation === "sum" ? [...lead, dim] : lead;
    const out = newOutput(shape);
    // The caller may read a number of it: it is there when this returns.
    this.engine.kernels.now(() =>
      this.#holding((hold) => {
        const [a, b] = [x, y].map((each) => this.#mapped("inside", repeated(each, lead), hold));
        this.ball.map(operation, a as Resident, this.#c, out, INPUT_EPS, (b as Resident).pointer);
      }),
    );
    if (!out.every(Number.isFinite)) {
      throw new NumericalInstabilityError(
        "the result overflows float32; expected points and vectors of smaller magnitude",
      );
    }
    return tensor(out, shape);
  }

  // --- computing

  get #c(): number {
    return -this.curvature;
  }

  #space(): Space {
    const { model, dim } = this.settings as { model: Space["kind"]; dim: number };
    return { kind: model, channels: dim, weight: 1, c: this.#c };
  }

  #spaces(query: Points, keys: Points): Spaces {
    return { list: [this.#space()], query: query.aux, keys: keys.aux };
  }

  private get ball(): Ball {
    return Ball.of(this.engine);
  }

  #bind(args: readonly unknown[], names: readonly string[]): [Binding, Scoring] {
    this.open();
    const [inputs, options] = this.read(args, names);
    this.require(inputs, names);
    const binding = this.signature.bind(inputs);
    return [binding, this.scoring(binding, options as ScoreOptions, this.settings.dim as number)];
  }

  #forward(args: readonly unknown[], scale: number | undefined): Tensor {
    const [binding, usual] = this.#bind(args, INPUTS);
    const how = { ...usual, scale: scale ?? usual.scale };
    const values = binding.arrays[2] as Source;
    const shape = [...binding.lead, binding.sizes.n_query as number, values.shape.at(-1) as number];
    const few = this.#few(binding, how);
    if (few) return this.restore(few, binding, shape);
    const out = newOutput(shape);
    this.#holding((hold) => this.#means(binding, args[1], how, out, hold));
    return this.restore(out, binding, shape);
  }

  /** Gyromidpoints in one pass over keys and values, where nothing else is asked for and no point is near to the boundary. */
  #few({ arrays, sizes }: Binding, how: Scoring): Float32Array | undefined {
    const { model, aggregation } = this.settings;
    const { n_query: nQuery, n_key: nKey, dim } = sizes as Record<"n_query" | "n_key" | "dim", number>;
    const isPlain = model === "poincare" && aggregation === "gyromidpoint" && nQuery <= FEW;
    if (!isPlain || how.topK || how.mask || how.bias || how.keyLengths || (how.ahead === 0 && nQuery > 1))
      return undefined;
    if (arrays.some(({ shape }) => shape.length !== 2)) return undefined;
    const { kernels, staging } = this.engine;
    const dimValue = (arrays[2] as Source).shape[1] as number;
    const whole = { count: 1, first: [0, 0, 0], steps: [0, 0, 0], at: 0 };
    const placed = (["query", "keys", "values"] as const).map((area, i) => {
      const source = arrays[i] as Source;
      const [rows, width] = source.shape as [number, number];
      return staging.place(area, { source, width }, whole, i, 0, rows, false);
    });
    const to = kernels.begin(staging.areas.out, nQuery * dimValue);
    const status = this.ball.few({ nQuery, nKey, dim, dimValue }, placed, how.scale, this.#c, to);
    const found = status === 0 ? kernels.finish(to, nQuery * dimValue) : undefined;
    staging.trim();
    return found;
  }

  #means(binding: Binding, memory: unknown, how: Scoring, out: Float32Array, hold: Hold): void {
    const { lead } = binding;
    const c = this.#c;
    const [query, keys, values] = binding.arrays as [Source, Source, Source];
    const points = this.#points(query, hold);
    const [rows, aux, summed, inside] =
      memory instanceof Bank ? this.ofMemory(memory) : this.#bankOf(keys, values, hold);
    if (!this.#areFinite(how, points.rows, rows, inside)) this.blame(binding, how.keyLengths);
    const nQuery = binding.sizes.n_query as number;
    const sums = hold([...lead, nQuery, summed.shape.at(-1) as number]);
    const scored = Scored.of(this.engine);
    const spaces = this.#spaces(points, { rows, aux });
    const isTold = scored.attend(points.rows, rows, summed, { spaces }, lead, how, sums);
    if (!isTold) this.blame(binding, how.keyLengths);
    if (this.settings.aggregation === "tangent") this.ball.map("exp0", sums, c, out, OUTPUT_EPS);
    else if (this.ball.map("midpoint", sums, c, out, OUTPUT_EPS) !== 0) {
      // So far out that sums in float32 do not tell them from the boundary: from the weights, in float64.
      const { kernels, staging } = this.engine;
      const [nKey, dim] = inside.shape.slice(-2) as [number, number];
      const area = (_: unknown, count: number): number => staging.areas.lse.take(4 * count);
      const sum = (part: Run, weights: number, own: Placed | undefined): void => {
        const { pointer, step } = own as Placed;
        for (let item = 0; item < part.count; item++) {
          const at = (part.at + item) * nQuery * dim;
          const to = kernels.begin(staging.areas.out, nQuery * dim, out, at);
          const from = weights + 4 * item * nQuery * nKey;
          this.ball.midpoints(nQuery, nKey, dim, c, from, pointer + 4 * item * step, to);
          kernels.finish(to, nQuery * dim, out, at);
        }
      };
      scored.weighParts(points.rows, rows, { spaces }, lead, how, area, sum, inside);
    }
  }

  /** Whether what the kernels read is; keys that are not read may hold anything. */
  #areFinite(how: Scoring, ...arrays: readonly Resident[]): boolean {
    if (!how.checkFinite || how.keyLengths) return true;
    return arrays.every(({ pointer, shape, step }) => {
      const [items, size] = [sizeOf(shape.slice(0, -2)), sizeOf(shape.slice(-2))];
      return this.engine.staging.allFinite(pointer, (items - 1) * step + size);
    });
  }

  #points(source: Source, hold: Hold): Points {
    const inside = this.#mapped("inside", source, hold);
    const rows = this.settings.model === "lorentz" ? this.#mapped("stretched", inside, hold) : inside;
    const aux = hold([...rows.shape.slice(0, -1), 1]);
    Scored.of(this.engine).aux(rows, this.#space(), aux);
    return { rows, aux };
  }

  #bankOf(keys: Source, values: Source, hold: Hold): BankArrays {
    const { rows, aux } = this.#points(keys, hold);
    const inside = this.#mapped("inside", values, hold);
    const operation = this.settings.aggregation === "tangent" ? "log0" : "extended";
    return [rows, aux, this.#mapped(operation, inside, hold), inside];
  }

  /** A memory's rows as they are read here, which it keeps. */
  protected override ofMemory(memory: Bank): BankArrays {
    const { model, aggregation } = this.settings;
    return memory.derive(`hyperbolic ${this.curvature} ${model} ${aggregation}`, () => {
      const made: Resident[] = [];
      const hold = (shape: Shape): Resident => {
        const array = this.engine.staging.hold(shape);
        made.push(array);
        return array;
      };
      const kept = this.#bankOf(memory.keys, memory.values, hold);
      for (const each of made) if (!kept.includes(each)) this.engine.kernels.free(each.pointer);
      return kept;
    }) as unknown as BankArrays;
  }

  #mapped(operation: Operation, source: Source, hold: Hold): Resident {
    const columns = Ball.columns(operation, source.shape.at(-1) as number);
    const out = hold([...source.shape.slice(0, -1), columns]);
    this.ball.map(operation, source, this.#c, out);
    return out;
  }

  /** What was made for this call is freed after it. */
  #holding(work: (hold: Hold) => void): void {
    const held: number[] = [];
    try {
      work((shape) => {
        const array = this.engine.staging.hold(shape);
        held.push(array.pointer);
        return array;
      });
    } finally {
      for (const pointer of held) this.engine.kernels.free(pointer);
    }
  }
}

export const BODIES = { hyperbolic: Hyperbolic };

/** An array of finite numbers with at least one axis. */
function pointsOf(name: string, value: unknown): Numbers {
  const array = numbers(name, value);
  const { shape } = array;
  if (shape.length === 0) throw mismatch(`${name} is a single number; expected (..., dim)`, 1, 0);
  if (sizeOf(shape) === 0)
    throw new EmptyInputError(`${name} is ${written(shape)}, without elements; expected (..., dim)`);
  refuse(name, array, Number.isFinite, "finite numbers");
  return array;
}

/** Rows as often as they are needed for a leading shape. */
function repeated({ data, shape }: Numbers, lead: Shape): Numbers {
  const dim = shape.at(-1) as number;
  const own = shape.slice(0, -1);
  if (sizeOf(own) === sizeOf(lead)) return { data, shape: [...lead, dim] };
  const strides = steps(own, lead);
  const out = new Float32Array(sizeOf(lead) * dim);
  for (let row = 0; row < out.length / dim; row++) {
    let [rest, from] = [row, 0];
    for (let axis = lead.length - 1; axis >= 0; axis--) {
      from += (rest % (lead[axis] as number)) * (strides[axis] as number);
      rest = Math.floor(rest / (lead[axis] as number));
    }
    out.set(data.subarray(from * dim, (from + 1) * dim), row * dim);
  }
  return { data: out, shape: [...lead, dim] };
}
