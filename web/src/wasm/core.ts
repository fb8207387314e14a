/** What wasm.js exports: index.ts, and what the files beside it (PIECES in build.mjs) have from it. */
export { decode, encode } from "../tensor.js";
export { addends, ofHead, steps, UNLIMITED } from "./addends.js";
export { isOptions, KernelAttention, newOutput, TOP_K } from "./attention.js";
export { Bank } from "./bank.js";
export { isResidentOutput, QUERY_BLOCK, SHARED, VALUES } from "./engine.js";
export * from "./index.js";
export { ModuleKernels, NON_FINITE } from "./kernels.js";
export { VERSION } from "./mechanisms.gen.js";
export { chooseBackend, compile } from "./module.js";
export { given, isResident, numbers, refuse, sizeOf, written } from "./numbers.js";
export { shown } from "./settings.js";
export { broadcast, mismatch } from "./signature.js";
