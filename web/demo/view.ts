/** Puts the answers of the reader on the page. */

/** An element that index.html promises. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no #${id}`);
  return found as T;
}

const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });

export function duration(seconds: number): string {
  if (seconds >= 1) return `${seconds.toFixed(2)} s`;
  return seconds >= 0.001 ? `${(seconds * 1e3).toFixed(2)} ms` : `${(seconds * 1e6).toFixed(0)} µs`;
}

/** 64 values from 0 to 16 as dark on light (or light on dark) squares. */
export function paintDigit(canvas: HTMLCanvasElement, values: ArrayLike<number>): void {
  canvas.width = canvas.height = 8;
  const context = canvas.getContext("2d");
  if (!context) return;
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink");
  for (let i = 0; i < 64; i++) {
    context.globalAlpha = Math.min(1, (values[i] ?? 0) / 16);
    context.fillRect(i % 8, Math.floor(i / 8), 1, 1);
  }
}

export interface Reading {
  digit: number;
  probabilities: ArrayLike<number>;
  nearest: ArrayLike<number>;
  weights: ArrayLike<number>;
  seconds: number;
  backend: string;
}

export interface Bank {
  images: Uint8Array;
  labels: Int32Array;
  held_out: Uint8Array;
  held_out_labels: Int32Array;
}

export interface Evaluation {
  mechanism: string;
  correct: number;
  total: number;
  accuracy: number;
  seconds: number;
  seconds_per_query: number;
  backend: string;
  predicted: Int32Array;
}

export function prepareBars(): void {
  element("bars").replaceChildren(
    ...Array.from({ length: 10 }, (_, digit) => {
      const item = document.createElement("li");
      item.innerHTML = `<span class="track" aria-hidden="true"><span class="fill"></span></span><span class="name" aria-hidden="true">${digit}</span>`;
      return item;
    }),
  );
}

export function showReading(reading: Reading, bank: Bank): void {
  const sure = reading.probabilities[reading.digit] ?? 0;
  element("digit").textContent = String(reading.digit);
  element("sure").textContent = `${percent.format(sure)} of the attention`;
  element("prediction").dataset.digit = String(reading.digit);
  [...element("bars").children].forEach((item, digit) => {
    const share = reading.probabilities[digit] ?? 0;
    item.classList.toggle("best", digit === reading.digit);
    item.setAttribute("aria-label", `${digit}: ${percent.format(share)}`);
    (item as HTMLElement).title = percent.format(share);
    const fill = item.querySelector<HTMLElement>(".fill");
    if (fill) fill.style.transform = `scaleY(${share})`;
  });
  const most = reading.weights[0] ?? 1;
  element("nearest").replaceChildren(
    ...Array.from(reading.nearest, (index, rank) => {
      const weight = reading.weights[rank] ?? 0;
      const label = bank.labels[index];
      const item = picture(bank.images.subarray(index * 64, index * 64 + 64), `a stored ${label}`);
      item.insertAdjacentHTML(
        "beforeend",
        `<div class="share"></div><b>${label}</b> ${percent.format(weight)}`,
      );
      const share = item.querySelector<HTMLElement>(".share");
      if (share) share.style.transform = `scaleX(${weight / most})`;
      return item;
    }),
  );
  element("time").textContent = duration(reading.seconds);
  element("backend").textContent = reading.backend;
}

export function clearReading(): void {
  element("digit").textContent = "–";
  element("sure").textContent = "draw something";
  delete element("prediction").dataset.digit;
  element("nearest").replaceChildren();
  for (const item of element("bars").children) {
    item.classList.remove("best");
    item.removeAttribute("aria-label");
    const fill = item.querySelector<HTMLElement>(".fill");
    if (fill) fill.style.transform = "";
  }
}

export function showEvaluation(result: Evaluation, bank: Bank): void {
  element("accuracy").textContent =
    `${result.correct} of ${result.total} (${percent.format(result.accuracy)})`;
  element("time").textContent = duration(result.seconds_per_query);
  element("backend").textContent = result.backend;
  const wrong = [...result.predicted.keys()].filter((i) => result.predicted[i] !== bank.held_out_labels[i]);
  element("misread").hidden = wrong.length === 0;
  element("misread")
    .querySelector("ul")
    ?.replaceChildren(
      ...wrong.slice(0, 6).map((i) => {
        const values = bank.held_out.subarray(i * 64, i * 64 + 64);
        const item = picture(values, `a held-out ${bank.held_out_labels[i]}`);
        item.append(`${bank.held_out_labels[i]} taken for ${result.predicted[i]}`);
        return item;
      }),
      ...(wrong.length > 6
        ? [Object.assign(document.createElement("li"), { textContent: `and ${wrong.length - 6} more` })]
        : []),
    );
}

function picture(values: ArrayLike<number>, label: string): HTMLLIElement {
  const item = document.createElement("li");
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  paintDigit(canvas, values);
  item.append(canvas);
  return item;
}
