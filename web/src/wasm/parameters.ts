/** The learned maps of a mechanism, kept in the kernels' memory from their first use on. */
import { DimensionMismatchError, InvalidConfigError } from "../errors.js";
import { type Tensor, tensor } from "../tensor.js";
import type { Home } from "./attention.js";
import { type Numbers, numbers, refuse, type Shape, sizeOf, written } from "./numbers.js";
import { SeededRandom } from "./random.js";

interface Map {
  readonly name: string;
  readonly fanIn: number;
  readonly fanOut: number;
}

/** Where one map's arrays are; 0 is none. */
export interface Placed {
  readonly weight: number;
  readonly bias: number;
  readonly fanOut: number;
}

/** `<map>_weight` (channels in, channels out) and `<map>_bias`. */
export class Parameters {
  /** Changes with the parameters. */
  version = 0;
  readonly #shapes = new globalThis.Map<string, Shape>();
  readonly #store = { pointer: 0 };

  constructor(
    private readonly home: Home,
    private readonly maps: readonly Map[],
    withBias: boolean,
    private readonly seed: number,
  ) {
    for (const { name, fanIn, fanOut } of maps) {
      this.#shapes.set(`${name}_weight`, [fanIn, fanOut]);
      if (withBias) this.#shapes.set(`${name}_bias`, [fanOut]);
    }
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

  of(map: string): Placed {
    this.#make();
    return {
      weight: this.#pointerOf(`${map}_weight`),
      bias: this.#shapes.has(`${map}_bias`) ? this.#pointerOf(`${map}_bias`) : 0,
      fanOut: (this.#shapes.get(`${map}_weight`) as Shape)[1] as number,
    };
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
    const unknown = Object.keys(state)
      .filter((name) => !this.#shapes.has(name))
      .sort();
    const missing = this.names.filter((name) => !(name in state)).sort();
    if (unknown.length + missing.length > 0) refuseNames(missing, unknown);
    const arrays = this.names.map((name): [string, Numbers] => {
      const array = numbers(name, state[name]);
      const expected = this.#shapes.get(name) as Shape;
      if (written(array.shape) !== written(expected)) {
        const error = new DimensionMismatchError(
          `${name} is ${written(array.shape)}; expected ${written(expected)}`,
        );
        throw Object.assign(error, { expected, actual: array.shape });
      }
      refuse(name, array, Number.isFinite, "finite numbers");
      return [name, array];
    });
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

  /** Xavier-uniform from the seed, as in Python; only where none were loaded before they are needed. */
  #make(): void {
    if (this.#store.pointer !== 0) return;
    this.#reserve();
    const { kernels } = this.home.engine;
    const random = new SeededRandom(this.seed);
    for (const { name, fanIn, fanOut } of this.maps) {
      const bound = (6 / (fanIn + fanOut)) ** 0.5;
      kernels.write(this.#pointerOf(`${name}_weight`), random.uniform(bound, fanIn * fanOut));
      if (this.#shapes.has(`${name}_bias`)) kernels.fill(this.#pointerOf(`${name}_bias`), fanOut, 0);
    }
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
