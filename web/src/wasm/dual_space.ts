/** DualSpaceAttention: dot products in one space and distances in the ball of another, of learned maps into both. */
import type { Rules } from "../description.js";
import { InvalidConfigError, UnsupportedError } from "../errors.js";
import type { Tensor } from "../tensor.js";
import type { ScoreOptions } from "./addends.js";
import { type Home, newOutput } from "./attention.js";
import { Bank } from "./bank.js";
import { DualCalls, OUTPUT_EPS } from "./dual_calls.js";
import type { Scoring } from "./engine.js";
import { type Hold, holding } from "./holding.js";
import { Lasting } from "./lasting.js";
import { type Resident, type Source, sizeOf } from "./numbers.js";
import { Parameters, xavier } from "./parameters.js";
import { Scored, type Spaces } from "./scored.js";
import type { Settings } from "./settings.js";
import type { Binding } from "./signature.js";

export { RULES } from "./rules/dual_space.gen.js";

const INPUTS = ["query", "keys", "values"];

/** Rows in both spaces, head by head, and what distances need of each. */
interface Points {
  readonly rows: Resident;
  readonly aux: Resident;
}

/** The channels of a head in each space. */
function widthsOf(settings: Settings): { flat: number; curved: number } {
  const { dim = 1, num_heads: heads = 1 } = settings as Record<string, number>;
  const usual = Math.max(Math.floor(Math.floor(dim / 2) / heads), 1);
  const of = (size: unknown): number => (typeof size === "number" ? size / heads : usual);
  return { flat: of(settings.euclidean_dim), curved: of(settings.hyperbolic_dim) };
}

let made = 0;

class DualSpace extends Lasting {
  /** Tells the maps of this object from another's, for what a Memory keeps. */
  readonly #id = made++;

  constructor(home: Home, mechanism: Rules, config: object) {
    super(home, mechanism, config);
    const { settings } = this;
    if (settings.dim === undefined) return;
    const {
      dim,
      num_heads: heads,
      fusion_weight: share,
      curvature,
      seed,
    } = settings as Record<string, number>;
    const { flat, curved } = widthsOf(settings);
    const map = (name: string, width: number) => xavier(`${name}_weight`, dim as number, width);
    const learned = [
      ...["query", "keys"].flatMap((name) => [
        map(`${name}_euclidean`, flat * (heads as number)),
        map(`${name}_hyperbolic`, curved * (heads as number)),
      ]),
      map("values", dim as number),
      map("output", dim as number),
      {
        name: "space_weights",
        shape: [2],
        draw: () => Float32Array.of(1 - (share as number), share as number),
      },
      ...(settings.adaptive_curvature
        ? [
            {
              name: "log_curvature",
              shape: [1],
              draw: () => Float32Array.of(Math.log(-(curvature as number))),
            },
          ]
        : []),
    ];
    this.parameters = new Parameters(home, learned, seed as number);
    home.own(this, this.parameters.release);
  }

  /** Of the hyperbolic space as it is now, below 0. */
  get curvature(): number {
    if (!this.settings.adaptive_curvature) return this.settings.curvature as number;
    return -Math.exp(this.#learned("log_curvature", 1)[0] as number);
  }

  protected override checkSettings(settings: Settings): void {
    const { curvature, num_heads: heads } = settings as Record<string, number>;
    if ((curvature as number) >= 0) {
      throw new InvalidConfigError(
        `curvature is ${curvature}; expected a number below 0, as a hyperbolic space has`,
      );
    }
    for (const name of ["dim", "euclidean_dim", "hyperbolic_dim"]) {
      const size = settings[name];
      if (typeof size === "number" && size % (heads as number) !== 0)
        throw new InvalidConfigError(`${name} is ${size}; expected a multiple of num_heads = ${heads}`);
    }
  }

  protected fixedAxes({ dim }: Settings): Record<string, number> {
    return { dim: dim as number, kdim: dim as number, vdim: dim as number };
  }

  protected override scale(): number {
    return 1 / (this.settings.temperature as number);
  }

  forwardSync(...args: unknown[]): Tensor {
    const [binding, how] = this.#bind(args, INPUTS);
    const { dim } = this.settings as { dim: number };
    const shape = [...binding.lead, binding.sizes.n_query as number, dim];
    const out = newOutput(shape);
    holding(this.engine, (hold) => {
      const [query, keys, values] = binding.arrays as [Source, Source, Source];
      const q = this.#points("query", query, hold);
      const [rows, aux, mapped] =
        args[1] instanceof Bank ? this.ofMemory(args[1]) : this.#bankOf(keys, values, hold);
      const attended = hold(shape);
      const told =
        this.#areFinite(how, q.rows, rows, mapped) &&
        Scored.of(this.engine).attend(
          q.rows,
          rows,
          mapped,
          { spaces: this.#spaces(q, { rows, aux }) },
          binding.lead,
          how,
          attended,
        );
      if (!told) this.blame(binding, how.keyLengths);
      this.engine.project(attended, this.#weight("output"), dim, 0, dim, out);
    });
    return this.restore(out, binding, shape);
  }

  attentionWeightsSync(...args: unknown[]): Tensor {
    const [binding, how] = this.#bind(args, INPUTS.slice(0, 2));
    const { n_query: nQuery, n_key: nKey } = binding.sizes as { n_query: number; n_key: number };
    const shape = [...binding.lead, how.heads, nQuery, nKey];
    const out = newOutput(shape);
    holding(this.engine, (hold) => {
      const q = this.#points("query", binding.arrays[0] as Source, hold);
      const [rows, aux] = args[1] instanceof Bank ? this.ofMemory(args[1]) : [];
      const k = rows && aux ? { rows, aux } : this.#points("keys", binding.arrays[1] as Source, hold);
      const told =
        this.#areFinite(how, q.rows, k.rows) &&
        Scored.of(this.engine).weigh(q.rows, k.rows, { spaces: this.#spaces(q, k) }, binding.lead, how, out);
      if (!told) this.blame(binding, how.keyLengths);
    });
    return this.restore(out, binding, shape);
  }

  /** The two parts of the scores before the temperature, each (..., num_heads, n_query, n_key). */
  getSpaceContributionsSync(...args: unknown[]): [Tensor, Tensor] {
    const [binding, how] = this.#bind(args, INPUTS.slice(0, 2));
    if (how.mask || how.bias || how.keyLengths)
      throw new UnsupportedError("a mask, bias or key_lengths came; expected (query, keys)");
    const { n_query: nQuery, n_key: nKey } = binding.sizes as { n_query: number; n_key: number };
    const shape = [...binding.lead, how.heads, nQuery, nKey];
    const [dots, distances] = [newOutput(shape), newOutput(shape)];
    holding(this.engine, (hold) => {
      const [q, k] = [
        this.#maps("query", binding.arrays[0] as Source, hold),
        this.#maps("keys", binding.arrays[1] as Source, hold),
      ];
      if (!this.#areFinite(how, ...q, ...k)) this.blame(binding);
      const { flat, curved } = widthsOf(this.settings);
      const [ofDots, ofDistances] = this.#learned("space_weights", 2) as unknown as [number, number];
      const sizes = { nQuery, nKey, heads: how.heads, flat, curved, c: -this.curvature };
      const weights = { flat: ofDots * flat ** -0.5, curved: ofDistances };
      DualCalls.of(this.engine).scores(q, k, binding.lead, how, sizes, weights, [dots, distances]);
    });
    return [this.restore(dots, binding, shape), this.restore(distances, binding, shape)];
  }

  #bind(args: readonly unknown[], names: readonly string[]): [Binding, Scoring] {
    this.open();
    const [inputs, options] = this.read(args, names);
    this.require(inputs, names);
    const binding = this.signature.bind(inputs);
    const { num_heads: heads } = this.settings as { num_heads: number };
    const { flat, curved } = widthsOf(this.settings);
    const how = this.scoring(binding, options as ScoreOptions, flat + curved, heads);
    return [binding, { ...how, heads, kvHeads: heads }];
  }

  #weight(name: string): number {
    return (this.parameters as Parameters).at(`${name}_weight`);
  }

  #learned(name: string, count: number): Float32Array {
    return this.engine.kernels.read((this.parameters as Parameters).at(name), count);
  }

  #spaces(query: Points, keys: Points): Spaces {
    const { flat, curved } = widthsOf(this.settings);
    const [ofDots, ofDistances] = this.#learned("space_weights", 2) as unknown as [number, number];
    const list = [
      { kind: "dot", channels: flat, weight: ofDots * flat ** -0.5, c: 1 },
      { kind: "poincare", channels: curved, weight: ofDistances, c: -this.curvature },
    ] as const;
    return { list, query: query.aux, keys: keys.aux };
  }

  /** Through the maps into both spaces. */
  #maps(name: string, source: Source, hold: Hold): [Resident, Resident] {
    const { num_heads: heads } = this.settings as { num_heads: number };
    const { flat, curved } = widthsOf(this.settings);
    const mapped = [
      ["euclidean", flat * heads],
      ["hyperbolic", curved * heads],
    ].map(([space, width]) => {
      const out = hold([...source.shape.slice(0, -1), width as number]);
      this.engine.project(source, this.#weight(`${name}_${space}`), width as number, 0, width as number, out);
      return out;
    });
    return mapped as [Resident, Resident];
  }

  /** The same, what is hyperbolic in the ball. */
  #points(name: string, source: Source, hold: Hold): Points {
    const maps = this.#maps(name, source, hold);
    const { num_heads: heads } = this.settings as { num_heads: number };
    const { flat, curved } = widthsOf(this.settings);
    const lead = source.shape.slice(0, -1);
    const rows = hold([...lead, heads * (flat + curved)]);
    const aux = hold([...lead, 2 * heads]);
    const sizes = { rows: sizeOf(lead), heads, flat, curved, c: -this.curvature, eps: OUTPUT_EPS };
    DualCalls.of(this.engine).points(maps, sizes, rows, aux);
    return { rows, aux };
  }

  #bankOf(
    keys: Source,
    values: Source,
    hold: Hold,
  ): readonly [rows: Resident, aux: Resident, values: Resident] {
    const { rows, aux } = this.#points("keys", keys, hold);
    const mapped = hold(values.shape);
    const { dim } = this.settings as { dim: number };
    this.engine.project(values, this.#weight("values"), dim, 0, dim, mapped);
    return [rows, aux, mapped];
  }

  /** A memory's rows as they are read here, which it keeps. */
  protected override ofMemory(memory: Bank): readonly [rows: Resident, aux: Resident, values: Resident] {
    const { version } = this.parameters as Parameters;
    return memory.derive(`dual ${this.#id} ${version}`, () => {
      const all: Resident[] = [];
      const hold: Hold = (shape) => {
        const array = this.engine.staging.hold(shape);
        all.push(array);
        return array;
      };
      const kept = this.#bankOf(memory.keys, memory.values, hold);
      for (const each of all) if (!kept.includes(each)) this.engine.kernels.free(each.pointer);
      return kept;
    }) as unknown as readonly [Resident, Resident, Resident];
  }

  /** Whether what the kernels read is; keys that are not read may hold anything. */
  #areFinite(how: Scoring, ...arrays: readonly Resident[]): boolean {
    if (!how.checkFinite || how.keyLengths) return true;
    return arrays.every(({ pointer, shape }) => this.engine.staging.allFinite(pointer, sizeOf(shape)));
  }
}

export const BODIES = { dual_space: DualSpace };
