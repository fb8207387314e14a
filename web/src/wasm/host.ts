/** Hosts the kernels in a worker, behind the four verbs that the host of Pyodide answers too. */
import { LoadError, OutOfBoundsError, UnsupportedError } from "../errors.js";
import { camel, mapKeys } from "../naming.js";
import type { Answer, Host, Progress, TypedArray, Verb, Verbs, Wire } from "../protocol.js";
import { isWireArray } from "../protocol.js";
import { toWire } from "../wire_errors.js";
import { KernelAttention } from "./attention.js";
import { DESCRIPTION } from "./description.gen.js";
import { ModuleKernels } from "./kernels.js";
import type { Memory } from "./memory.js";
import { instantiate } from "./module.js";
import { KernelRuntime } from "./runtime.js";

/** What the host starts from. */
export interface KernelAssets {
  /** The module, or where it lies. */
  readonly module: string | WebAssembly.Module;
}

export class KernelHost implements Host {
  #runtime: KernelRuntime | undefined;
  #next = 1;
  readonly #objects = new Map<number, KernelAttention | Memory>();

  async start(assets: KernelAssets, progress: (p: Progress) => void): Promise<Answer> {
    progress({ stage: "Loading the attention kernels", fraction: 0.1 });
    this.#runtime = new KernelRuntime(new ModuleKernels(await instantiate(assets.module)));
    await this.#runtime.preload("all");
    progress({ stage: "Ready", fraction: 1 });
    return this.request("describe", {});
  }

  request<V extends Verb>(verb: V, args: Verbs[V]): Answer {
    try {
      if (!this.#runtime) throw new LoadError("the runtime has not started");
      return { value: this[verb](this.#runtime, args as never) };
    } catch (error) {
      return { error: toWire(error) };
    }
  }

  private describe(runtime: KernelRuntime, _: Verbs["describe"]): Wire {
    return { ...DESCRIPTION, backend: runtime.backend, handles: this.#objects.size } as unknown as Wire;
  }

  private create(runtime: KernelRuntime, { name, config }: Verbs["create"]): Wire {
    const settings = (config ?? {}) as Record<string, Wire>;
    if (name === "ruvector_attention:Memory") {
      const { keys, values, ...options } = settings;
      const memory = runtime.memorySync(keys, values, options);
      const { length: rows, dim, dimValue } = memory;
      return { handle: this.#keep(memory), class: "Memory", config: { rows, dim, dim_value: dimValue } };
    }
    const attention = runtime.createSync(name, settings);
    attention.resetSync(); // raises what was wrong with the config
    const accepted = attention.getConfigSync() as { [key: string]: Wire };
    return { handle: this.#keep(attention), class: attention.constructor.name, config: accepted };
  }

  private call(_: KernelRuntime, { handle, method, args, kwargs }: Verbs["call"]): Wire {
    const found = this.#objects.get(handle);
    if (!found) throw new OutOfBoundsError(`handle ${handle} is not alive; expected one that create() gave`);
    const positional = args.map((value) => this.#received(value));
    if (Object.keys(kwargs).length > 0) {
      // A state is an argument whose keys are names of parameters, not of options.
      const isState = method === "load_state_dict";
      positional.push(isState ? kwargs : mapKeys(this.#received(kwargs) as object, camel));
    }
    if (found instanceof KernelAttention) return sent(found.callSync(method, ...positional));
    const body = (found as unknown as Record<string, unknown>)[`${camel(method)}Sync`];
    if (typeof body !== "function") throw new UnsupportedError(`Memory has no method '${method}'`);
    return sent(body.apply(found, positional));
  }

  private release(_: KernelRuntime, { handle }: Verbs["release"]): Wire {
    const found = this.#objects.get(handle);
    found?.free();
    return this.#objects.delete(handle);
  }

  #keep(object: KernelAttention | Memory): number {
    const handle = this.#next++;
    this.#objects.set(handle, object);
    return handle;
  }

  /** An argument, with the objects that its handles stand for. */
  #received(value: Wire): unknown {
    if (typeof value !== "object" || value === null || isWireArray(value)) return value;
    if (Array.isArray(value)) return value.map((item) => this.#received(item));
    if ("$handle" in value) {
      const found = this.#objects.get(value.$handle as number);
      if (!found)
        throw new OutOfBoundsError(`handle ${value.$handle} is not alive; expected one that create() gave`);
      return found;
    }
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.#received(item)]));
  }
}

/** A result as plain data. */
function sent(value: unknown): Wire {
  if (ArrayBuffer.isView(value)) {
    const array = value as TypedArray & { shape?: readonly number[] };
    const dtype = array.constructor.name.replace("Array", "").toLowerCase();
    return { $array: array, shape: [...(array.shape ?? [array.length])], dtype };
  }
  if (Array.isArray(value)) return value.map(sent);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, sent(item)]));
  }
  return value as Wire;
}
