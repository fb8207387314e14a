/** The page: draws, asks the reader (digits_job.py in Pyodide, in a worker), shows what it answers. */
import {
  type Attention,
  AttentionError,
  load,
  type MechanismDescription,
  type RuvectorAttention,
} from "../src/index.js";
import { digitize, type Stroke } from "./digitize.js";
import { example } from "./examples.js";
import { Pad } from "./pad.js";
import { type Config, type Form, readSettings, showSettings } from "./settings.js";
import {
  type Bank,
  clearReading,
  type Evaluation,
  element,
  paintDigit,
  prepareBars,
  type Reading,
  showEvaluation,
  showReading,
} from "./view.js";

const pad = new Pad(element<HTMLCanvasElement>("pad"));
const mechanismSelect = element<HTMLSelectElement>("mechanism");
const options = element<HTMLFieldSetElement>("options");

/** What is there once Python runs. */
interface Running {
  ra: RuvectorAttention;
  reader: Attention;
  bank: Bank;
  form: Form;
}
let running: Running | undefined;

async function start(): Promise<void> {
  setState("loading");
  const progress = element<HTMLProgressElement>("progress");
  try {
    const job = await fetch("digits_job.py");
    if (!job.ok)
      throw new AttentionError(`digits_job.py cannot be loaded: the server answered ${job.status}`);
    const ra = await load({
      assetBase: "./",
      workerURL: new URL("worker.js", import.meta.url),
      modules: { digits_job: await job.text() },
      onProgress: ({ stage, fraction }) => {
        element("stage").textContent = `${stage}…`;
        progress.value = fraction * 0.9; // the job's own start is the rest
      },
    });
    element("stage").textContent = "Storing 1 500 digits…";
    const reader = await ra.create("digits_job:DigitReader");
    const bank = (await reader.call("bank")) as Bank;
    const candidates = (await reader.call("candidates")) as string[];
    const form = (await reader.call("form")) as Form;
    running = { ra, reader, bank, form };
    await offerMechanisms(candidates);
    setState("ready");
    if (pad.strokes.length === 0) void draw(3);
    else void read();
  } catch (error) {
    fail(error);
  }
}

function setState(state: "loading" | "ready" | "failed"): void {
  document.documentElement.dataset.state = state;
  element("loading").hidden = state !== "loading";
  element("failure").hidden = state !== "failed";
  element("answer").hidden = state !== "ready";
  for (const id of ["mechanism", "options", "defaults"]) {
    (element(id) as HTMLSelectElement).disabled = state !== "ready";
  }
}

function fail(error: unknown): void {
  running?.ra.close();
  running = undefined;
  console.error(error);
  element("failure-text").textContent = error instanceof Error ? error.message : String(error);
  setState("failed");
}

// --- reading

let asked = false;
let busy = false;

/** Reads what is drawn now; while an answer is under way only the newest drawing waits. */
async function read(): Promise<void> {
  asked = true;
  delete element("prediction").dataset.settled;
  if (busy) return;
  busy = true;
  try {
    while (asked && running) {
      asked = false;
      const query = digitize(pad.strokes);
      const reading = query && ((await running.reader.call("classify", query)) as Reading);
      if (reading && pad.strokes.length > 0) showReading(reading, running.bank);
      else clearReading();
    }
    element("prediction").dataset.settled = "";
  } catch (error) {
    fail(error);
  } finally {
    busy = false;
  }
}

pad.addEventListener("change", () => {
  element("pad-hint").hidden = pad.strokes.length > 0;
  paintDigit(element<HTMLCanvasElement>("seen"), digitize(pad.strokes) ?? []);
  if (running) void read();
});

/** Draws an example as a hand would, unless the visitor prefers no motion. */
let animation = 0;
async function draw(digit: number): Promise<void> {
  const strokes = example(digit);
  const run = ++animation;
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
    const length = strokes.reduce((sum, stroke) => sum + stroke.length, 0);
    for (let shown = 4; shown < length; shown += 4) {
      pad.strokes = beginning(strokes, shown);
      await new Promise(requestAnimationFrame);
      if (run !== animation) return;
    }
  }
  pad.strokes = strokes;
}

/** The strokes as far as their first `points` points. */
function beginning(strokes: readonly Stroke[], points: number): Stroke[] {
  const drawn: Stroke[] = [];
  let left = points;
  for (const stroke of strokes) {
    if (left <= 0) break;
    drawn.push(stroke.slice(0, left));
    left -= stroke.length;
  }
  return drawn;
}

function clear(): void {
  animation++;
  pad.strokes = [];
}

// --- mechanisms and their settings

function described(name: string): MechanismDescription | undefined {
  return running?.ra.description.mechanisms.find((mechanism) => mechanism.name === name);
}

async function offerMechanisms(names: string[]): Promise<void> {
  mechanismSelect.replaceChildren(...names.map((name) => new Option(name.replaceAll("_", " "), name)));
  mechanismSelect.value = names.includes("scaled_dot_product") ? "scaled_dot_product" : (names[0] ?? "");
  await configure({});
}

async function configure(settings: Config): Promise<void> {
  const mechanism = described(mechanismSelect.value);
  if (!running || !mechanism) return;
  try {
    const config = (await running.reader.call("configure", mechanism.name, settings)) as Config;
    showSettings(options, mechanism, config, running.form);
    element("summary").textContent = mechanism.summary;
    element("problem").hidden = true;
    showEvaluation((await running.reader.call("evaluate")) as Evaluation, running.bank);
    void read();
  } catch (error) {
    if (!(error instanceof AttentionError) || error.name === "RuntimeLostError") return fail(error);
    element("problem").textContent = error.message;
    element("problem").hidden = false;
  }
}

// --- wiring

mechanismSelect.addEventListener("change", () => void configure({}));
options.addEventListener("change", () => {
  const mechanism = described(mechanismSelect.value);
  if (mechanism) void configure(readSettings(options, mechanism));
});
element("settings").addEventListener("submit", (event) => event.preventDefault());
element("defaults").addEventListener("click", (event) => {
  event.preventDefault();
  mechanismSelect.selectedIndex = Math.max(
    0,
    [...mechanismSelect.options].findIndex((o) => o.value === "scaled_dot_product"),
  );
  void configure({});
});
element("clear").addEventListener("click", clear);
element("retry").addEventListener("click", () => void start());
element("pad").addEventListener("pointerdown", () => animation++, { capture: true });
element("pad").addEventListener("keydown", (event) => {
  if (/^[0-9]$/.test(event.key)) void draw(Number(event.key));
  else if (event.key === "Escape" || event.key === "Backspace") clear();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  paintDigit(element<HTMLCanvasElement>("seen"), digitize(pad.strokes) ?? []);
  void read();
});
element("examples").append(
  ...Array.from({ length: 10 }, (_, digit) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = String(digit);
    button.setAttribute("aria-label", `draw a ${digit}`);
    button.addEventListener("click", () => void draw(digit));
    return button;
  }),
);
prepareBars();

// What the demo script and the page's tests ask for; everything else they do as a visitor would.
Object.assign(globalThis, {
  demo: {
    example,
    evaluate: async () => {
      const result = (await running?.reader.call("evaluate")) as Evaluation;
      return { ...result, predicted: [...result.predicted] };
    },
  },
});
void start();
