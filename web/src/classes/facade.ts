/** Makes the classes of the table: constructors as other packages have them, over mechanisms of the loaded runtime. */
import { DimensionMismatchError, RuntimeLostError, UnsupportedError } from "../errors.js";
import { snake } from "../naming.js";
import { type Tensor, tensor } from "../tensor.js";
import { backing, type Core, makeCore } from "./current.js";
import { type Inputs, isFlat, readInputs, widthOf } from "./rows.js";
import type { Spec } from "./table.js";

/** What matrices are answered with. */
export interface AttentionOutput {
  readonly values: Tensor;
  readonly weights: Tensor;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** A call that a method makes of a mechanism; its result comes back into the method. */
interface Step {
  readonly core: Core;
  readonly method: string;
  readonly args: readonly unknown[];
}
/** A method, written once: it is run at once where the runtime is in this thread, and by promises everywhere. */
export type Steps<R> = Generator<Step, R, never>;

export class Facade {
  /** What the constructor was given, by its own names. */
  readonly #given: Record<string, unknown>;
  readonly #settings: Record<string, unknown>;
  readonly #owner: string;
  readonly #spec: Spec;
  /** By the channels of a query: a class whose constructor does not ask for them learns them from its calls. */
  readonly #cores = new Map<unknown, Core>();
  #freed = false;

  constructor(owner: string, spec: Spec, args: readonly unknown[]) {
    this.#owner = owner;
    this.#spec = spec;
    this.#given = readArguments(spec, args);
    this.#settings = settingsOf(spec, this.#given);
    if (this.#settings.dim !== undefined) this.core(this.#settings.dim as number);
    else backing();
  }

  /** What it tells of itself: the constructor's argument, else what the setting is. */
  tell(key: string): unknown {
    const { dim, numHeads = 1 } = this.#settings as { dim?: number; numHeads?: number };
    if (key === "headDim" && dim !== undefined) return dim / numHeads;
    const name = this.#spec.renamed?.[key] ?? key;
    return this.#given[key] ?? this.#settings[name];
  }

  core(dim: number): Core {
    if (this.#freed) throw new RuntimeLostError(`${this.#owner} was freed; create another`);
    const own = (this.#settings.dim as number | undefined) ?? dim;
    let core = this.#cores.get(own);
    if (!core) {
      core = makeCore(this.#owner, this.#spec.mechanism, { ...this.#settings, dim: own });
      this.#cores.set(own, core);
    }
    return core;
  }

  *forward(query: unknown, keys: unknown, values: unknown, ...rest: unknown[]): Steps<unknown> {
    const inputs = readInputs(query, keys, values, rest);
    return yield this.#step("forward", inputs, [inputs.query, inputs.keys, inputs.values]);
  }

  /** One output for each query; the keys are the same for all of them. */
  *forwardBatch(queries: unknown, keys: unknown, values: unknown, ...rest: unknown[]): Steps<Tensor[]> {
    if (!Array.isArray(queries) || queries.length === 0) {
      throw new UnsupportedError("queries is no list of queries; expected at least one");
    }
    const dim = widthOf(queries[0]);
    const other = queries.findIndex((query) => !isFlat(query) || query.length !== dim);
    if (other >= 0) {
      const actual = isFlat(queries[other]) ? queries[other].length : undefined;
      const error = new DimensionMismatchError(
        `queries[${other}] is no vector of ${dim} channels, as queries[0] is`,
      );
      throw Object.assign(error, { expected: dim, actual });
    }
    const inputs = readInputs(queries, keys, values, rest);
    const output: Tensor = yield this.#step("forward", inputs, [queries, inputs.keys, inputs.values]);
    const width = output.length / queries.length;
    return queries.map((_, i) => tensor(output.slice(i * width, (i + 1) * width), [width]));
  }

  /** A vector for a typed array, { values, weights, metadata } for a matrix. */
  *compute(query: unknown, keys: unknown, values: unknown, ...rest: unknown[]): Steps<unknown> {
    const inputs = readInputs(query, keys, values, rest);
    const all = [inputs.query, inputs.keys, inputs.values];
    const output: Tensor = yield this.#step("forward", inputs, all);
    if (ArrayBuffer.isView(query) || isFlat(query)) return output;
    const weights: Tensor = yield this.#step("attention_weights", inputs, all.slice(0, 2));
    const metadata = { type: this.#spec.mechanism, backend: backing().backend, shape: output.shape };
    return { values: output, weights, metadata };
  }

  *computeBatch(queries: unknown, keys: unknown, values: unknown, ...rest: unknown[]): Steps<unknown[]> {
    const lists = { queries, keys, values } as Record<string, unknown[]>;
    for (const [name, list] of Object.entries(lists)) {
      if (!Array.isArray(list) || list.length !== lists.queries?.length) {
        throw new UnsupportedError(`${name} is no list of as many items as queries has`);
      }
    }
    const outputs: unknown[] = [];
    for (const [i, query] of (queries as unknown[]).entries()) {
      outputs.push(yield* this.compute(query, lists.keys?.[i], lists.values?.[i], ...rest));
    }
    return outputs;
  }

  /** A mask of the keys: true is seen. */
  *computeWithMask(query: unknown, keys: unknown, values: unknown, mask?: unknown): Steps<unknown> {
    return yield* this.compute(query, keys, values, mask);
  }

  /** A method of the mechanism, its arguments as they are. */
  *own(method: string, ...args: unknown[]): Steps<unknown> {
    const dim = this.#settings.dim === undefined ? widthOf(args[0]) : 0;
    return yield { core: this.core(dim), method: snake(method), args };
  }

  async dispose(): Promise<void> {
    this.#freed = true;
    const cores = [...this.#cores.values()];
    this.#cores.clear();
    await Promise.all(cores.map((core) => core.dispose()));
  }

  #step(method: string, { dim, options }: Inputs, args: readonly unknown[]): Step {
    return { core: this.core(dim), method, args: [...args, options] };
  }
}

/** Runs a method in this thread. */
export function runSync<R>(owner: string, name: string, steps: Steps<R>, instead = name): R {
  let step = steps.next();
  while (!step.done) {
    const { core, method, args } = step.value;
    if (!core.callSync) {
      steps.return(undefined as never);
      throw new UnsupportedError(
        `${owner}.${name} answers at once, which this runtime cannot; expected ${instead}Async`,
      );
    }
    step = steps.next(core.callSync(method, ...args) as never);
  }
  return step.value;
}

export async function runAsync<R>(steps: Steps<R>): Promise<R> {
  let step = steps.next();
  while (!step.done) {
    const { core, method, args } = step.value;
    step = steps.next((await core.call(method, ...args)) as never);
  }
  return step.value;
}

function readArguments(spec: Spec, args: readonly unknown[]): Record<string, unknown> {
  const [first] = args;
  if (args.length <= 1 && (first === undefined || (typeof first === "object" && first !== null))) {
    return { ...(first as object) };
  }
  const names = spec.short?.[args.length] ?? spec.args;
  return named(names, args);
}

export function named(names: readonly string[], args: readonly unknown[]): Record<string, unknown> {
  if (args.length > names.length) {
    throw new UnsupportedError(`${args.length} arguments came; expected (${names.join(", ")})`);
  }
  return Object.fromEntries(args.map((arg, i) => [names[i] as string, arg]));
}

/** Our settings for what the constructor was given. */
function settingsOf(spec: Spec, given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const settings: Record<string, unknown> = { ...spec.fixed };
  for (const [key, value] of Object.entries(given)) {
    if (value !== undefined) settings[spec.renamed?.[key] ?? key] = value;
  }
  // Over there a curvature is written with either sign; here a hyperbolic space has one below 0.
  if (typeof settings.curvature === "number") settings.curvature = -Math.abs(settings.curvature);
  const { headDim, numHeads, euclideanDim, hyperbolicDim } = settings as Record<string, number | undefined>;
  if (spec.renamed?.hiddenDim && headDim !== undefined) {
    delete settings.headDim;
    settings.dim ??= headDim * (numHeads ?? 1);
  }
  if (euclideanDim !== undefined && hyperbolicDim !== undefined)
    settings.dim ??= euclideanDim + hyperbolicDim;
  return settings;
}
