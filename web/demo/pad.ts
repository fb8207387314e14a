/** The drawing area: pointer strokes in a box of 100×100, whatever its size on the screen. */
import type { Point, Stroke } from "./digitize.js";

const PEN = 7;

export class Pad extends EventTarget {
  #strokes: Point[][] = [];
  #drawing: number | undefined;

  constructor(private readonly canvas: HTMLCanvasElement) {
    super();
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#extend(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => {
        this.#drawing = undefined;
      });
    }
    new ResizeObserver(() => this.#paint()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#paint());
  }

  get strokes(): readonly Stroke[] {
    return this.#strokes;
  }

  set strokes(strokes: readonly Stroke[]) {
    this.#strokes = strokes.map((stroke) => [...stroke]);
    this.#changed();
  }

  #begin(event: PointerEvent): void {
    if (event.button !== 0 || this.#drawing !== undefined) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.#drawing = event.pointerId;
    this.#strokes.push([this.#point(event)]);
    this.#changed();
  }

  #extend(event: PointerEvent): void {
    if (event.pointerId !== this.#drawing) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    this.#strokes.at(-1)?.push(...(moves.length > 0 ? moves : [event]).map((move) => this.#point(move)));
    this.#changed();
  }

  #point(event: PointerEvent): Point {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * 100,
      y: ((event.clientY - box.top) / box.height) * 100,
    };
  }

  #changed(): void {
    this.#paint();
    this.dispatchEvent(new Event("change"));
  }

  #paint(): void {
    const { canvas } = this;
    const size = Math.round(canvas.clientWidth * devicePixelRatio);
    if (canvas.width !== size) canvas.width = canvas.height = size;
    const context = canvas.getContext("2d");
    if (!context) return;
    context.setTransform(size / 100, 0, 0, size / 100, 0, 0);
    context.clearRect(0, 0, 100, 100);
    context.strokeStyle = getComputedStyle(canvas).getPropertyValue("--ink");
    context.lineWidth = PEN;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of this.#strokes) {
      context.beginPath();
      for (const { x, y } of stroke) context.lineTo(x, y);
      // A tap is a dot: a line to itself has no length, but round ends.
      if (stroke.length === 1 && stroke[0]) context.lineTo(stroke[0].x + 0.01, stroke[0].y);
      context.stroke();
    }
  }
}
