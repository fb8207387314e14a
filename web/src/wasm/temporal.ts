/** TemporalAttention: scores that fall with the gap in time, or learned waves of the time in queries and keys. */
import type { Rules } from "../description.js";
import { NumericalInstabilityError, OutOfBoundsError, UnsupportedError } from "../errors.js";
import type { Tensor } from "../tensor.js";
import type { Home } from "./attention.js";
import { type Hold, holding } from "./holding.js";
import { normals } from "./normal.js";
import { numbers, refuse, type Source, written } from "./numbers.js";
import { Parameters, xavier } from "./parameters.js";
import type { SeededRandom } from "./random.js";
import { type More, Scored } from "./scored.js";
import { mismatch } from "./signature.js";
import { type Call, SplitHeads } from "./split_heads.js";
import { Waves } from "./waves.js";

const SIDES = ["query", "keys"] as const;

type Both = readonly [query: Float64Array, keys: Float64Array];

export class Temporal extends SplitHeads {
  constructor(home: Home, mechanism: Rules, config: object) {
    super(home, mechanism, config);
    const { encoding, dim, time_dim, decay, theta, seed } = this.settings as Record<string, number> & {
      encoding?: string;
    };
    if (encoding === undefined) return;
    const waves = [time_dim as number];
    const learned =
      encoding === "decay"
        ? [
            { name: "decay", shape: [1], draw: () => Float32Array.of(decay as number) },
            { name: "log_theta", shape: [1], draw: () => Float32Array.of(Math.log(theta as number)) },
          ]
        : [
            ...["time_frequency", "time_phase"].map((name) => ({
              name,
              shape: waves,
              draw: (random: SeededRandom) => Float32Array.from(normals(random, waves[0] as number)),
            })),
            ...SIDES.map((side) => xavier(`time_${side}_weight`, waves[0] as number, dim as number)),
          ];
    this.parameters = new Parameters(home, learned, seed as number);
    home.own(this, this.parameters.release);
  }

  protected override ownOptions(): readonly string[] {
    return ["queryTimes", "keyTimes"];
  }

  protected attend(call: Call, out: Float32Array, isWeights: boolean): boolean {
    const { options, own, binding } = call;
    const times = bothTimes(call);
    // Keys that come one by one are those of a causal mask; else a query sees as far as its time.
    const isByPlace = (own.queryTimes ?? own.keyTimes ?? null) === null;
    const isCausal = options.causal && !isByPlace;
    if (isCausal && isRule(options.mask)) {
      throw new UnsupportedError(
        "a mask's type beside timestamps needs load({ runtime: 'pyodide' }); expected an array, or causal: false",
      );
    }
    const scoring = this.scored(isCausal ? { ...call, options: { ...options, causal: false } } : call);
    const { arrays, lead } = binding;
    const scored = Scored.of(this.engine);
    let told = false;
    holding(this.engine, (hold) => {
      const [query, keys] = this.#inTime(arrays, times, hold);
      const more: More = {
        ...(isCausal ? { until: { query: times[0], keys: times[1] } } : {}),
        ...(this.settings.encoding === "decay" ? { times: this.#decay(times) } : {}),
      };
      told = isWeights
        ? scored.weigh(query, keys, more, lead, scoring, out)
        : scored.attend(query, keys, arrays[2] as Source, more, lead, scoring, out);
    });
    return told;
  }

  /** { values, weights, metadata } of a sequence (n, dim) that attends to itself. */
  computeSync(sequence: unknown, timestamps?: unknown): Record<string, unknown> {
    this.open();
    const [rows] = this.signature.bind([["keys", sequence]]).arrays as [Source];
    const keyTimes = timestamps ?? null;
    const metadata = {
      sequence_length: rows.shape[0],
      has_timestamps: keyTimes !== null,
      attention_type: this.mechanism.name,
    };
    const values: Tensor = this.forwardSync(sequence, sequence, sequence, { keyTimes });
    return { values, weights: this.attentionWeightsSync(sequence, sequence, { keyTimes }), metadata };
  }

  #learned(name: string, count: number): Float32Array {
    return this.engine.kernels.read((this.parameters as Parameters).at(name), count);
  }

  #decay([query, keys]: Both): NonNullable<More["times"]> {
    const [decay, logTheta] = ["decay", "log_theta"].map((name) => this.#learned(name, 1)[0]) as [
      number,
      number,
    ];
    return { query, keys, decay, rate: Math.exp(-logTheta) };
  }

  /** Queries and keys with the waves of their times. */
  #inTime([query, keys]: readonly Source[], times: Both, hold: Hold): [Source, Source] {
    const sources = [query, keys] as [Source, Source];
    if (this.settings.encoding === "decay") return sources;
    const { time_dim: count, dim } = this.settings as { time_dim: number; dim: number };
    const [frequency, phase] = ["time_frequency", "time_phase"].map((name) => this.#learned(name, count)) as [
      Float32Array,
      Float32Array,
    ];
    const start = times[1][0] as number;
    const waves = Waves.of(this.engine);
    return sources.map((source, i) => {
      const since = (times[i] as Float64Array).map((time) => time - start);
      const rows = hold([since.length, count]);
      if (waves.sines(since, frequency, phase, rows) !== 0) {
        throw new NumericalInstabilityError(
          `${SIDES[i]} times a frequency is 2^52 or more; expected timestamps that have a sine`,
        );
      }
      const { weight } = (this.parameters as Parameters).of(`time_${SIDES[i]}`);
      const added = hold([since.length, dim]);
      this.engine.project(rows, weight, dim, 0, dim, added);
      const out = hold(source.shape);
      waves.add(source, added, out);
      return out;
    }) as [Source, Source];
  }
}

function bothTimes({ binding, own }: Call): Both {
  const { n_query: nQuery, n_key: nKey } = binding.sizes as { n_query: number; n_key: number };
  const { queryTimes = null, keyTimes = null } = own;
  const keys =
    keyTimes === null
      ? Float64Array.from({ length: nKey }, (_, i) => i)
      : timesOf("key_times", keyTimes, nKey, "n_key");
  if (queryTimes !== null) return [timesOf("query_times", queryTimes, nQuery, "n_query"), keys];
  if (nQuery > nKey) {
    throw mismatch(
      `query_times is None for ${nQuery} queries and ${nKey} keys; expected it, or no more queries than keys`,
      nKey,
      nQuery,
    );
  }
  return [keys.slice(nKey - nQuery), keys];
}

function timesOf(name: string, value: unknown, count: number, axis: string): Float64Array {
  const array = numbers(name, value);
  if (array.shape.length !== 1 || array.shape[0] !== count) {
    const message = `${name} is ${written(array.shape)}; expected (${axis},) with ${axis} = ${count}`;
    throw mismatch(message, [count], array.shape);
  }
  const times = Float64Array.from(array.data);
  refuse(name, array, (_, i) => Number.isFinite(times[i]), "finite numbers");
  const at = times.findIndex((time, i) => i > 0 && time < (times[i - 1] as number));
  if (at > 0) {
    throw new OutOfBoundsError(
      `${name} is not in order: ${times[at]} at index ${at} follows ${times[at - 1]}; expected sorted timestamps`,
    );
  }
  return times;
}

function isRule(mask: unknown): boolean {
  return typeof mask === "object" && mask !== null && "type" in mask && !("shape" in mask);
}
