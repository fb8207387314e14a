/** The classes themselves: a constructor, getters and methods for every line of the table. */
import { Facade, named, runAsync, runSync } from "./facade.js";
import { type ClassName, type Spec, TABLE } from "./table.js";
import type { Classes } from "./types.js";

const PAIRS = ["forward", "forwardBatch", "compute", "computeBatch", "computeWithMask"] as const;

type Body = (facade: Facade, args: unknown[]) => Parameters<typeof runAsync>[0];

export const CLASSES = Object.fromEntries(
  Object.entries(TABLE).map(([name, spec]) => [name, makeClass(name, spec)]),
) as unknown as Classes & Readonly<Record<ClassName, unknown>>;

function makeClass(name: string, spec: Spec) {
  const facades = new WeakMap<object, Facade>();
  const of = (object: object): Facade => facades.get(object) as Facade;
  const Class = class {
    constructor(...args: unknown[]) {
      facades.set(this, new Facade(name, spec, args));
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
  const getter = (key: string, told: string) =>
    Object.defineProperty(Class.prototype, key, {
      get(this: object) {
        return of(this).tell(told);
      },
    });
  for (const key of spec.tells ?? []) {
    getter(key, key);
    const snake = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (snake !== key) getter(snake, key); // ruvector-attention-wasm writes num_heads
  }
  const method = (key: string, body: Body): void => {
    Object.defineProperty(Class.prototype, key, {
      value(this: object, ...args: unknown[]) {
        return runSync(name, key, body(of(this), args));
      },
    });
    Object.defineProperty(Class.prototype, `${key}Async`, {
      async value(this: object, ...args: unknown[]) {
        return runAsync(body(of(this), args));
      },
    });
  };
  const own = [...(spec.own ?? []), ...(spec.computes ? ["compute"] : [])];
  for (const key of own) method(key, (facade, args) => facade.own(key, ...args));
  for (const key of spec.computes ? [] : PAIRS) {
    method(key, (facade, args) => (facade[key] as (...given: unknown[]) => never)(...args));
  }
  for (const [maker, names] of Object.entries(spec.makers ?? {})) {
    Object.defineProperty(Class, maker, { value: (...args: unknown[]) => new Class(named(names, args)) });
  }
  for (const [key, value] of Object.entries(spec.statics ?? {})) Object.defineProperty(Class, key, { value });
  return Class;
}
