/** A mechanism put together word by word. */
import { InvalidConfigError } from "../errors.js";
import { forwardStream, type Queries, type StreamOptions } from "../stream.js";
import type { ArrayInput, Tensor } from "../tensor.js";
import { Facade, runAsync, runSync } from "./facade.js";
import { classOf } from "./kinds.js";
import { isFlat } from "./rows.js";
import { type ClassName, type Spec, TABLE } from "./table.js";
import type { RowsInput, SeedOptions } from "./types.js";

/** What AttentionBuilder makes, by the classes that it makes them of. */
export const AttentionType = {
  ScaledDotProduct: "ScaledDotProduct",
  MultiHead: "MultiHead",
  Flash: "Flash",
  Linear: "Linear",
  LocalGlobal: "LocalGlobal",
  Hyperbolic: "Hyperbolic",
  MoE: "MoE",
  GraphRoPE: "GraphRoPE",
  DualSpace: "DualSpace",
  Cross: "Cross",
  Auto: "Auto",
} as const;
/** One of them; names with hyphens, "scaled-dot-product", say the same. */
export type AttentionType =
  | (typeof AttentionType)[keyof typeof AttentionType]
  | "scaled-dot-product"
  | "multi-head"
  | "flash"
  | "linear"
  | "local-global"
  | "hyperbolic"
  | "moe"
  | "graph-rope"
  | "dual-space"
  | "cross"
  | "auto";

/** What AttentionBuilder collects. */
export interface AttentionConfig {
  /** Which kind of attention. */
  type: AttentionType;
  /** Channels of queries and keys. */
  hiddenDim: number;
  /** Share of weights dropped when training; some kinds have none. */
  dropout?: number;
  /** Heads, where the kind has them. */
  numHeads?: number;
  /** Keys that a call attends to at most, the first ones; all where it is left out. */
  neighbors?: number;
  /** Of hyperbolic space, with either sign. */
  curvature?: number;
  /** Any other setting of the mechanism. */
  [setting: string]: unknown;
}

/** Any kind of attention, as AttentionBuilder makes it. */
export class Attention {
  readonly #facade: Facade;
  readonly #neighbors: number | undefined;
  /** What it was made of. */
  readonly config: Readonly<AttentionConfig>;

  constructor(config: AttentionConfig) {
    const { type, hiddenDim, neighbors, ...settings } = config;
    const isAuto = String(type).toLowerCase() === "auto";
    const name = isAuto ? "AutoAttention" : classOf(type);
    const isKnown = isAuto || (name && Object.hasOwn(AttentionType, name.replace(/Attention$/, "")));
    if (!name || !isKnown) {
      const known = Object.keys(AttentionType).join(", ");
      throw new InvalidConfigError(`type is ${String(type ?? "missing")}; expected one of ${known}`);
    }
    if (hiddenDim === undefined) throw new InvalidConfigError("hiddenDim is missing; expected the channels");
    if (settings.dropout === 0) delete settings.dropout; // what every mechanism has, those too that cannot drop
    const auto: Spec = { mechanism: "auto", args: ["dim"] };
    const spec: Spec = isAuto ? auto : TABLE[name as ClassName];
    this.#facade = new Facade(name, spec, [{ dim: hiddenDim, ...settings }]);
    this.#neighbors = neighbors;
    this.config = config;
  }

  /** The output of a query, (dim_value,), or of a matrix of them; at once, where the runtime is in this thread. */
  forward(query: RowsInput, keys: RowsInput, values: RowsInput, options: SeedOptions = {}): Tensor {
    const steps = this.#facade.forward(query, keys, values, this.#completed(options));
    return runSync("Attention", "forward", steps) as Tensor;
  }

  /** The same by a promise, in every runtime. */
  async forwardAsync(
    query: RowsInput,
    keys: RowsInput,
    values: RowsInput,
    options: SeedOptions = {},
  ): Promise<Tensor> {
    return (await runAsync(this.#facade.forward(query, keys, values, this.#completed(options)))) as Tensor;
  }

  /** The outputs of queries as they come. */
  forwardStream(
    queries: Queries,
    keys: RowsInput,
    values: RowsInput,
    options: StreamOptions & SeedOptions = {},
  ): AsyncGenerator<Tensor, void, undefined> {
    const source = {
      keep: async () => ({ dispose: async () => {} }),
      isMemory: () => false,
      forward: (query: unknown, _: object, call: object) =>
        this.forwardAsync(query as ArrayInput, keys, values, call as SeedOptions),
    };
    return forwardStream(source, isFlat(queries) ? [queries] : queries, keys, values, options);
  }

  /** Frees what it holds in the runtime; further calls fail. */
  free(): void {
    void this.#facade.dispose();
  }

  [Symbol.dispose](): void {
    this.free();
  }

  #completed(options: SeedOptions): SeedOptions {
    return this.#neighbors === undefined ? options : { neighbors: this.#neighbors, ...options };
  }
}

/** Collects settings and builds an Attention from them; each step returns the builder. */
export class AttentionBuilder {
  readonly #config: Partial<AttentionConfig> = {};

  /** Which kind of attention, and settings of its own. */
  type(type: AttentionType, settings: Omit<Partial<AttentionConfig>, "type"> = {}): this {
    Object.assign(this.#config, settings, { type });
    return this;
  }

  /** Channels of queries and keys. */
  hiddenDim(hiddenDim: number): this {
    this.#config.hiddenDim = hiddenDim;
    return this;
  }

  /** Share of weights dropped when training. */
  dropout(dropout: number): this {
    this.#config.dropout = dropout;
    return this;
  }

  /** The attention; raises InvalidConfigError where the type, hiddenDim or a setting is missing or out of its range. */
  build(): Attention {
    return new Attention({ ...this.#config } as AttentionConfig);
  }
}
