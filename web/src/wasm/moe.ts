/** MoEAttention: a router sends each query to some of several mechanisms, whose outputs are summed. */
import type { Rules } from "../description.js";
import {
  AttentionError,
  DimensionMismatchError,
  InvalidConfigError,
  LoadError,
  NumericalInstabilityError,
  UnsupportedError,
} from "../errors.js";
import { type Tensor, tensor } from "../tensor.js";
import { addends } from "./addends.js";
import { type Home, type KernelAttention, newOutput } from "./attention.js";
import { expertConfigs } from "./experts.js";
import { Lasting } from "./lasting.js";
import { type Expert, type Group, MixtureCall, ownItem } from "./mixture_call.js";
import { isResident, type Numbers, type Resident, type Shape, type Source, sizeOf } from "./numbers.js";
import { fitted, Parameters, xavier } from "./parameters.js";
import { type Computed, matrixOf, Routes, type Routing } from "./routes.js";
import { type Settings, written } from "./settings.js";
import type { Binding } from "./signature.js";

export { RULES } from "./rules/moe.gen.js";

const INPUTS = ["query", "keys", "values"];
const SETTINGS = ["experts", "num_experts", "top_k", "capacity_factor", "aux_loss_weight", "z_loss_weight"];
/** How experts are told what single queries see; by a mask with a row for each where nothing else is said. */
const TOLD: Readonly<Record<string, Expert["told"]>> = { linear: "sums", local_global: "places" };

type Hold = (shape: Shape) => Resident;
type Result = "output" | "weights";

/** What the runtime's class keeps of every object, which a mixture must know of its experts. */
interface Inside {
  readonly mechanism: Rules;
  readonly settings: Settings;
}

class Moe extends Lasting {
  declare readonly ready: Promise<this>;
  #experts: Expert[] = [];
  /** Why there are no experts: what is wrong with them, or that their code is still being fetched. */
  #refusal: unknown;
  /** Choices so far, of each expert. */
  #usage: number[] = [];
  /** Whether code of experts, or of theirs, is being fetched. */
  #isWaiting = false;

  constructor(home: Home, mechanism: Rules, config: object) {
    super(home, mechanism, config);
    const { dim, seed } = this.settings as { dim?: number; seed: number };
    if (dim === undefined) return; // the settings were refused
    try {
      this.#makeExperts();
      if (this.#mixtures.length > 0) this.ready = this.#awaited();
    } catch (error) {
      this.#refusal = error;
      this.ready = error instanceof LoadError ? this.#awaited() : Promise.reject(error);
    }
    this.ready.catch(() => {});
    const count = this.#configs().length;
    const router = [xavier("router_weight", dim, count), { name: "router_bias", shape: [count] }];
    this.parameters = new Parameters(home, router, seed);
    home.own(this, this.parameters.release);
  }

  protected override heeds(setting: string): boolean {
    return super.heeds(setting) || SETTINGS.includes(setting);
  }

  protected override checkSettings(settings: Settings): void {
    expertConfigs(settings, this.home.mechanisms);
  }

  protected fixedAxes({ dim }: Settings): Record<string, number> {
    return { dim: dim as number };
  }

  protected override open(): void {
    super.open();
    if (this.#refusal) throw this.#refusal;
  }

  override free(): void {
    super.free();
    for (const { attention } of this.#experts) attention.free();
  }

  /** As everywhere, but that it waits for the experts' code, and that a call which is made anew counts once. */
  override async call(method: string, ...args: unknown[]): Promise<unknown> {
    const { signal } = (args.at(-1) ?? {}) as { signal?: AbortSignal };
    if (this.#isWaiting) await this.ready;
    if (signal) return super.call(method, ...args);
    let counted = this.#usage.map(() => 0);
    return this.engine.kernels.later(args, (...own) => {
      const before = this.#usage.map((count, i) => count - (counted[i] as number));
      this.#usage = [...before];
      try {
        return this.callSync(method, ...own);
      } finally {
        counted = this.#usage.map((count, i) => count - (before[i] as number));
      }
    });
  }

  forwardSync(...args: unknown[]): Tensor {
    return this.#mixed(args, "output").result;
  }

  /** The weights of the experts, summed as their outputs are; of heads, their mean. */
  attentionWeightsSync(...args: unknown[]): Tensor {
    return this.#mixed(args, "weights").result;
  }

  /** forward, and the losses that keep a router even and its numbers small. */
  computeWithAuxLossSync(...args: unknown[]): { output: Tensor; aux_loss: number; z_loss: number } {
    const { result, losses } = this.#mixed(args, "output", true);
    const [aux_loss, z_loss] = losses as unknown as [number, number];
    return { output: result, aux_loss, z_loss };
  }

  /** The experts that queries go to, best first, -1 where none had room, and their weights. */
  getRoutingSync(query: unknown): { experts: Tensor<Int32Array>; weights: Tensor } {
    this.open();
    const binding = this.signature.bind([["query", query]]);
    return this.#holding((hold) => {
      const rows = this.#held(binding, 0, binding.lead, hold);
      const { experts, weights, topK } = this.engine.kernels.now(() => {
        if (!this.#areFinite(rows)) this.blame(binding);
        return this.#route(rows, false);
      });
      const shape = [...(binding.isVector ? binding.lead : rows.shape.slice(0, -1)), topK];
      return { experts: tensor(Int32Array.from(experts), shape), weights: tensor(weights, shape) };
    });
  }

  /** The share of all choices since resetRoutingStats that each expert was; zeros before. */
  getExpertUsageSync(): Tensor {
    this.open();
    const all = Math.max(
      this.#usage.reduce((sum, count) => sum + count, 0),
      1,
    );
    return tensor(
      Float32Array.from(this.#usage, (count) => count / all),
      [this.#usage.length],
    );
  }

  resetRoutingStatsSync(): null {
    this.open();
    this.#usage.fill(0);
    return null;
  }

  override stateDictSync(): Record<string, Tensor> {
    const state = super.stateDictSync();
    this.#experts.forEach(({ attention }, i) => {
      for (const [name, array] of Object.entries(attention.stateDictSync()))
        state[`experts.${i}.${name}`] = array;
    });
    return state;
  }

  override loadStateDictSync(state: object): null {
    const shapes = new Map(Object.entries(this.stateDictSync()).map(([name, { shape }]) => [name, shape]));
    const arrays = fitted(shapes, state as Record<string, unknown>, (missing, unknown) =>
      this.refuseState(missing, unknown),
    );
    const under = (prefix: string): Record<string, Numbers> =>
      Object.fromEntries(
        arrays
          .filter(([name]) => name.startsWith(prefix))
          .map(([name, array]) => [name.slice(prefix.length), array]),
      );
    const router = Object.fromEntries(
      Object.entries(under("router_")).map(([name, array]) => [`router_${name}`, array]),
    );
    super.loadStateDictSync(router);
    this.#experts.forEach(({ attention }, i) => {
      attention.loadStateDictSync(under(`experts.${i}.`));
    });
    return null;
  }

  // --- the experts

  #configs() {
    return expertConfigs(this.settings, this.home.mechanisms);
  }

  #makeExperts(): void {
    const made: KernelAttention[] = [];
    try {
      const experts = this.#configs().map(({ type, config }): Expert => {
        const attention = this.home.create(type, config);
        made.push(attention);
        // Raises what was wrong with its config.
        if (!(attention instanceof Moe && attention.#isWaiting)) attention.resetSync();
        const { mechanism, settings } = attention as unknown as Inside;
        const names = mechanism.inputs.filter(({ optional }) => !optional).map(({ name }) => name);
        if (names.join() !== INPUTS.join()) {
          throw new InvalidConfigError(
            `${written(mechanism, settings)} takes ${names.join(", ")}; expected query, keys and values`,
          );
        }
        return { name: type, attention, isCausal: settings.causal === true, told: TOLD[type] ?? "rows" };
      });
      this.#experts = experts;
      this.#usage = experts.map(() => 0);
      this.#refusal = undefined;
    } catch (error) {
      for (const each of made) each.free();
      throw error;
    }
  }

  /** Mixtures among the experts, which have experts of their own to wait for. */
  get #mixtures(): Moe[] {
    return this.#experts.map(({ attention }) => attention).filter((each) => each instanceof Moe);
  }

  /** Once all experts are there, and theirs. */
  async #awaited(): Promise<this> {
    this.#isWaiting = true;
    try {
      if (this.#refusal) {
        await this.home.fetch(this.#configs().map(({ type }) => type));
        super.open(); // not disposed meanwhile
        this.#makeExperts();
      }
      await Promise.all(this.#mixtures.map(({ ready }) => ready));
    } catch (error) {
      this.#refusal = error;
      throw error;
    } finally {
      this.#isWaiting = false;
    }
    return this;
  }

  // --- computing

  #mixed(
    args: readonly unknown[],
    wanted: Result,
    withLosses = false,
  ): { result: Tensor; losses: Float32Array | undefined } {
    this.open();
    const names = wanted === "output" ? INPUTS : INPUTS.slice(0, 2);
    const [inputs, options] = this.read(args, names);
    if (options.bias !== undefined)
      throw new UnsupportedError("unknown option 'bias'; expected a mask, which may be of numbers");
    this.require(inputs, names);
    const binding = this.signature.bind(inputs);
    const { lead } = binding;
    const { n_query: nQuery, n_key: nKey } = binding.sizes as { n_query: number; n_key: number };
    const seen = addends(options, { lead, nQuery, nKey });
    const areShared = binding.arrays.slice(1).every(({ shape }) => shape.length === 2);
    const { checkFinite } = options;
    const call = new MixtureCall(this.#experts, lead, nQuery, nKey, seen, checkFinite, areShared);
    const { kernels } = this.engine;
    const run = () =>
      this.#holding((hold) => {
        const query = this.#held(binding, 0, lead, hold);
        const rest = binding.arrays.slice(1).map((_, i) => this.#held(binding, i + 1, undefined, hold, seen));
        const routing = kernels.now(() => {
          if (checkFinite && !this.#areFinite(query)) this.blame(binding, seen.keyLengths);
          return this.#route(query, withLosses);
        });
        this.#count(routing);
        try {
          const columns = wanted === "weights" ? nKey : ((rest[1] as Resident).shape.at(-1) as number);
          const [data, width] = this.#computed(call, routing, query, rest, wanted, columns);
          return { data, width, losses: routing.losses };
        } catch (error) {
          if (error instanceof NumericalInstabilityError) this.blame(binding, seen.keyLengths);
          throw error;
        }
      });
    // A mixture among the experts is routed by rows that must have been computed.
    const { data, width, losses } = this.#mixtures.length > 0 ? kernels.now(run) : run();
    return { result: this.restore(data, binding, [...lead, nQuery, width]), losses };
  }

  #computed(
    call: MixtureCall,
    routing: Routing,
    query: Resident,
    rest: readonly Resident[],
    wanted: Result,
    usual: number,
  ): [Float32Array, number] {
    const [nQuery, dim] = query.shape.slice(-2) as [number, number];
    const total = sizeOf(query.shape) / dim;
    const rows: Resident = { ...query, shape: [total, dim] };
    const parts: Computed[] = [];
    let columns: number | undefined;
    for (const group of call.groups(routing)) {
      const output = this.#byExpert(group, routing.topK, query, rows, rest, wanted);
      const own = Array.from(group.choices, (choice) => Math.floor(choice / routing.topK));
      const chosen = group.isWhole ? this.#spread(group, own, nQuery, routing) : undefined;
      const weights = Float32Array.from(group.choices, (choice) => routing.weights[choice] as number);
      const width = output.shape.at(-1) as number;
      if (wanted === "output") {
        columns ??= width;
        if (width !== columns) {
          throw Object.assign(
            new DimensionMismatchError(
              `expert ${group.index} (${group.expert.name}) gives ${width} channels; expected ${columns}, as the experts before it`,
            ),
            { expected: columns, actual: width },
          );
        }
      }
      parts.push({ rows: own, weights, ...chosen, output, width });
    }
    const width = columns ?? usual;
    const out = newOutput([total, width]);
    Routes.of(this.engine).sum(parts, [total, width], out);
    return [out, width];
  }

  /** All rows of an item, those that chose another expert with a weight of 0. */
  #spread({ item, choices }: Group, own: readonly number[], nQuery: number, { weights }: Routing) {
    const first = (item as number) * nQuery;
    const all = new Float32Array(nQuery);
    own.forEach((row, i) => {
      all[row - first] = weights[choices[i] as number] as number;
    });
    return { rows: Array.from(all, (_, place) => first + place), weights: all };
  }

  #byExpert(
    { expert, index, item, choices, isWhole, seen, options }: Group,
    topK: number,
    query: Resident,
    rows: Resident,
    rest: readonly Resident[],
    wanted: Result,
  ): Tensor {
    const nQuery = query.shape.at(-2) as number;
    const lead = query.shape.slice(0, -2);
    const inputs = rest.map((array) =>
      matrixOf(array, ownItem(array.shape.slice(0, -2), lead, item ?? 0), seen),
    );
    const own = choices.map((choice) => Math.floor(choice / topK));
    const isAll = own.length === rows.shape[0];
    const gathered = isWhole || isAll ? undefined : Routes.of(this.engine).gather(rows, own);
    const given = gathered ?? (isAll ? rows : matrixOf(query, item as number, nQuery));
    try {
      const body = wanted === "output" ? "forwardSync" : "attentionWeightsSync";
      const compute = (expert.attention as unknown as Record<string, (...args: unknown[]) => Tensor>)[body];
      if (!compute) throw new UnsupportedError("it has no weights");
      return compute.call(expert.attention, given, ...inputs, options);
    } catch (error) {
      if (error instanceof AttentionError)
        error.message = `expert ${index} (${expert.name}): ${error.message}`;
      throw error;
    } finally {
      if (gathered) this.engine.kernels.free(gathered.pointer);
    }
  }

  #route(query: Resident, withLosses: boolean): Routing {
    const { dim, top_k: topK, capacity_factor, temperature } = this.settings as Record<string, number>;
    const count = this.#experts.length;
    const rows = sizeOf(query.shape) / (dim as number);
    const { weight, bias } = (this.parameters as Parameters).of("router");
    const factor = capacity_factor as number | null;
    const capacity = factor === null ? 0 : Math.ceil((factor * (topK as number) * rows) / count);
    return this.#holding((hold) => {
      const logits = hold([rows, count]);
      this.engine.project(query, weight, count, bias, count, logits);
      const routes = Routes.of(this.engine);
      const routing = routes.choose(logits, topK as number, capacity, temperature as number, withLosses);
      if (!routing.isFinite && this.#areFinite(query)) {
        throw new NumericalInstabilityError(
          "the numbers that the router compares overflow float32; expected queries of smaller magnitude",
        );
      }
      return routing;
    });
  }

  #count({ experts }: Routing): void {
    for (const expert of experts) if (expert >= 0) (this.#usage[expert] as number)++;
  }

  #areFinite(array: Resident): boolean {
    return this.engine.staging.allFinite(array.pointer, sizeOf(array.shape));
  }

  /** An input in the kernels' memory: repeated for all of `lead` where that is given; of keys that are not read zeros. */
  #held(binding: Binding, which: number, lead: Shape | undefined, hold: Hold, seen?: Seen): Resident {
    const source = binding.arrays[which] as Source;
    const { shape } = source;
    const own = shape.slice(0, -2);
    const target = lead ?? own;
    const isSame = own.join() === target.join();
    const size = sizeOf(shape.slice(-2));
    if (isResident(source) && isSame && source.step === size) return source;
    if (isResident(source) && !lead) return source;
    const { kernels } = this.engine;
    const array = hold([...target, ...shape.slice(-2)]);
    for (let item = 0; item < sizeOf(target); item++) {
      const from = ownItem(own, target, item);
      const to = array.pointer + 4 * item * size;
      if (isResident(source)) kernels.move(to, source.pointer + 4 * from * source.step, size);
      else kernels.write(to, source.data.subarray(from * size, (from + 1) * size));
    }
    if (seen?.keyLengths) this.#clearUnread(array, binding.lead, seen.keyLengths);
    return array;
  }

  #clearUnread(array: Resident, lead: Shape, lengths: NonNullable<Seen["keyLengths"]>): void {
    const own = array.shape.slice(0, -2);
    const [n, width] = array.shape.slice(-2) as [number, number];
    const longest = new Array<number>(sizeOf(own)).fill(0);
    for (let item = 0; item < sizeOf(lead); item++) {
      const at = ownItem(own, lead, item);
      const length = lengths.data[ownItem(lengths.shape, lead, item)] as number;
      longest[at] = Math.max(longest[at] as number, length);
    }
    longest.forEach((length, at) => {
      const from = array.pointer + 4 * (at * array.step + length * width);
      if (length < n) this.engine.kernels.fill(from, (n - length) * width, 0);
    });
  }

  /** What was made for this call is freed after it. */
  #holding<R>(work: (hold: Hold) => R): R {
    const held: number[] = [];
    try {
      return work((shape) => {
        const array = this.engine.staging.hold(shape);
        held.push(array.pointer);
        return array;
      });
    } finally {
      for (const pointer of held) this.engine.kernels.free(pointer);
    }
  }
}

type Seen = ReturnType<typeof addends>;

export const BODIES = { moe: Moe };
