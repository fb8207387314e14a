/**
 * NumPy's default_rng(seed).uniform, so that a seed gives the same parameters as in Python: SeedSequence, PCG64
 * (O'Neill, 2014: a 128-bit congruential generator with the XSL-RR output), and 53 bits of each output.
 */

const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;
const MASK_128 = (1n << 128n) - 1n;
const MASK_64 = (1n << 64n) - 1n;

export class SeededRandom {
  #state: bigint;
  readonly #increment: bigint;

  constructor(seed: number) {
    const words = seedWords(seed, 8);
    const pair = (i: number) => (BigInt(words[i + 1] as number) << 32n) | BigInt(words[i] as number);
    const start = (pair(0) << 64n) | pair(2);
    this.#increment = ((((pair(4) << 64n) | pair(6)) << 1n) | 1n) & MASK_128;
    this.#state = (this.#increment + start) & MASK_128;
    this.#step();
  }

  /** `count` numbers from -bound up to bound, in float32. */
  uniform(bound: number, count: number): Float32Array {
    const out = new Float32Array(count);
    for (let i = 0; i < count; i++) out[i] = -bound + 2 * bound * fraction(this.next());
    return out;
  }

  /** 64 bits. */
  next(): bigint {
    this.#step();
    return this.#output();
  }

  #step(): void {
    this.#state = (this.#state * MULTIPLIER + this.#increment) & MASK_128;
  }

  #output(): bigint {
    const folded = (this.#state >> 64n) ^ (this.#state & MASK_64);
    const turn = this.#state >> 122n;
    return ((folded >> turn) | (folded << (64n - turn))) & MASK_64;
  }
}

/** A number from 0 up to 1. */
export const fraction = (bits: bigint): number => Number(bits >> 11n) / 2 ** 53;

/** SeedSequence(seed).generate_state(count), words of 32 bits. */
function seedWords(seed: number, count: number): number[] {
  const entropy = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
  let constant = 0x43b0d7e5;
  const hashed = (value: number): number => {
    let mixed = value ^ constant;
    constant = Math.imul(constant, 0x931e8875);
    mixed = Math.imul(mixed, constant);
    return mixed ^ (mixed >>> 16);
  };
  const pool = [0, 1, 2, 3].map((i) => hashed(entropy[i] ?? 0));
  for (let source = 0; source < 4; source++) {
    for (let target = 0; target < 4; target++) {
      if (source === target) continue;
      const mixed =
        Math.imul(0xca01f9dd, pool[target] as number) - Math.imul(0x4973f715, hashed(pool[source] as number));
      pool[target] = mixed ^ (mixed >>> 16);
    }
  }
  constant = 0x8b51f9dd;
  return Array.from({ length: count }, (_, i) => {
    let word = (pool[i % 4] as number) ^ constant;
    constant = Math.imul(constant, 0x58f38ded);
    word = Math.imul(word, constant);
    return (word ^ (word >>> 16)) >>> 0;
  });
}
