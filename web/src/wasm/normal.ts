/**
 * NumPy's Generator.standard_normal: the ziggurat of 256 layers (Marsaglia & Tsang, 2000), 52 bits of a draw for the
 * place in a layer, so that a seed gives the same numbers as in Python.
 */
import { fraction, type SeededRandom } from "./random.js";

const LAYERS = 256;
/** Where the tail begins, and the area of a layer. */
const TAIL = 3.6541528853610088;
const AREA = 0.004928673233974655;
const BITS = 2 ** 52;

interface Tables {
  /** Draws below this are inside of the layer above, width of a draw, height of the layer. */
  readonly inside: Float64Array;
  readonly width: Float64Array;
  readonly height: Float64Array;
}

let known: Tables | undefined;

function tables(): Tables {
  if (known) return known;
  const [inside, width, height] = [0, 0, 0].map(() => new Float64Array(LAYERS)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  let right = TAIL;
  height[LAYERS - 1] = Math.exp(-0.5 * right * right);
  width[LAYERS - 1] = right / BITS;
  inside[0] = Math.floor((right * (height[LAYERS - 1] as number) * BITS) / AREA);
  width[0] = AREA / (height[LAYERS - 1] as number) / BITS;
  height[0] = 1;
  for (let layer = LAYERS - 2; layer > 0; layer--) {
    const x = Math.sqrt(-2 * Math.log(AREA / right + (height[layer + 1] as number)));
    inside[layer + 1] = Math.floor((x / right) * BITS);
    width[layer] = x / BITS;
    height[layer] = Math.exp(-0.5 * x * x);
    right = x;
  }
  inside[1] = 0;
  known = { inside, width, height };
  return known;
}

/** `count` numbers of mean 0 and variance 1. */
export function normals(random: SeededRandom, count: number): Float64Array {
  const { inside, width, height } = tables();
  const one = (): number => {
    for (;;) {
      const bits = random.next();
      const layer = Number(bits & 0xffn);
      const place = Number((bits >> 9n) & 0xfffffffffffffn);
      const x = (bits & 0x100n ? -place : place) * (width[layer] as number);
      if (place < (inside[layer] as number)) return x;
      if (layer === 0) {
        for (;;) {
          const beyond = -Math.log1p(-fraction(random.next())) / TAIL;
          const y = -Math.log1p(-fraction(random.next()));
          if (y + y > beyond * beyond) return bits & 0x20000n ? -(TAIL + beyond) : TAIL + beyond;
        }
      }
      const [low, high] = [height[layer] as number, height[layer - 1] as number];
      if ((high - low) * fraction(random.next()) + low < Math.exp(-0.5 * x * x)) return x;
    }
  };
  return Float64Array.from({ length: count }, one);
}
