/** MoEAttention: a router sends each query to some of several mechanisms, whose outputs are summed. */
import type { Rules } from "../description.js";
import { InvalidConfigError, LoadError, NumericalInstabilityError, UnsupportedError } from "../errors.js";
import { type Tensor, tensor } from "../tensor.js";
import { addends } from "./addends.js";
import { type Home, type KernelAttention, TOP_K } from "./attention.js";
import { expertConfigs } from "./experts.js";
import { Lasting } from "./lasting.js";
import { clearUnread, type Hold, held, summed, type Wanted } from "./mixture_arrays.js";
import { type Expert, MixtureCall } from "./mixture_call.js";
import { type Numbers, type Resident, type Source, sizeOf } from "./numbers.js";
import { fitted, Parameters, xavier } from "./parameters.js";
import { Routes, type Routing } from "./routes.js";
import type { Settings } from "./settings.js";

export { RULES } from "./rules/moe.gen.js";

const INPUTS = ["query", "keys", "values"];
/** How experts are told what single queries see; by a mask with a row for each where nothing else is said. */
const TOLD: Readonly<Record<string, Expert["told"]>> = {
  linear: "sums",
  local_global: "places",
  temporal: "times",
};

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
    return this.#mixed(args, "forwardSync").result;
  }

  /** The weights of the experts, summed as their outputs are; of heads, their mean. */
  attentionWeightsSync(...args: unknown[]): Tensor {
    return this.#mixed(args, "attentionWeightsSync").result;
  }

  /** forward, and the losses that keep a router even and its numbers small. */
  computeWithAuxLossSync(...args: unknown[]): { output: Tensor; aux_loss: number; z_loss: number } {
    const { result, losses } = this.#mixed(args, "forwardSync", true);
    const [aux_loss, z_loss] = losses as unknown as [number, number];
    return { output: result, aux_loss, z_loss };
  }

  /** The experts that queries go to, best first, -1 where none had room, and their weights. */
  getRoutingSync(query: unknown): { experts: Tensor<Int32Array>; weights: Tensor } {
    this.open();
    const binding = this.signature.bind([["query", query]]);
    return this.#holding((hold) => {
      const rows = held(this.engine, binding.arrays[0] as Source, binding.lead, hold);
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
    const router = Object.fromEntries(arrays.filter(([name]) => this.parameters?.has(name)));
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
      const experts = this.#configs().map(({ type, config }, index): Expert => {
        const attention = this.home.create(type, config);
        made.push(attention);
        // Raises what was wrong with its config.
        if (!(attention instanceof Moe && attention.#isWaiting)) attention.resetSync();
        const { mechanism, settings } = attention as unknown as Inside;
        const names = mechanism.inputs.filter(({ optional }) => !optional).map(({ name }) => name);
        if (names.join() !== INPUTS.join()) {
          throw new InvalidConfigError(
            `expert ${index}, ${mechanism.class}, takes ${names.join(", ")}; expected query, keys and values`,
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
        const configs = this.#configs();
        const some = configs.some(({ type, config }) => type !== "moe" && (config.topK ?? config[TOP_K]));
        await this.home.fetch([...configs.map(({ type }) => type), ...(some ? [TOP_K] : [])]);
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
    wanted: Wanted,
    withLosses = false,
  ): { result: Tensor; losses: Float32Array | undefined } {
    this.open();
    const names = wanted === "forwardSync" ? INPUTS : INPUTS.slice(0, 2);
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
    const { engine } = this;
    const run = () =>
      this.#holding((hold) => {
        const [query, ...rest] = binding.arrays.map((source, i) => {
          const array = held(engine, source, i === 0 ? lead : undefined, hold);
          if (i > 0 && seen.keyLengths && array !== source) clearUnread(engine, array, lead, seen.keyLengths);
          return array;
        }) as [Resident, ...Resident[]];
        const routing = engine.kernels.now(() => {
          if (checkFinite && !this.#areFinite(query)) this.blame(binding, seen.keyLengths);
          return this.#route(query, withLosses);
        });
        this.#count(routing);
        try {
          const usual = wanted === "forwardSync" ? (binding.sizes.dim_value as number) : nKey;
          const [data, width] = summed(engine, call, routing, query, rest, wanted, usual);
          return { data, width, losses: routing.losses };
        } catch (error) {
          if (error instanceof NumericalInstabilityError) this.blame(binding, seen.keyLengths);
          throw error;
        }
      });
    // A mixture among the experts is routed by rows that must have been computed.
    const { data, width, losses } = this.#mixtures.length > 0 ? engine.kernels.now(run) : run();
    return { result: this.restore(data, binding, [...lead, nQuery, width]), losses };
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

export const BODIES = { moe: Moe };
