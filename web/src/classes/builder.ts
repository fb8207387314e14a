/** A mechanism put together word by word. */
import { InvalidConfigError } from "../errors.js";
import { forwardStream, type Queries, type StreamOptions } from "../stream.js";
import type { ArrayInput, Tensor } from "../tensor.js";
import { Facade, runAsync, runSync } from "./facade.js";
import { isFlat } from "./rows.js";
import { type Spec, TABLE } from "./table.js";
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
export type AttentionType = (typeof AttentionType)[keyof typeof AttentionType];

export interface AttentionConfig {
  type: AttentionType;
  hiddenDim: number;
  dropout?: number;
  numHeads?: number;
  /** Keys that a call attends to, the first ones; all where it is left out. */
  neighbors?: number;
  curvature?: number;
  [setting: string]: unknown;
}

/** Any kind of attention, as AttentionBuilder makes it. */
export class Attention {
  readonly #facade: Facade;
  readonly #neighbors: number | undefined;
  readonly config: Readonly<AttentionConfig>;

  constructor(config: AttentionConfig) {
    const { type, hiddenDim, neighbors, ...settings } = config;
    if (!Object.hasOwn(AttentionType, type ?? "")) {
      const known = Object.keys(AttentionType).join(", ");
      throw new InvalidConfigError(`type is ${type ?? "missing"}; expected one of ${known}`);
    }
    if (hiddenDim === undefined) throw new InvalidConfigError("hiddenDim is missing; expected the channels");
    const auto: Spec = { mechanism: "auto", args: ["dim"] };
    const spec = type === "Auto" ? auto : (TABLE[`${type}Attention`] as Spec);
    this.#facade = new Facade(`${type}Attention`, spec, [{ dim: hiddenDim, ...settings }]);
    this.#neighbors = neighbors;
    this.config = config;
  }

  forward(query: RowsInput, keys: RowsInput, values: RowsInput, options: SeedOptions = {}): Tensor {
    const steps = this.#facade.forward(query, keys, values, this.#completed(options));
    return runSync("Attention", "forward", steps) as Tensor;
  }

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

export class AttentionBuilder {
  readonly #config: Partial<AttentionConfig> = {};

  type(type: AttentionType, settings: Omit<Partial<AttentionConfig>, "type"> = {}): this {
    Object.assign(this.#config, settings, { type });
    return this;
  }

  hiddenDim(hiddenDim: number): this {
    this.#config.hiddenDim = hiddenDim;
    return this;
  }

  dropout(dropout: number): this {
    this.#config.dropout = dropout;
    return this;
  }

  build(): Attention {
    return new Attention({ ...this.#config } as AttentionConfig);
  }
}
