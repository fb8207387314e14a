/** What the classes of training_table.ts are made of: a part in the runtime, and what is kept of it here. */
import { DimensionMismatchError, InvalidConfigError, RuntimeLostError, UnsupportedError } from "../errors.js";
import { mapSettings, snake } from "../naming.js";
import type { Tensor } from "../tensor.js";
import { type Core, makePart } from "./current.js";
import { named, runSync, type Steps } from "./facade.js";
import { COUNT, type PartSpec } from "./training_table.js";

type Given = Record<string, unknown>;

export class PartFacade {
  readonly settings: Given;
  /** What a schedule gave last. */
  last: unknown;
  /** The learning rate that was set last. */
  rate: number;
  readonly #count: number | undefined;
  readonly #owner: string;
  readonly #spec: PartSpec;
  #core: Core | undefined;
  #freed = false;

  constructor(owner: string, spec: PartSpec, args: readonly unknown[]) {
    this.#owner = owner;
    this.#spec = spec;
    const { [COUNT]: count, ...settings } = readSettings(owner, spec, args);
    this.settings = settings;
    this.#count = count as number | undefined;
    this.rate = settings.learningRate as number;
    // A curriculum may be made without stages, which come one by one.
    const waits = spec.kind === "curriculum" && !settings.stages && !settings.totalSteps;
    if (!waits) this.#core = makePart(owner, spec.part, settings);
  }

  #open(): Core {
    if (this.#freed) throw new RuntimeLostError(`${this.#owner} was freed; create another`);
    if (!this.#core) throw new UnsupportedError(`${this.#owner} has no stages; expected addStage(…) before`);
    return this.#core;
  }

  *call(method: string, ...args: unknown[]): Steps<unknown> {
    return yield { core: this.#open(), method, args: [...args, {}] };
  }

  /** What a property tells, which cannot wait. */
  now(property: string): unknown {
    return runSync(this.#owner, property, this.call("status"), "status");
  }

  /** A call without an answer, in its turn before those that follow. */
  send(method: string, ...args: unknown[]): void {
    const core = this.#open();
    if (core.callSync) core.callSync(method, ...args);
    else core.call(method, ...args).catch(() => {}); // its arguments were checked; a lost runtime is told by the next
  }

  *addStage(stage: unknown): Steps<void> {
    if (typeof stage !== "object" || stage === null) {
      throw new UnsupportedError(`stage is ${stage}; expected an object with name and duration`);
    }
    const settings = mapSettings(stage, snake);
    if (this.#core) yield { core: this.#core, method: "add_stage", args: [settings] };
    else this.#core = makePart(this.#owner, this.#spec.part, { stages: [settings] });
  }

  /** New parameters; of gradients alone what to add to parameters. A list is answered with a list. */
  *updated(first: unknown, second?: unknown): Steps<unknown> {
    this.#check(second === undefined ? "gradients" : "parameters", first);
    if (second !== undefined) this.#check("gradients", second);
    const answer =
      second === undefined
        ? yield* this.call("updates", byNumber(first))
        : yield* this.call("updated", byNumber(first), byNumber(second));
    return isList(first) ? first.map((_, i) => (answer as Given)[i]) : answer;
  }

  *updatedInPlace(parameters: unknown, gradients: unknown): Steps<void> {
    const arrays = isList(parameters) ? parameters : [parameters];
    for (const array of arrays) {
      if (!(array instanceof Float32Array || array instanceof Float64Array))
        throw new UnsupportedError("parameters is no Float32Array or Float64Array, nor a list of them");
    }
    if (gradients === undefined) throw new UnsupportedError("gradients is missing");
    const answer = yield* this.updated(parameters, gradients);
    const results = (isList(parameters) ? answer : [answer]) as Tensor[];
    for (const [i, result] of results.entries()) (arrays[i] as Float32Array).set(result);
  }

  setRate(rate: unknown): void {
    if (typeof rate !== "number" || !(rate >= 0) || rate === Number.POSITIVE_INFINITY) {
      throw new InvalidConfigError(`learningRate is ${rate}; expected a finite number of at least 0`);
    }
    this.send("set_learning_rate", rate);
    this.rate = rate;
  }

  async dispose(): Promise<void> {
    this.#freed = true;
    const core = this.#core;
    this.#core = undefined;
    await core?.dispose();
  }

  /** The packages that ask for the number of parameters do not look at it again. */
  #check(what: string, arrays: unknown): void {
    if (this.#count === undefined) return;
    const list = (isList(arrays) ? arrays : [arrays]) as ({ length?: number } | null)[];
    const actual = list.reduce((sum, array) => sum + (array?.length ?? 0), 0);
    if (actual === this.#count) return;
    const made = `for which ${this.#owner} was made`;
    const error = new DimensionMismatchError(
      `${what} has ${actual} numbers; expected ${this.#count}, ${made}`,
    );
    throw Object.assign(error, { expected: this.#count, actual });
  }
}

/** Indices as a list, of several anchors as a list of lists. */
export function indices(found: unknown): number[] | number[][] {
  const array = found as Tensor;
  const [rows, width = 0] = array.shape;
  if (array.shape.length < 2) return Array.from(array);
  return Array.from({ length: rows ?? 0 }, (_, i) => Array.from(array.slice(i * width, (i + 1) * width)));
}

function isList(value: unknown): value is unknown[] {
  return Array.isArray(value) && value.some((item) => typeof item !== "number");
}

/** A list of arrays by their numbers: sent as a list, arrays of equal length would become one. */
function byNumber(value: unknown): unknown {
  return isList(value) ? Object.fromEntries(value.map((item, i) => [i, item])) : value;
}

function readSettings(owner: string, spec: PartSpec, args: readonly unknown[]): Given {
  const [first] = args;
  const isObject = typeof first === "object" && first !== null && !Array.isArray(first);
  const given = isObject && args.length === 1 ? { ...first } : named(namesOf(spec, args), args);
  const settings: Given = {};
  for (const [key, value] of Object.entries(given)) {
    if (value !== undefined && value !== null) settings[spec.renamed?.[key] ?? key] = value;
  }
  const count = settings[COUNT];
  if (count !== undefined && (!Number.isInteger(count) || (count as number) < 1)) {
    throw new InvalidConfigError(`${COUNT} of ${owner} is ${count}; expected an integer of at least 1`);
  }
  if (spec.kind === "optimizer") settings.learningRate ??= spec.part === "sgd" ? 0.01 : 0.001;
  // Other packages write SemiHard and HardNegative.
  for (const key of ["strategy", "decay"]) {
    const choice = settings[key];
    if (typeof choice === "string") {
      const ours = snake(choice.charAt(0).toLowerCase() + choice.slice(1));
      settings[key] = ours === "hard_negative" ? "hard" : ours;
    }
  }
  return settings;
}

/** The names of arguments: with the number of parameters in front where that is what came. */
function namesOf(spec: PartSpec, args: readonly unknown[]): readonly string[] {
  const [first] = args;
  const isCount = args.length > 1 && Number.isInteger(first) && (first as number) >= 1;
  return spec.counted && (spec.alwaysCounted || isCount) ? [COUNT, ...spec.counted] : spec.args;
}
