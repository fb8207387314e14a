/** Mechanisms that keep something between calls: learned arrays, and what a Memory's rows are for them. */
import type { Tensor } from "../tensor.js";
import { KernelAttention } from "./attention.js";
import type { Bank } from "./bank.js";
import type { Parameters } from "./parameters.js";

export abstract class Lasting extends KernelAttention {
  /** None where the settings leave nothing to learn. */
  protected parameters: Parameters | undefined;

  /** Makes of a memory's rows what calls read, which the memory keeps. */
  protected ofMemory?(memory: Bank): unknown;

  override stateDictSync(): Record<string, Tensor> {
    this.open();
    return this.parameters?.state() ?? {};
  }

  override loadStateDictSync(state: object): null {
    this.open();
    if (!this.parameters) return super.loadStateDictSync(state);
    this.parameters.load(state as Record<string, unknown>, (missing, unknown) =>
      this.refuseState(missing, unknown),
    );
    return null;
  }

  override keep(memory: Bank): void {
    super.keep(memory);
    if (!this.ofMemory) return;
    memory.check();
    this.signature.bind([
      ["keys", memory.keys],
      ["values", memory.values],
    ]);
    this.ofMemory(memory);
  }
}
