/** The classes themselves: a constructor, getters and methods for every line of the table. */
import { snake } from "../naming.js";
import { Facade, named, runAsync, runSync, type Steps } from "./facade.js";
import { type ClassName, type Spec, TABLE } from "./table.js";
import type { Classes } from "./types.js";

const PAIRS = ["forward", "forwardBatch", "compute", "computeBatch", "computeWithMask"] as const;

export const CLASSES = Object.fromEntries(
  Object.entries(TABLE).map(([name, spec]) => [name, makeClass(name, spec)]),
) as unknown as Classes & Readonly<Record<ClassName, unknown>>;

/** A class that is made of objects of another, its facades, and has what both kinds of classes have. */
export function declare<F extends { dispose(): Promise<void> }>(name: string, open: (args: unknown[]) => F) {
  const facades = new WeakMap<object, F>();
  const of = (object: object): F => facades.get(object) as F;
  const Class = class {
    constructor(...args: unknown[]) {
      facades.set(this, open(args));
    }
    free(): void {
      void of(this).dispose();
    }
    dispose(): Promise<void> {
      return of(this).dispose();
    }
    [Symbol.dispose](): void {
      this.free();
    }
    [Symbol.asyncDispose](): Promise<void> {
      return this.dispose();
    }
  };
  Object.defineProperty(Class, "name", { value: name });
  /** With the name that ruvector-attention-wasm writes, num_heads. */
  const getter = (
    key: string,
    get: (facade: F) => unknown,
    set?: (facade: F, value: never) => void,
  ): void => {
    for (const each of new Set([key, snake(key)])) {
      Object.defineProperty(Class.prototype, each, {
        get(this: object) {
          return get(of(this));
        },
        ...(set && {
          set(this: object, value: never) {
            set(of(this), value);
          },
        }),
      });
    }
  };
  /** At once, and with `Async` at the end of the name by promises. */
  const method = (key: string, body: (facade: F, args: unknown[]) => Steps<unknown>): void => {
    Object.defineProperty(Class.prototype, key, {
      value(this: object, ...args: unknown[]) {
        return runSync(name, key, body(of(this), args));
      },
    });
    Object.defineProperty(Class.prototype, `${key}Async`, {
      configurable: true,
      async value(this: object, ...args: unknown[]) {
        return runAsync(body(of(this), args));
      },
    });
  };
  /** What needs no answer of the runtime. */
  const plain = (key: string, body: (facade: F, ...args: unknown[]) => unknown): void => {
    Object.defineProperty(Class.prototype, key, {
      value(this: object, ...args: unknown[]) {
        return body(of(this), ...args);
      },
    });
  };
  /** By promises, in another way than at once. */
  const asyncOnly = (key: string, body: (facade: F, args: unknown[]) => Promise<unknown>): void => {
    Object.defineProperty(Class.prototype, key, {
      async value(this: object, ...args: unknown[]) {
        return body(of(this), args);
      },
    });
  };
  return { Class, getter, method, plain, asyncOnly };
}

function makeClass(name: string, spec: Spec) {
  const { Class, getter, method, asyncOnly } = declare(name, (args) => new Facade(name, spec, args));
  for (const key of spec.tells ?? []) getter(key, (facade) => facade.tell(key));
  const own = [...(spec.own ?? []), ...(spec.computes ? ["compute"] : [])];
  for (const key of own) method(key, (facade, args) => facade.own(key, ...args));
  for (const key of spec.computes ? [] : PAIRS) {
    method(key, (facade, args) => (facade[key] as (...given: unknown[]) => never)(...args));
  }
  // By promises the items are under way together: where a runtime has threads, they share them.
  const together = (facade: Facade, args: unknown[]): Promise<unknown[]> => {
    const [queries, keys, values, ...rest] = args;
    return Promise.all(facade.items(queries, keys, values, ...rest).map(runAsync));
  };
  if (!spec.computes) asyncOnly("computeBatchAsync", together);
  for (const [maker, names] of Object.entries(spec.makers ?? {})) {
    Object.defineProperty(Class, maker, { value: (...args: unknown[]) => new Class(named(names, args)) });
  }
  for (const [key, value] of Object.entries(spec.statics ?? {})) Object.defineProperty(Class, key, { value });
  return Class;
}
