/** Makes the classes of the table: constructors as other packages have them, over mechanisms of the loaded runtime. */
import { ofItem } from "../batches.js";
import { DimensionMismatchError, InvalidConfigError, RuntimeLostError, UnsupportedError } from "../errors.js";
import { isPlainObject, snake } from "../naming.js";
import { type Tensor, tensor } from "../tensor.js";
import { backing, type Core, makeCore } from "./current.js";
import { checkLists, type Inputs, isFlat, readInputs, told, widthOf } from "./rows.js";
import type { Spec } from "./table.js";

/** What matrices are answered with. */
export interface AttentionOutput {
  readonly values: Tensor;
  /** (n_query, n_key), with heads (n_heads, n_query, n_key). */
  readonly weights: Tensor;
  readonly metadata: OutputMetadata;
}
/** What a result is of; a class may tell more. */
export interface OutputMetadata {
  /** The mechanism's name. */
  readonly attention_type?: string;
  readonly num_heads?: number;
  /** The instruction set that computed it. */
  readonly backend?: string;
  readonly shape?: readonly number[];
  readonly [key: string]: unknown;
}

/** A call that a method makes of a mechanism; its result comes back into the method. */
interface Step {
  readonly core: Core;
  readonly method: string;
  readonly args: readonly unknown[];
}
/** A method, written once: it is run at once where the runtime is in this thread, and by promises everywhere. */
export type Steps<R> = Generator<Step, R, never>;

/** Channels that are half of all where they are left out. */
const HALVES = ["euclideanDim", "hyperbolicDim"];

export class Facade {
  /** What the constructor was given, by its own names. */
  readonly #given: Record<string, unknown>;
  readonly #settings: Record<string, unknown>;
  readonly #owner: string;
  readonly #spec: Spec;
  /** By what a call told: a class whose constructor does not ask for the channels learns them from its calls. */
  readonly #cores = new Map<string, Core>();
  #freed = false;

  constructor(owner: string, spec: Spec, args: readonly unknown[]) {
    this.#owner = owner;
    this.#spec = spec;
    this.#given = readArguments(spec, args);
    this.#settings = settingsOf(spec, this.#given);
    if (this.#settings.dim !== undefined) this.core(this.#settings.dim as number);
    else backing();
  }

  /** What it tells of itself: the constructor's argument, else what the setting is, once the runtime has said so. */
  tell(key: string): unknown {
    const [core] = this.#cores.values();
    const settings = { ...core?.config, ...this.#settings } as Record<string, number | undefined>;
    const { dim, numHeads, fusionWeight, temperature = 1 } = settings;
    if (key === "headDim" && dim !== undefined && numHeads !== undefined) return dim / numHeads;
    const given = this.#given[key] ?? settings[this.#spec.renamed?.[key] ?? key];
    if (given == null && HALVES.includes(key) && dim !== undefined) return dim / 2;
    if (given !== undefined || fusionWeight === undefined) return given;
    if (key === "hyperbolicWeight") return fusionWeight / temperature;
    return key === "euclideanWeight" ? (1 - fusionWeight) / temperature : undefined;
  }

  core(dim: number, learned: Record<string, unknown> = {}): Core {
    if (this.#freed) throw new RuntimeLostError(`${this.#owner} was freed; create another`);
    const settings = { dim, ...learned, ...this.#settings };
    const key = `${settings.dim} ${Object.values(learned)}`;
    let core = this.#cores.get(key);
    if (!core) {
      core = makeCore(this.#owner, this.#spec.mechanism, settings);
      this.#cores.set(key, core);
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
      throw new UnsupportedError(`queries is ${told(queries)}; expected an array of at least one vector`);
    }
    const dim = widthOf(queries[0], "queries[0]");
    const other = queries.findIndex((query) => !isFlat(query) || query.length !== dim);
    if (other >= 0) {
      const item: unknown = queries[other];
      const actual = isFlat(item) ? item.length : undefined;
      const what = actual === undefined ? told(item) : `a vector of ${actual} channels`;
      const error = new DimensionMismatchError(
        `queries[${other}] is ${what}; expected a vector of ${dim} channels, as in queries[0]`,
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
    const heads = this.#spec.tells?.includes("numHeads") ? { num_heads: this.tell("numHeads") } : {};
    const { backend } = backing();
    const metadata = { attention_type: this.#spec.mechanism, ...heads, backend, shape: output.shape };
    return { values: output, weights, metadata };
  }

  *computeBatch(queries: unknown, keys: unknown, values: unknown, ...rest: unknown[]): Steps<unknown[]> {
    const outputs: unknown[] = [];
    for (const item of this.items(queries, keys, values, ...rest)) outputs.push(yield* item);
    return outputs;
  }

  /** What computeBatch does, item by item. */
  items(queries: unknown, keys: unknown, values: unknown, ...rest: unknown[]): Steps<unknown>[] {
    checkLists({ queries, keys, values });
    const compute = (query: unknown, i: number) =>
      this.#item(i, [query, (keys as unknown[])[i], (values as unknown[])[i], ...rest]);
    return (queries as unknown[]).map(compute);
  }

  *#item(index: number, args: readonly unknown[]): Steps<unknown> {
    const [query, keys, values, ...rest] = args;
    try {
      return yield* this.compute(query, keys, values, ...rest);
    } catch (error) {
      throw ofItem(error, index);
    }
  }

  /** A mask of the keys: true is seen. */
  *computeWithMask(query: unknown, keys: unknown, values: unknown, mask?: unknown): Steps<unknown> {
    return yield* this.compute(query, keys, values, mask);
  }

  /** A method of the mechanism, its arguments as they are. */
  *own(method: string, ...args: unknown[]): Steps<unknown> {
    const dim = this.#settings.dim === undefined ? widthOf(args[0], "the first argument") : 0;
    const learned = method === "compute" ? this.#spec.learns?.(...(args as never[])) : {};
    const found = yield { core: this.core(dim, learned), method: snake(method), args };
    return this.#spec.answers?.[method]?.(found as never) ?? found;
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
    let found: unknown;
    try {
      found = core.callSync(method, ...args);
    } catch (error) {
      step = steps.throw(error); // the method may say what it is about
      continue;
    }
    step = steps.next(found as never);
  }
  return step.value;
}

export async function runAsync<R>(steps: Steps<R>): Promise<R> {
  let step = steps.next();
  while (!step.done) {
    const { core, method, args } = step.value;
    let found: unknown;
    try {
      found = await core.call(method, ...args);
    } catch (error) {
      step = steps.throw(error);
      continue;
    }
    step = steps.next(found as never);
  }
  return step.value;
}

function readArguments(spec: Spec, args: readonly unknown[]): Record<string, unknown> {
  const [first] = args;
  if (args.length <= 1 && (first === undefined || isPlainObject(first))) return { ...first };
  if (typeof first === "object" && first !== null) {
    throw new UnsupportedError(
      `the config is ${told(first)}; expected an object like { ${spec.args[0]}: 64 }, or ${spec.args.join(", ")}`,
    );
  }
  const names = spec.counted?.[args.length] ?? spec.args;
  return named(names, args);
}

/** Arguments by the first of the lists of names that is long enough for them. */
export function named(
  names: readonly string[] | readonly (readonly string[])[],
  args: readonly unknown[],
): Record<string, unknown> {
  const lists = (typeof names[0] === "object" ? names : [names]) as readonly (readonly string[])[];
  const fitting = lists.find(({ length }) => length >= args.length);
  return byName(fitting ?? (lists.at(-1) as readonly string[]), args);
}

function byName(names: readonly string[], args: readonly unknown[]): Record<string, unknown> {
  if (args.length > names.length) {
    throw new UnsupportedError(`${args.length} arguments came; expected (${names.join(", ")})`);
  }
  return Object.fromEntries(args.map((arg, i) => [names[i] as string, arg]));
}

/** Our settings for what the constructor was given. */
function settingsOf(spec: Spec, given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const settings: Record<string, unknown> = { ...spec.fixed };
  for (const [key, value] of Object.entries(given)) {
    const name = spec.renamed?.[key] ?? key;
    if (value !== undefined && name !== "") settings[name] = value;
  }
  weighSpaces(settings);
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

/** Weights of two spaces: the scores are divided by what their shares, which add up to 1, leave of them. */
function weighSpaces(settings: Record<string, unknown>): void {
  const { euclideanWeight, hyperbolicWeight, ...others } = settings;
  if (euclideanWeight === undefined && hyperbolicWeight === undefined) return;
  const weights = { euclideanWeight, hyperbolicWeight } as Record<string, number>;
  for (const [name, weight] of Object.entries(weights)) {
    if (!(Number.isFinite(weight) && weight >= 0)) {
      throw new InvalidConfigError(`${name} is ${weight}; expected a finite number of at least 0`);
    }
    delete settings[name];
  }
  const sum = (euclideanWeight as number) + (hyperbolicWeight as number);
  if (sum === 0)
    throw new InvalidConfigError("euclideanWeight and hyperbolicWeight are 0; expected one above 0");
  settings.fusionWeight = (hyperbolicWeight as number) / sum;
  settings.temperature = ((others.temperature as number | undefined) ?? 1) / sum;
}
