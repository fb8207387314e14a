/**
 * Runs the checks of the kernels' runtime inside of an engine and reports them, one line each: `?suite=pyodide` those of
 * Pyodide, `?suite=threads` those of threads, `?suite=pool` those of the pool of workers, of streams and of the classes by other packages' names. A page needs nothing but this script, so that any engine that opens an address can run it.
 */
import { anyChecks, kernelChecks } from "./classes_checks.mjs";
import { once } from "./once.mjs";
import { loseNothing, poolChecks } from "./pool_checks.mjs";
import { streamChecks } from "./stream_checks.mjs";
import { close, equal } from "./wasm_assert.mjs";
import { checks } from "./wasm_checks.mjs";
import { checkPromises, checkVectors } from "./wasm_golden.mjs";
import { inSmallParts, threadChecks } from "./wasm_thread_checks.mjs";
import { workerChecks } from "./wasm_worker_checks.mjs";

const report = { done: false, results: [], agent: navigator.userAgent };
globalThis.report = report;

async function run(what, body) {
  const started = performance.now();
  let error;
  try {
    await body();
  } catch (thrown) {
    error = `${thrown?.name}: ${thrown?.message}`;
  }
  report.results.push({ what, error, ms: performance.now() - started });
}

async function vectorsOf(name) {
  return (await fetch(new URL(`../../tests/vectors/${name}.json`, import.meta.url))).json();
}

async function kernels() {
  const started = performance.now();
  const api = await import("../dist/lib/browser/wasm.js");
  const best = await api.load();
  report.backend = best.backend;
  report.supported = api.supportedBackends();
  report.startMilliseconds = performance.now() - started;
  await best.preload("all");
  for (const backend of api.supportedBackends()) {
    const ra = await api.load({ backend, preload: "all" });
    for (const [what, body] of checks) {
      if (backend !== best.backend && once(what)) continue;
      await run(`${backend}: ${what}`, () => body(ra, api, backend));
    }
    for (const name of best.mechanisms)
      await run(`${backend}: golden vectors of ${name}`, async () => {
        const vectors = await vectorsOf(name);
        equal(checkVectors(ra, name, vectors), vectors.cases.length, "the cases that passed");
      });
  }
  const inWorker = await api.load({ worker: true });
  for (const [what, body] of workerChecks) await run(`a worker: ${what}`, () => body(inWorker, api));
  inWorker.close();
  globalThis.makeAndDispose = (times) => {
    const row = Float32Array.of(1, 2, 3, 4);
    for (let i = 0; i < times; i++) {
      const attention = best.createSync("flash", { dim: 4 });
      const memory = best.memorySync([row], [row]);
      attention.forwardSync(row, memory);
      attention.free();
      memory.free();
    }
  };
}

async function threads() {
  const api = await import("../dist/lib/browser/wasm.js");
  const [ra, one] = await Promise.all([
    api.load({ threads: 2, preload: "all" }),
    api.load({ preload: "all" }),
  ]);
  report.backend = ra.backend;
  report.threads = ra.threads;
  if (ra.threads > 1)
    for (const [what, body] of threadChecks) await run(`threads: ${what}`, () => body(ra, one, api));
  for (const name of one.mechanisms)
    await run(`threads: golden vectors of ${name}`, async () => {
      const vectors = await vectorsOf(name);
      const passed = await inSmallParts(ra, () => checkPromises(ra, name, vectors));
      equal(passed, vectors.cases.length, "the cases that passed");
    });
  ra.close();
}

async function pyodide() {
  const { clearCache, load } = await import("../dist/lib/browser/index.js");
  await clearCache();
  let ra;
  let isKept;
  const kept = new Promise((resolve, reject) => {
    isKept = (stage) => (stage === "Kept for the next start" ? resolve() : reject(new Error(stage)));
  });
  await run("Pyodide starts in a worker, from one assetBase", async () => {
    const onProgress = ({ stage, keeping }) => keeping === false && isKept(stage);
    ra = await load({ assetBase: "../dist/page/", onProgress });
    const { backend } = await ra.describe();
    report.backend = backend;
  });
  const golden = async (ra) => {
    for (const { mechanism, config, inputs, options, expected, tolerance, name } of (await vectorsOf("flash"))
      .cases) {
      const attention = await ra.create(mechanism, config);
      const given = Object.values(inputs).map(({ data, shape }) => ({
        data: Float32Array.from(data),
        shape,
      }));
      const { data, shape } = expected.output;
      const output = await attention.forward(...given, options);
      close(output, { data: data.map(Number), shape }, tolerance, name);
      await attention.dispose();
    }
  };
  await run("Pyodide: golden vectors of flash", () => golden(ra));
  await run("Pyodide starts from what was kept, without NumPy, the wheel and the library", async () => {
    await kept;
    ra.close();
    const stages = [];
    const onProgress = ({ stage }) => stages.push(stage);
    performance.clearResourceTimings();
    const again = await load({ assetBase: "../dist/page/", worker: false, onProgress });
    equal(stages.join(), "Reading what an earlier start kept,Starting Python,Importing,Ready", "the stages");
    const fetched = performance.getEntriesByType("resource").map(({ name }) => name.split("/").at(-1));
    equal(fetched.filter((name) => /\.(whl|zip)$/.test(name)).join(), "", "what was fetched again");
    equal(fetched.includes("pyodide.asm.wasm"), true, "that fetches are seen");
    await golden(again);
    again.close();
    equal(await clearCache(), true, "that there was one");
  });
}

async function pool() {
  const api = await import("../dist/lib/browser/index.js");
  for (const [what, body] of poolChecks) await run(`a pool: ${what}`, () => body(api));
  await run("a pool: 100 workers that closed themselves lose no task", () => loseNothing(api, 100, 2));
  const kernelsApi = await import("../dist/lib/browser/wasm.js");
  for (const worker of [false, true]) {
    const ra = await kernelsApi.load({ worker });
    const where = worker ? "a worker" : "this thread";
    for (const [what, body] of streamChecks) await run(`${where}: ${what}`, () => body(ra, kernelsApi));
    ra.close();
  }
  const classes = await import("../dist/lib/browser/classes.js");
  await classes.init();
  report.backend = classes.getFeatures()[0];
  for (const [what, body] of [...kernelChecks, ...anyChecks])
    await run(`classes: ${what}`, () => body(classes));
}

const suites = { kernels, threads, pyodide, pool };
try {
  await suites[new URL(location.href).searchParams.get("suite") ?? "kernels"]();
} catch (error) {
  report.results.push({
    what: "the suite runs to its end",
    error: `${error?.name}: ${error?.message}`,
    ms: 0,
  });
}
report.done = true;
