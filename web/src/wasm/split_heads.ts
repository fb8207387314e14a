/** What GraphRoPEAttention and TemporalAttention share: channels as they come, in groups that attend apart. */
import { InvalidConfigError } from "../errors.js";
import type { Tensor } from "../tensor.js";
import type { ScoreOptions } from "./addends.js";
import { isOptions, newOutput } from "./attention.js";
import type { Scoring } from "./engine.js";
import { Lasting } from "./lasting.js";
import type { Shape, Source } from "./numbers.js";
import type { Settings } from "./settings.js";
import { type Binding, mismatch } from "./signature.js";

export const INPUTS = ["query", "keys", "values"];

/** A call's arrays and options, checked as far as all have them. */
export interface Call {
  readonly binding: Binding;
  readonly options: ScoreOptions;
  /** The options that only this mechanism has. */
  readonly own: Readonly<Record<string, unknown>>;
}

export abstract class SplitHeads extends Lasting {
  protected override checkSettings({ dim, num_heads: heads }: Settings): void {
    if ((dim as number) % (heads as number) !== 0)
      throw new InvalidConfigError(`dim is ${dim}; expected a multiple of num_heads = ${heads}`);
  }

  protected fixedAxes({ dim }: Settings): Record<string, number> {
    return { dim: dim as number };
  }

  /** The outputs of a call, or with `out` of weights these: false where a number that is not finite was met. */
  protected abstract attend(call: Call, out: Float32Array, isWeights: boolean): boolean;

  forwardSync(...args: unknown[]): Tensor {
    const call = this.#bind(args, INPUTS);
    const { lead, sizes, arrays } = call.binding;
    const shape = [...lead, sizes.n_query as number, (arrays[2] as Source).shape.at(-1) as number];
    return this.#computed(call, shape, false);
  }

  attentionWeightsSync(...args: unknown[]): Tensor {
    const call = this.#bind(args, INPUTS.slice(0, 2));
    const { lead, sizes } = call.binding;
    const heads = this.heads > 1 ? [this.heads] : [];
    return this.#computed(call, [...lead, ...heads, sizes.n_query as number, sizes.n_key as number], true);
  }

  #computed(call: Call, shape: Shape, isWeights: boolean): Tensor {
    const out = newOutput(shape);
    if (!this.attend(call, out, isWeights)) this.blame(call.binding, this.scored(call).keyLengths);
    return this.restore(out, call.binding, shape);
  }

  protected get heads(): number {
    return this.settings.num_heads as number;
  }

  /** Channels of a head. */
  protected get width(): number {
    return (this.settings.dim as number) / this.heads;
  }

  /** How the scores of all heads are made. */
  protected scored({ binding, options }: Call): Scoring {
    const { heads, width } = this;
    const scoring = this.scoring(binding, options, width, heads > 1 ? heads : undefined);
    return { ...scoring, heads, kvHeads: heads };
  }

  #bind(args: readonly unknown[], names: readonly string[]): Call {
    this.open();
    const [inputs, options] = this.read(args, names);
    this.require(inputs, names);
    const binding = this.signature.bind(inputs);
    const { heads } = this;
    const width = binding.sizes.dim_value ?? heads;
    if (width % heads !== 0) {
      const message = `values have ${width} channels; expected a multiple of num_heads = ${heads}`;
      throw mismatch(message, undefined, width);
    }
    const last = args.at(-1);
    return { binding, options, own: isOptions(last) ? last : {} };
  }
}
