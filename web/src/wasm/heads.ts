/** MultiHeadAttention, SelfAttention and CrossAttention: maps into the heads, the engine over all of them, a map out. */
import type { Rules } from "../description.js";
import { InvalidConfigError, OutOfBoundsError, UnsupportedError } from "../errors.js";
import type { Tensor } from "../tensor.js";
import { ofHead, type ScoreOptions } from "./addends.js";
import { type Home, newOutput } from "./attention.js";
import { Bank } from "./bank.js";
import type { Scoring } from "./engine.js";
import { Lasting } from "./lasting.js";
import type { Resident, Source } from "./numbers.js";
import { Parameters, xavier } from "./parameters.js";
import { type Settings, shown } from "./settings.js";
import type { Binding } from "./signature.js";
import type { Operand } from "./staging.js";

export { RULES } from "./rules/heads.gen.js";

const INPUTS = ["query", "keys", "values"];

interface Sizes {
  readonly dim: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly width: number;
  /** Channels of keys and values where the heads read them, and as they come in. */
  readonly kvChannels: number;
  readonly keyChannels: number;
  readonly valueChannels: number;
}

let made = 0;

export class Headed extends Lasting {
  readonly #sizes: Sizes;
  /** Tells the maps of this object from another's, for what a Memory keeps. */
  readonly #id = made++;

  constructor(home: Home, mechanism: Rules, config: object) {
    super(home, mechanism, config);
    const { settings } = this;
    this.#sizes = sizesOf(mechanism, settings);
    if (settings.projections !== true) return;
    const { dim, keyChannels, valueChannels, kvChannels } = this.#sizes;
    const map = (name: string, fanIn: number, fanOut: number) => [
      xavier(`${name}_weight`, fanIn, fanOut),
      ...(settings.bias ? [{ name: `${name}_bias`, shape: [fanOut] }] : []),
    ];
    const learned = [
      ...map("query", dim, dim),
      ...map("keys", keyChannels, kvChannels),
      ...map("values", valueChannels, kvChannels),
      ...map("output", dim, dim),
    ];
    this.parameters = new Parameters(home, learned, settings.seed as number);
    home.own(this, this.parameters.release);
  }

  protected override checkSettings(settings: Settings): void {
    const { dim, num_heads: heads, num_kv_heads: kvHeads } = settings as Record<string, number>;
    const sizes = sizesOf(this.mechanism, settings);
    if ((dim as number) % (heads as number) !== 0) {
      throw new InvalidConfigError(`dim is ${dim}; expected a multiple of num_heads = ${heads}`);
    }
    if ((heads as number) % sizes.kvHeads !== 0) {
      throw new InvalidConfigError(`num_kv_heads is ${kvHeads}; expected a divisor of num_heads = ${heads}`);
    }
    if (this.mechanism.inputs.length === 1 && sizes.keyChannels !== dim) {
      throw new InvalidConfigError(
        `num_kv_heads is ${kvHeads}; without projections expected num_heads = ${heads}`,
      );
    }
    for (const name of ["kdim", "vdim"]) {
      const size = settings[name] ?? null;
      if (settings.projections !== true && size !== null && size !== sizes.kvChannels) {
        throw new InvalidConfigError(
          `${name} is ${size}; without projections expected ${sizes.kvChannels}, num_kv_heads * dim / num_heads`,
        );
      }
    }
  }

  protected fixedAxes(settings: Settings): Record<string, number> {
    const { dim, keyChannels, valueChannels } = sizesOf(this.mechanism, settings);
    return { dim, kdim: keyChannels, vdim: valueChannels };
  }

  forwardSync(...args: unknown[]): Tensor {
    const [binding, options] = this.#bind(args, INPUTS);
    const { dim } = this.#sizes;
    const scoring = this.#scoring(binding, options);
    const nQuery = binding.sizes.n_query as number;
    const shape = [...binding.lead, nQuery, dim];
    const out = newOutput(shape);
    this.#withOperands(binding, args, scoring, (query, keys, values, hold) => {
      const output = this.parameters?.of("output");
      const attended = output ? hold(shape) : out;
      if (!this.engine.attend(query, keys, values as Operand, binding.lead, scoring, attended))
        this.blame(binding, scoring.keyLengths);
      if (output) this.engine.project(attended as Resident, output.weight, dim, output.bias, dim, out);
    });
    return this.restore(out, binding, shape);
  }

  attentionWeightsSync(...args: unknown[]): Tensor {
    const [binding, options] = this.#bind(args, INPUTS.slice(0, 2));
    const scoring = this.#scoring(binding, options);
    const { n_query: nQuery, n_key: nKey } = binding.sizes as { n_query: number; n_key: number };
    const shape = [...binding.lead, this.#sizes.heads, nQuery, nKey];
    const out = newOutput(shape);
    this.#withOperands(binding, args, scoring, (query, keys) => {
      if (!this.engine.weigh(query, keys, binding.lead, scoring, out))
        this.blame(binding, scoring.keyLengths);
    });
    return this.restore(out, binding, shape);
  }

  headAttentionWeightsSync(...args: unknown[]): Tensor {
    return this.attentionWeightsSync(...args);
  }

  /** The output of one head before the map out; only that head is computed. */
  headOutputSync(head: unknown, ...args: unknown[]): Tensor {
    this.open();
    const { heads, kvHeads, width } = this.#sizes;
    if (!Number.isInteger(head)) throw new UnsupportedError(`head is ${shown(head)}; expected an integer`);
    const index = head as number;
    if (index < 0 || index >= heads)
      throw new OutOfBoundsError(`head is ${head}; expected 0 to ${heads - 1}`);
    const [binding, options] = this.#bind(args, INPUTS);
    const all = this.#scoring(binding, options);
    const scoring: Scoring = {
      ...all,
      heads: 1,
      kvHeads: 1,
      ...only({ mask: ofHead(all.mask, index), bias: ofHead(all.bias, index) }),
    };
    const shape = [...binding.lead, binding.sizes.n_query as number, width];
    const out = newOutput(shape);
    const shared = Math.floor((index * kvHeads) / heads);
    const channels = { query: index * width, keys: shared * width, values: shared * width };
    this.#withOperands(
      binding,
      [],
      scoring,
      (query, keys, values) => {
        if (!this.engine.attend(query, keys, values as Operand, binding.lead, scoring, out))
          this.blame(binding, scoring.keyLengths);
      },
      channels,
    );
    return this.restore(out, binding, shape);
  }

  #scoring(binding: Binding, options: ScoreOptions): Scoring {
    const { heads, kvHeads, width } = this.#sizes;
    return { ...this.scoring(binding, options, width, heads), heads, kvHeads };
  }

  /** The inputs in the places of query, keys and values: a sequence in all three, keys as values where those may lack. */
  #bind(args: readonly unknown[], wanted: readonly string[]): [Binding, ScoreOptions] {
    this.open();
    const { inputs } = this.mechanism;
    if (inputs.length === 1) {
      const [given, options] = this.read(args, ["query"]);
      this.require(given, ["query"]);
      const binding = this.signature.bind(given);
      const times = <T>(list: readonly T[]): T[] => wanted.map(() => list[0] as T);
      const sizes = { ...binding.sizes, n_query: binding.sizes.n_key as number };
      return [
        {
          ...binding,
          names: times(binding.names),
          arrays: times(binding.arrays),
          shapes: times(binding.shapes),
          sizes,
        },
        options,
      ];
    }
    const [given, options] = this.read(args, wanted);
    const values =
      wanted.length === 3 &&
      inputs[2]?.optional &&
      !given.some(([name, value]) => name === "values" && value !== null);
    const named = values ? given.filter(([name]) => name !== "values") : given;
    if (values) {
      const { keyChannels, valueChannels } = this.#sizes;
      if (keyChannels !== valueChannels) {
        throw new UnsupportedError(
          `values is missing; expected values of ${valueChannels} channels, for keys of ${keyChannels} cannot stand in for them`,
        );
      }
      const keys = named.find(([name]) => name === "keys");
      if (keys) named.push(["values", keys[1]]);
    }
    this.require(named, wanted);
    return [this.signature.bind(named), options];
  }

  /** Query, keys and values as the heads read them; what was made for this call is freed after it. */
  #withOperands(
    binding: Binding,
    args: readonly unknown[],
    scoring: Scoring,
    work: (
      query: Operand,
      keys: Operand,
      values: Operand | undefined,
      hold: (shape: readonly number[]) => Resident,
    ) => void,
    channels?: Readonly<Record<string, number>>,
  ): void {
    const { width } = this.#sizes;
    const held: number[] = [];
    const hold = (shape: readonly number[]): Resident => {
      const array = this.engine.staging.hold(shape);
      held.push(array.pointer);
      return array;
    };
    try {
      const memory = args[1] instanceof Bank ? args[1] : undefined;
      const bank = memory && this.ofMemory(memory, scoring.normalize);
      const [query, keys, values] = INPUTS.slice(0, binding.arrays.length).map((name, i): Operand => {
        const source = binding.arrays[i] as Source;
        if (i > 0 && bank) return { source: bank[i - 1] as Source, width, isUnit: scoring.normalize };
        const at = channels?.[name] ?? 0;
        return this.parameters
          ? { source: this.#mapped(name, source, hold, channels?.[name]), width }
          : { source, width, at };
      });
      work(query as Operand, keys as Operand, values, hold);
    } finally {
      for (const pointer of held) this.engine.kernels.free(pointer);
    }
  }

  /** An array through one of the maps: all of its output channels, or those of one head. */
  #mapped(
    name: string,
    source: Source,
    hold: (shape: readonly number[]) => Resident,
    channel?: number,
  ): Resident {
    const { weight, bias, fanOut } = (this.parameters as Parameters).of(name);
    const n = channel === undefined ? fanOut : this.#sizes.width;
    const from = 4 * (channel ?? 0);
    const out = hold([...source.shape.slice(0, -1), n]);
    this.engine.project(source, weight + from, fanOut, bias === 0 ? 0 : bias + from, n, out);
    return out;
  }

  /** A memory's keys and values as the heads read them, which it keeps. */
  protected override ofMemory(
    memory: Bank,
    normalize = this.settings.normalize as boolean,
  ): readonly Resident[] {
    const { width } = this.#sizes;
    const parameters = this.parameters;
    if (!parameters)
      return normalize ? [memory.unitKeys(width), memory.values] : [memory.keys, memory.values];
    return memory.derive(`heads ${this.#id} ${parameters.version} ${normalize}`, () => {
      const hold = (shape: readonly number[]): Resident => this.engine.staging.hold(shape);
      const keys = this.#mapped("keys", memory.keys, hold);
      const values = this.#mapped("values", memory.values, hold);
      if (!normalize) return [keys, values];
      const unit = this.engine.staging.unitRows(keys, width);
      this.engine.kernels.free(keys.pointer);
      return [unit, values];
    });
  }
}

export const BODIES = { multi_head: Headed, self_attention: Headed, cross_attention: Headed };

function sizesOf({ inputs }: Rules, settings: Settings): Sizes {
  const {
    dim = 0,
    num_heads: heads = 1,
    num_kv_heads,
    kdim,
    vdim,
  } = settings as Record<string, number | null>;
  const kvHeads = num_kv_heads ?? (heads as number);
  const width = (dim as number) / (heads as number);
  const kvChannels = kvHeads * width;
  const usual = settings.projections === true ? (dim as number) : kvChannels;
  const keyChannels = kdim ?? usual;
  const isCross = inputs[2]?.optional === true;
  return {
    dim: dim as number,
    heads: heads as number,
    kvHeads,
    width,
    kvChannels,
    keyChannels,
    valueChannels: vdim ?? (isCross ? keyChannels : usual),
  };
}

/** Without the keys whose values are undefined. */
function only<T extends object>(given: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
