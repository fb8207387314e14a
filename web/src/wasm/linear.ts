/** LinearAttention: sums of features of the keys, which the kernels keep; FAVOR+ draws its features as Python does. */
import type { Rules } from "../description.js";
import { UnsupportedError } from "../errors.js";
import type { Tensor } from "../tensor.js";
import { type Addends, addends, type Band, steps, UNLIMITED } from "./addends.js";
import { type Home, newOutput } from "./attention.js";
import type { Engine } from "./engine.js";
import { Lasting } from "./lasting.js";
import { normals } from "./normal.js";
import { isResident, type Numbers, type Shape, type Source, sizeOf, written } from "./numbers.js";
import { Parameters } from "./parameters.js";
import { type MAPS, Prefix } from "./prefix.js";
import type { SeededRandom } from "./random.js";
import type { Settings } from "./settings.js";
import type { Binding } from "./signature.js";

export { RULES } from "./rules/linear.gen.js";

const INPUTS = ["query", "keys", "values"];

interface Call {
  readonly causal: boolean;
  readonly checkFinite: boolean;
  readonly seen: Addends & Band;
}

class Linear extends Lasting {
  /** What queries and keys are both multiplied by, so that their products are scaled scores. */
  readonly #factor: number;
  /** The parameters times it, and of which version of them that is. */
  readonly #scaled = { pointer: 0, version: -1 };

  constructor(home: Home, mechanism: Rules, config: object) {
    super(home, mechanism, config);
    const {
      dim,
      num_features: count,
      kernel,
      scale,
      temperature,
      seed,
    } = this.settings as Record<string, number>;
    const isFavor = this.settings.kernel === "favor";
    this.#factor = Math.sqrt((scale ?? (isFavor ? (dim as number) ** -0.5 : 1)) / (temperature as number));
    if (kernel === undefined || !isFavor) return;
    const draw = (random: SeededRandom): Float32Array =>
      orthogonalFeatures(home.engine, random, count as number, dim as number);
    const learned = [{ name: "features", shape: [count as number, dim as number], draw }];
    const parameters = new Parameters(home, learned, seed as number);
    this.parameters = parameters;
    const { release } = parameters;
    const scaled = this.#scaled;
    home.own(this, () => {
      release();
      if (scaled.pointer !== 0) home.engine.kernels.free(scaled.pointer);
      scaled.pointer = 0;
    });
  }

  protected fixedAxes({ dim }: Settings): Record<string, number> {
    return { dim: dim as number };
  }

  forwardSync(...args: unknown[]): Tensor {
    const [binding, call] = this.#bind(args, INPUTS);
    const [query, keys, values] = this.#arrays(binding, call) as [Source, Source, Source];
    const shape = [...binding.lead, binding.sizes.n_query as number, values.shape.at(-1) as number];
    const out = newOutput(shape);
    this.#items(binding, call, query, keys, values, out);
    return this.restore(out, binding, shape);
  }

  /** The outputs for values that are unit vectors: what forward never makes. */
  attentionWeightsSync(...args: unknown[]): Tensor {
    const [binding, call] = this.#bind(args, INPUTS.slice(0, 2));
    const [query, keys] = this.#arrays(binding, call) as [Source, Source];
    const { n_query: nQuery, n_key: nKey } = binding.sizes as { n_query: number; n_key: number };
    const shape = [...binding.lead, nQuery, nKey];
    const out = newOutput(shape);
    const units = new Float32Array(nKey * nKey);
    for (let key = 0; key < nKey; key++) units[key * (nKey + 1)] = 1;
    this.#items(binding, call, query, keys, { data: units, shape: [nKey, nKey] }, out);
    return this.restore(out, binding, shape);
  }

  #bind(args: readonly unknown[], names: readonly string[]): [Binding, Call] {
    this.open();
    const [inputs, options] = this.read(args, names);
    if (options.bias !== undefined)
      throw new UnsupportedError("unknown option 'bias'; expected a mask of the keys");
    this.require(inputs, names);
    const binding = this.signature.bind(inputs);
    const { n_query: nQuery, n_key: nKey } = binding.sizes as { n_query: number; n_key: number };
    const seen = addends(options, { lead: binding.lead, nQuery, nKey });
    if (seen.behind < UNLIMITED || seen.globals > 0) {
      throw new UnsupportedError(
        "mask is a window; expected { type: 'causal' }, or an array (..., 1, n_key)",
      );
    }
    for (const array of [seen.mask, seen.bias]) {
      if (array && array.shape.at(-2) !== 1) {
        throw new UnsupportedError(
          `mask is ${written(array.shape)}, one row for each query; expected (..., 1, ${nKey}), one for all: linear attention makes no single scores (attention 'flash' does)`,
        );
      }
    }
    return [binding, { causal: seen.ahead === 0, checkFinite: options.checkFinite, seen }];
  }

  /** The inputs; of keys and values that are not read zeros, for they may hold anything. */
  #arrays({ arrays, lead }: Binding, { seen: { keyLengths } }: Call): Source[] {
    return arrays.map((array, i) => {
      if (i === 0 || !keyLengths || isResident(array)) return array;
      const [n, width] = array.shape.slice(-2) as [number, number];
      const strides = steps(array.shape.slice(0, -2), lead);
      const lengths = steps(keyLengths.shape, lead);
      const longest = new Array<number>(sizeOf(array.shape.slice(0, -2))).fill(0);
      for (const index of indices(lead)) {
        const own = place(index, strides);
        longest[own] = Math.max(longest[own] as number, keyLengths.data[place(index, lengths)] as number);
      }
      const data = Float32Array.from(array.data);
      longest.forEach((length, item) => {
        data.fill(0, (item * n + length) * width, (item + 1) * n * width);
      });
      return { data, shape: array.shape };
    });
  }

  #items(binding: Binding, call: Call, query: Source, keys: Source, values: Source, out: Float32Array): void {
    const { engine } = this;
    const { kernels, staging } = engine;
    const prefix = Prefix.of(engine);
    const { dim } = this.settings as { dim: number };
    const { n_query: nQuery, n_key: nKey } = binding.sizes as { n_query: number; n_key: number };
    const dimValue = values.shape.at(-1) as number;
    const kind = this.settings.kernel as keyof typeof MAPS;
    const weight = this.#weight(prefix);
    const features = weight === 0 ? dim : (this.settings.num_features as number);
    const sizes = { nQuery, nKey, dim, features, dimValue };
    const strides = [query, keys, values].map(({ shape }) => steps(shape.slice(0, -2), binding.lead));
    const added = addendOf(binding.lead, nKey, call.seen);
    let status = 0;
    let item = 0;
    for (const index of indices(binding.lead)) {
      const at = strides.map((stride) => place(index, stride));
      let q = itemOf(engine, "query", query, at[0] as number);
      let k = itemOf(engine, "keys", keys, at[1] as number);
      const v = itemOf(engine, "values", values, at[2] as number);
      if (this.settings.normalize) {
        const unit = { q: staging.areas.unit_query.take(4 * nQuery * dim), k: 0 };
        unit.k = staging.areas.unit_keys.take(4 * nKey * dim);
        staging.normalize(q, nQuery * dim, dim, unit.q);
        staging.normalize(k, nKey * dim, dim, unit.k);
        [q, k] = [unit.q, unit.k];
      }
      const own = added && kernels.stage(staging.areas.bias, added, item * nKey, nKey);
      let addend = own ?? 0;
      // What is not finite would be a feature of 0, or taken for a row that sees nothing.
      status |= Number(!staging.allFinite(q, nQuery * dim)) | Number(!staging.allFinite(k, nKey * dim));
      if (weight !== 0) {
        const terms = prefix.areas.terms.take(4 * nKey);
        status |= prefix.logs("favor", k, nKey, dim, this.#factor, addend, terms);
        addend = terms;
      } else {
        const logs = [
          prefix.areas.query.take(4 * nQuery * dim),
          prefix.areas.keys.take(4 * nKey * dim),
        ] as const;
        status |= prefix.logs(kind, q, nQuery, dim, this.#factor, 0, logs[0]);
        status |= prefix.logs(kind, k, nKey, dim, this.#factor, 0, logs[1]);
        [q, k] = logs;
      }
      const to = kernels.begin(staging.areas.out, nQuery * dimValue, out, item * nQuery * dimValue);
      const parts = { query: q, keys: k, addend, weight, values: v, out: to };
      status |= prefix.attend(parts, sizes, call.causal);
      kernels.finish(to, nQuery * dimValue, out, item * nQuery * dimValue);
      item++;
    }
    prefix.trim();
    if (status !== 0 && call.checkFinite) this.blame(binding, call.seen.keyLengths);
  }

  /** The random features as they meet rows, 0 where there are none; made when the parameters change. */
  #weight(prefix: Prefix): number {
    const parameters = this.parameters;
    if (!parameters) return 0;
    const features = parameters.at("features");
    const scaled = this.#scaled;
    if (scaled.version === parameters.version) return scaled.pointer;
    const { num_features: count, dim } = this.settings as { num_features: number; dim: number };
    const { kernels } = this.engine;
    if (scaled.pointer !== 0 && kernels.isBusy) {
      kernels.free(scaled.pointer);
      scaled.pointer = 0;
    }
    if (scaled.pointer === 0) scaled.pointer = kernels.alloc(4 * count * dim);
    kernels.now(() => prefix.logs("scaled", features, count, dim, this.#factor, 0, scaled.pointer));
    scaled.version = parameters.version;
    return scaled.pointer;
  }
}

export const BODIES = { linear: Linear };

/** Rows w, each Gaussian, in pairs w and -w; of the pairs every `dim` in a row are orthogonal. */
function orthogonalFeatures(engine: Engine, random: SeededRandom, count: number, dim: number): Float32Array {
  const prefix = Prefix.of(engine);
  const pairs = Math.ceil(count / 2);
  const matrices = Array.from({ length: Math.ceil(pairs / dim) }, () => normals(random, dim * dim));
  const lengths = normals(random, pairs * dim);
  const rows = new Float32Array(2 * pairs * dim);
  matrices.forEach((matrix, i) => {
    const some = Math.min(dim, pairs - i * dim);
    const along = lengths.subarray(i * dim * dim, (i * dim + some) * dim);
    rows.set(prefix.orthogonal(matrix, along, some, dim), i * dim * dim);
  });
  for (let i = 0; i < pairs * dim; i++) rows[pairs * dim + i] = -(rows[i] as number);
  return rows.subarray(0, count * dim);
}

/** What is added to the logarithm of every key's features, item by item: of a mask 0 or -inf. */
function addendOf(lead: Shape, nKey: number, seen: Addends): Float32Array | undefined {
  const { mask, bias, keyLengths } = seen;
  if (!mask && !bias && !keyLengths) return undefined;
  const out = new Float32Array(sizeOf(lead) * nKey);
  const strides = [mask, bias].map((array) => array && steps(array.shape.slice(0, -2), lead));
  const ofLengths = keyLengths && steps(keyLengths.shape, lead);
  let item = 0;
  for (const index of indices(lead)) {
    const row = out.subarray(item * nKey, ++item * nKey);
    if (bias)
      row.forEach((_, key) => {
        row[key] = rowOf(bias, place(index, strides[1] as number[]), key);
      });
    if (mask)
      row.forEach((_, key) => {
        if (!rowOf(mask, place(index, strides[0] as number[]), key)) row[key] = -Infinity;
      });
    if (keyLengths) row.fill(-Infinity, keyLengths.data[place(index, ofLengths as number[])]);
  }
  return out;
}

function rowOf({ data, shape }: Numbers, item: number, key: number): number {
  const columns = shape.at(-1) as number;
  return data[item * columns + (columns === 1 ? 0 : key)] as number;
}

/** Every index of a leading shape. */
function* indices(lead: Shape): Generator<readonly number[]> {
  const index = lead.map(() => 0);
  for (let left = sizeOf(lead); left > 0; left--) {
    yield index;
    for (let axis = lead.length - 1; axis >= 0; axis--) {
      index[axis] = (index[axis] as number) + 1;
      if ((index[axis] as number) < (lead[axis] as number)) break;
      index[axis] = 0;
    }
  }
}

/** Which item of an array that is, whose items lie so many steps apart. */
const place = (index: readonly number[], strides: readonly number[]): number =>
  index.reduce((sum, i, axis) => sum + i * (strides[axis] as number), 0);

/** Where a kernel reads one item of an array. */
function itemOf(engine: Engine, area: "query" | "keys" | "values", source: Source, item: number): number {
  if (isResident(source)) return source.pointer + 4 * item * source.step;
  const size = sizeOf(source.shape.slice(-2));
  return engine.kernels.stage(engine.staging.areas[area], source.data, item * size, size);
}
