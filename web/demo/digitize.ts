/**
 * Strokes to the 8×8 counts of the digits data set, in the way its 32×32 bitmaps were made: the preprocessing of NIST
 * stretched each digit to 20 columns and 32 rows, took out its slant and evened out its ink. Every bitmap of the set has
 * about 313 dark pixels, a "1" as many as an "8".
 */

export interface Point {
  x: number;
  y: number;
}
export type Stroke = readonly Point[];

const SIZE = 32;
const WIDTH = 20;
const BLOCK = 4;
const INK = 313;
/** How far a narrow digit is widened at most; a "1" would else become a bar of 20 columns. */
const STRETCH = 1.8;
/** The part of the slant that is taken out (all of it would set a 7 upright), and the slant that is believed. */
const DESLANT = 0.7;
const SLANT = 0.6;

/** 64 values from 0 to 16, row by row; undefined when there is nothing to see. */
export function digitize(strokes: readonly Stroke[]): Float32Array | undefined {
  if (strokes.every((stroke) => stroke.length === 0)) return undefined;
  const upright = deslanted(strokes.filter((stroke) => stroke.length > 0));
  // The pen's thickness is what gives the ink its amount, and the drawing shrinks so that thick lines stay inside.
  let thin = 0.8;
  let thick = 7;
  let bitmap = drawn(upright, thick);
  for (let round = 0; round < 12; round++) {
    const radius = (thin + thick) / 2;
    bitmap = drawn(upright, radius);
    if (ink(bitmap) > INK) thick = radius;
    else thin = radius;
  }
  const counts = new Float32Array(64);
  for (let y = 0; y < SIZE; y++) {
    for (let x = 0; x < SIZE; x++) {
      const block = Math.floor(y / BLOCK) * 8 + Math.floor(x / BLOCK);
      counts[block] = (counts[block] as number) + (bitmap[y * SIZE + x] as number);
    }
  }
  return counts;
}

/** Sheared so that the ink of every row lies, on the whole, over that of the others. */
function deslanted(strokes: readonly Stroke[]): Stroke[] {
  let weight = 0;
  let meanX = 0;
  let meanY = 0;
  const pieces = strokes.flatMap(segments);
  for (const [a, b] of pieces) {
    const length = Math.hypot(b.x - a.x, b.y - a.y);
    weight += length;
    meanX += (length * (a.x + b.x)) / 2;
    meanY += (length * (a.y + b.y)) / 2;
  }
  if (weight === 0) return [...strokes];
  meanX /= weight;
  meanY /= weight;
  let xy = 0;
  let yy = 0;
  for (const [a, b] of pieces) {
    const length = Math.hypot(b.x - a.x, b.y - a.y);
    const x = (a.x + b.x) / 2 - meanX;
    const y = (a.y + b.y) / 2 - meanY;
    xy += length * x * y;
    yy += length * y * y;
  }
  const shear = yy === 0 ? 0 : Math.max(-SLANT, Math.min(SLANT, xy / yy)) * DESLANT;
  return strokes.map((stroke) => stroke.map(({ x, y }) => ({ x: x - shear * (y - meanY), y })));
}

/** The strokes in the 20×32 box in the middle of 32×32, with a round pen of this radius; 1 is dark. */
function drawn(strokes: readonly Stroke[], radius: number): Uint8Array {
  const xs = strokes.flatMap((stroke) => stroke.map((point) => point.x));
  const ys = strokes.flatMap((stroke) => stroke.map((point) => point.y));
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const boxHeight = SIZE - 2 * radius;
  const boxWidth = Math.max(WIDTH - 2 * radius, 1);
  // A dash keeps its proportions: it is not blown up to the full height.
  const scaleY = Math.min(
    boxHeight / Math.max(bottom - top, 1e-6),
    (boxWidth / Math.max(right - left, 1e-6)) * 3,
  );
  const scaleX = Math.min(boxWidth / Math.max(right - left, 1e-6), scaleY * STRETCH);
  const place = ({ x, y }: Point): Point => ({
    x: SIZE / 2 + (x - (left + right) / 2) * scaleX,
    y: SIZE / 2 + (y - (top + bottom) / 2) * scaleY,
  });
  const bitmap = new Uint8Array(SIZE * SIZE);
  for (const [a, b] of strokes.flatMap((stroke) => segments(stroke.map(place)))) {
    const minX = Math.max(0, Math.floor(Math.min(a.x, b.x) - radius));
    const maxX = Math.min(SIZE - 1, Math.ceil(Math.max(a.x, b.x) + radius));
    const minY = Math.max(0, Math.floor(Math.min(a.y, b.y) - radius));
    const maxY = Math.min(SIZE - 1, Math.ceil(Math.max(a.y, b.y) + radius));
    for (let y = minY; y <= maxY; y++) {
      for (let x = minX; x <= maxX; x++) {
        if (distance({ x: x + 0.5, y: y + 0.5 }, a, b) < radius) bitmap[y * SIZE + x] = 1;
      }
    }
  }
  return bitmap;
}

function segments(stroke: Stroke): [Point, Point][] {
  const first = stroke[0] as Point;
  if (stroke.length === 1) return [[first, first]];
  return stroke.slice(1).map((point, i) => [stroke[i] as Point, point]);
}

/** From a point to the segment from a to b. */
function distance(point: Point, a: Point, b: Point): number {
  const dx = b.x - a.x;
  const dy = b.y - a.y;
  const square = dx * dx + dy * dy;
  const along = square === 0 ? 0 : ((point.x - a.x) * dx + (point.y - a.y) * dy) / square;
  const t = Math.max(0, Math.min(1, along));
  return Math.hypot(point.x - a.x - t * dx, point.y - a.y - t * dy);
}

function ink(bitmap: Uint8Array): number {
  return bitmap.reduce((sum, pixel) => sum + pixel, 0);
}
