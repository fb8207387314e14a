/** One drawing of each digit, in a box of 100×100: shown when the page opens and used by the page's tests. */
import type { Point, Stroke } from "./digitize.js";

/** Control points of each stroke; the curve through them is smooth. */
const POINTS: readonly (readonly (readonly [number, number])[])[][] = [
  [
    [
      [55, 14],
      [34, 20],
      [25, 50],
      [34, 80],
      [52, 86],
      [70, 78],
      [76, 50],
      [68, 22],
      [54, 14],
    ],
  ],
  [
    [
      [40, 28],
      [54, 14],
      [54, 40],
      [54, 64],
      [54, 87],
    ],
  ],
  [
    [
      [28, 30],
      [38, 16],
      [58, 14],
      [70, 27],
      [64, 46],
      [46, 66],
      [27, 85],
      [50, 84],
      [75, 85],
    ],
  ],
  [
    [
      [28, 22],
      [45, 13],
      [64, 18],
      [67, 33],
      [56, 45],
      [43, 48],
    ],
    [
      [43, 48],
      [62, 51],
      [71, 66],
      [64, 82],
      [46, 88],
      [28, 80],
    ],
  ],
  [
    [
      [52, 12],
      [40, 34],
      [25, 58],
    ],
    [
      [25, 58],
      [50, 58],
      [78, 58],
    ],
    [
      [62, 34],
      [61, 60],
      [60, 88],
    ],
  ],
  [
    [
      [70, 14],
      [52, 14],
      [36, 15],
    ],
    [
      [36, 15],
      [34, 30],
      [32, 45],
    ],
    [
      [32, 45],
      [50, 41],
      [67, 48],
      [72, 65],
      [62, 82],
      [44, 87],
      [27, 80],
    ],
  ],
  [
    [
      [62, 13],
      [44, 28],
      [32, 52],
      [32, 72],
      [44, 86],
      [60, 84],
      [69, 70],
      [62, 56],
      [48, 53],
      [35, 64],
    ],
  ],
  [
    [
      [27, 16],
      [50, 15],
      [74, 15],
    ],
    [
      [74, 15],
      [62, 40],
      [52, 64],
      [44, 88],
    ],
    [
      [38, 52],
      [56, 51],
      [74, 51],
    ], // the writers of the data set nearly all cross their sevens
  ],
  [
    [
      [66, 24],
      [50, 13],
      [35, 22],
      [38, 38],
      [52, 48],
      [66, 60],
      [68, 76],
      [52, 88],
      [36, 80],
      [34, 66],
      [46, 51],
      [60, 40],
      [66, 24],
    ],
  ],
  [
    [
      [66, 34],
      [54, 46],
      [39, 42],
      [34, 28],
      [44, 15],
      [60, 16],
      [67, 30],
      [66, 52],
      [62, 72],
      [54, 88],
    ],
  ],
];

export function example(digit: number): Stroke[] {
  return (POINTS[digit] ?? []).map((stroke) => smooth(stroke.map(([x, y]) => ({ x, y }))));
}

/** Catmull–Rom through the points. */
function smooth(points: readonly Point[], steps = 8): Stroke {
  const at = (i: number): Point => points[Math.max(0, Math.min(points.length - 1, i))] as Point;
  const curve: Point[] = [];
  for (let i = 0; i < points.length - 1; i++) {
    const [p, q, r, s] = [at(i - 1), at(i), at(i + 1), at(i + 2)];
    for (let step = 0; step < steps; step++) {
      const t = step / steps;
      const blend = (a: number, b: number, c: number, d: number): number =>
        0.5 *
        (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t * t * t);
      curve.push({ x: blend(p.x, q.x, r.x, s.x), y: blend(p.y, q.y, r.y, s.y) });
    }
  }
  curve.push(at(points.length - 1));
  return curve;
}
