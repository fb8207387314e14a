/** ScaledDotProductAttention and FlashAttention: the engine's call itself; LocalGlobalAttention: that in a window. */
import type { Tensor } from "../tensor.js";
import { KernelAttention, newOutput } from "./attention.js";
import { Bank } from "./bank.js";
import { attendPlain } from "./everyday.js";
import type { Settings } from "./settings.js";
import type { Binding } from "./signature.js";
import type { Operand } from "./staging.js";

export { RULES } from "./rules/plain.gen.js";

const INPUTS = ["query", "keys", "values"];

export class ScaledDotProduct extends KernelAttention {
  /** Kept, for a power takes long beside the rest of an everyday call. */
  readonly #scale = this.scale(this.settings.dim as number);

  protected fixedAxes({ dim }: Settings): Record<string, number> {
    return { dim: dim as number };
  }

  forwardSync(...args: unknown[]): Tensor {
    this.open();
    const everyday = attendPlain(this.engine, args, this.settings, this.#scale);
    if (everyday) return everyday;
    const [inputs, options] = this.read(args, INPUTS);
    this.require(inputs, INPUTS);
    const binding = this.signature.bind(inputs);
    const [query, keys, values] = this.#operands(binding, args[1]);
    const scoring = this.scoring(binding, options, query.width);
    const shape = [...binding.lead, binding.sizes.n_query as number, values.width];
    const out = newOutput(shape);
    if (!this.engine.attend(query, keys, values, binding.lead, scoring, out))
      this.blame(binding, scoring.keyLengths);
    return this.restore(out, binding, shape);
  }

  attentionWeightsSync(...args: unknown[]): Tensor {
    this.open();
    const [inputs, options] = this.read(args, INPUTS.slice(0, 2));
    this.require(inputs, INPUTS.slice(0, 2));
    const binding = this.signature.bind(inputs);
    const [query, keys] = this.#operands(binding, args[1]);
    const scoring = this.scoring(binding, options, query.width);
    const { n_query: nQuery, n_key: nKey } = binding.sizes as { n_query: number; n_key: number };
    const shape = [...binding.lead, nQuery, nKey];
    const out = newOutput(shape);
    if (!this.engine.weigh(query, keys, binding.lead, scoring, out)) this.blame(binding, scoring.keyLengths);
    return this.restore(out, binding, shape);
  }

  #operands({ arrays, sizes }: Binding, memory: unknown): [Operand, Operand, Operand] {
    const width = sizes.dim as number;
    const [query, keys, values] = arrays as [
      Operand["source"],
      Operand["source"],
      Operand["source"] | undefined,
    ];
    const unit = memory instanceof Bank && this.settings.normalize === true;
    return [
      { source: query, width },
      unit ? { source: memory.unitKeys(width), width, isUnit: true } : { source: keys, width },
      { source: values ?? keys, width: sizes.dim_value ?? width },
    ];
  }
}

export const BODIES = {
  scaled_dot_product: ScaledDotProduct,
  flash: ScaledDotProduct,
  local_global: ScaledDotProduct, // inside of a window, which is a setting
};
