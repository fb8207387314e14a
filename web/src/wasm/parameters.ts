/** The learned arrays of a mechanism, kept in the kernels' memory from their first use on. */
import { DimensionMismatchError, InvalidConfigError } from "../errors.js";
import { type Tensor, tensor } from "../tensor.js";
import type { Home } from "./attention.js";
import { type Numbers, numbers, refuse, type Shape, sizeOf, written } from "./numbers.js";
import { SeededRandom } from "./random.js";

/** A learned array: zeros, or drawn from the seed. */
export interface Learned {
  readonly name: string;
  readonly shape: Shape;
  /** In the order of the list, from one generator; the kernels may be called. */
  readonly draw?: (random: SeededRandom) => Float32Array;
}

/** Xavier-uniform, as in Python: `fanIn` channels to `fanOut`. */
export const xavier = (
  name: string,
  fanIn: number,
  fanOut: number,
  shape: Shape = [fanIn, fanOut],
): Learned => ({
  name,
  shape,
  draw: (random) => random.uniform((6 / (fanIn + fanOut)) ** 0.5, sizeOf(shape)),
});

/** Where one map's arrays are; 0 is none. */
export interface Placed {
  readonly weight: number;
  readonly bias: number;
  readonly fanOut: number;
}

export class Parameters {
  /** Changes with the parameters. */
  version = 0;
  readonly #shapes: ReadonlyMap<string, Shape>;
  readonly #store = { pointer: 0 };

  constructor(
    private readonly home: Home,
    private readonly learned: readonly Learned[],
    private readonly seed: number,
  ) {
    this.#shapes = new Map(learned.map(({ name, shape }) => [name, shape]));
  }

  get names(): string[] {
    return [...this.#shapes.keys()];
  }

  /** To be called when the mechanism is disposed or forgotten. */
  get release(): () => void {
    const { home } = this;
    const store = this.#store;
    return () => {
      if (store.pointer !== 0) home.engine.kernels.free(store.pointer);
      store.pointer = 0;
    };
  }

  /** `<map>_weight` (channels in, channels out) and `<map>_bias`. */
  of(map: string): Placed {
    return {
      weight: this.at(`${map}_weight`),
      bias: this.#shapes.has(`${map}_bias`) ? this.at(`${map}_bias`) : 0,
      fanOut: (this.#shapes.get(`${map}_weight`) as Shape)[1] as number,
    };
  }

  has(name: string): boolean {
    return this.#shapes.has(name);
  }

  at(name: string): number {
    this.#make();
    return this.#pointerOf(name);
  }

  /** Copies, by name. */
  state(): Record<string, Tensor> {
    this.#make();
    const { kernels } = this.home.engine;
    return Object.fromEntries(
      [...this.#shapes].map(([name, shape]) => [
        name,
        tensor(kernels.read(this.#pointerOf(name), sizeOf(shape)), shape),
      ]),
    );
  }

  /** Takes over parameters; nothing is changed unless all fit. Raises for a name, a shape, NaN and infinity. */
  load(
    state: Readonly<Record<string, unknown>>,
    refuseNames: (missing: string[], unknown: string[]) => never,
  ): void {
    const arrays = fitted(this.#shapes, state, refuseNames);
    const { kernels } = this.home.engine;
    if (kernels.isBusy) this.release();
    this.#reserve();
    for (const [name, { data }] of arrays) kernels.write(this.#pointerOf(name), data);
    this.version++;
  }

  #reserve(): void {
    if (this.#store.pointer !== 0) return;
    let size = 0;
    for (const shape of this.#shapes.values()) size += sizeOf(shape);
    this.#store.pointer = this.home.engine.kernels.alloc(4 * size);
  }

  /** From the seed; only where none were loaded before they are needed. */
  #make(): void {
    if (this.#store.pointer !== 0) return;
    const { kernels } = this.home.engine;
    const random = new SeededRandom(this.seed);
    kernels.now(() => {
      const drawn = this.learned.map(({ draw }) => draw?.(random));
      this.#reserve();
      this.learned.forEach(({ name, shape }, i) => {
        const data = drawn[i];
        if (data) kernels.write(this.#pointerOf(name), data);
        else kernels.fill(this.#pointerOf(name), sizeOf(shape), 0);
      });
    });
  }

  #pointerOf(name: string): number {
    let at = this.#store.pointer;
    for (const [other, shape] of this.#shapes) {
      if (other === name) return at;
      at += 4 * sizeOf(shape);
    }
    throw new InvalidConfigError(`there is no parameter ${name}`);
  }
}

/** A state's arrays, once they are known to be what these shapes name. Raises for a name, a shape, NaN and infinity. */
export function fitted(
  shapes: ReadonlyMap<string, Shape>,
  state: Readonly<Record<string, unknown>>,
  refuseNames: (missing: string[], unknown: string[]) => never,
): [string, Numbers][] {
  const unknown = Object.keys(state)
    .filter((name) => !shapes.has(name))
    .sort();
  const missing = [...shapes.keys()].filter((name) => !(name in state)).sort();
  if (unknown.length + missing.length > 0) refuseNames(missing, unknown);
  return [...shapes].map(([name, expected]) => {
    const array = numbers(name, state[name]);
    if (written(array.shape) !== written(expected)) {
      const error = new DimensionMismatchError(
        `${name} is ${written(array.shape)}; expected ${written(expected)}`,
      );
      throw Object.assign(error, { expected, actual: array.shape });
    }
    refuse(name, array, Number.isFinite, "finite numbers");
    return [name, array];
  });
}
