/** Hosts Pyodide in whatever thread it is imported into, and hands the four verbs to bridge.py. */
import { Crossing } from "./crossing.js";
import { LoadError } from "./errors.js";
import type { SpareMemory } from "./lent_memory.js";
import { pathOf } from "./places.js"; // Pyodide in Node wants paths, not file: URLs
import {
  type Answer,
  type Host,
  type HostAssets,
  INTERRUPT,
  type Progress,
  type Verb,
  type Verbs,
} from "./protocol.js";
import type { Pyodide, PyodideModule } from "./pyodide_api.js";
import type { Files } from "./start_archive.js";
import { type Installed, keep, putBack, readKept, store } from "./start_keeper.js";
import { StartSources } from "./start_sources.js";
import { openStore, type StartStore } from "./start_store.js";

export interface PyodideAssets extends HostAssets {
  /** The wheel's SHA-256, where it is known. */
  wheelHash?: string | undefined;
  /** The Cache or folder where starts are kept. */
  cache?: string | undefined;
}

type Report = (progress: Progress) => void;

const MODULES = "/home/pyodide/modules";
/** Milliseconds without a request after which there is nothing better to do than to keep a start, */
const CALM = 50;
/** and those for which it waits for them. */
const PATIENCE = 30_000;

export class PyodideHost implements Host {
  #pyodide: Pyodide | undefined;
  #crossing: Crossing | undefined;
  #interrupts: SharedArrayBuffer | undefined;
  #lastRequest = 0;

  /** With memory of its own for results, where there is time to look for it: in a worker. */
  constructor(private readonly results?: SpareMemory) {}

  async start(assets: PyodideAssets, progress: Report): Promise<Answer> {
    const sources = new StartSources(assets.indexURL, assets.wheel, assets.wheelHash);
    const kept = assets.cache === undefined ? undefined : await openStore(assets.cache);
    const place = kept && (await sources.place());
    if (kept && place && (await kept.find(place).catch(() => undefined)) !== undefined) {
      progress({ stage: "Reading what an earlier start kept", fraction: 0.02 });
      const files = await this.#keptFiles(kept, place, assets, sources);
      try {
        if (files) return await this.#startFrom(files, assets, progress);
      } catch {
        // Whatever it is, a start from the beginning is the better one to complain.
        await kept.remove(place).catch(() => {});
      }
    }
    const { installed, isWhole } = await this.#startAnew(assets, sources, progress);
    if (!kept || !place || !isWhole) {
      progress({ stage: "Ready", fraction: 1 });
      return this.request("describe", {}, 0);
    }
    progress({ stage: "Ready", fraction: 1, keeping: true });
    const answer = this.request("describe", {}, 0);
    this.#keepLater(kept, place, assets, sources, installed, progress);
    return answer;
  }

  request(verb: Verb, args: Verbs[Verb], id: number): Answer {
    if (!this.#crossing) throw new LoadError("the runtime has not started");
    if (this.#interrupts) {
      Atomics.store(new Int32Array(this.#interrupts), INTERRUPT.id, id);
      Atomics.store(new Uint8Array(this.#interrupts), INTERRUPT.signal, 0); // one that came too late
    }
    this.#lastRequest = performance.now();
    return this.#crossing.request(verb, args);
  }

  answered(): void {
    this.results?.prepare();
  }

  async #keptFiles(
    kept: StartStore,
    place: string,
    assets: PyodideAssets,
    sources: StartSources,
  ): Promise<Files | undefined> {
    try {
      const { version } = await moduleOf(assets);
      return await readKept(kept, place, await sources.key(version));
    } catch {
      return undefined; // what is missing is told of by the start from the beginning
    }
  }

  async #startFrom(files: Files, assets: PyodideAssets, progress: Report): Promise<Answer> {
    const pyodide = await step(progress, "Starting Python", 0.3, async () => {
      const { loadPyodide } = await moduleOf(assets);
      const indexURL = pathOf(assets.indexURL);
      return loadPyodide({
        indexURL,
        // Something small, in the HTTP cache already, in the place of the library: it is replaced before Python reads it.
        stdLibURL: `${indexURL}pyodide.mjs`,
        fsInit: (fs, { sitePackages }) => putBack(fs, sitePackages, files),
      });
    });
    await this.#import(pyodide, assets, progress);
    progress({ stage: "Ready", fraction: 1 });
    return this.request("describe", {}, 0);
  }

  /** `isWhole`: all that was installed came from addresses that a key names. */
  async #startAnew(
    assets: PyodideAssets,
    sources: StartSources,
    progress: Report,
  ): Promise<{ installed: Installed; isWhole: boolean }> {
    // They come while Python starts.
    const [wheel, numpy] = [sources.wheel(), sources.numpy()];
    let sitePackages = "";
    const pyodide = await step(progress, "Starting Python", 0.05, async () => {
      const { loadPyodide } = await moduleOf(assets);
      const fsInit = async (_: unknown, info: { sitePackages: string }) => {
        sitePackages = info.sitePackages;
      };
      return loadPyodide({ indexURL: pathOf(assets.indexURL), fsInit });
    });
    const given = new Set(pyodide.FS.readdir(sitePackages));
    // Unpacked they are imported as they are needed; loadPackage would compile every library of theirs first.
    const unpack = (bytes: Uint8Array) => pyodide.unpackArchive(bytes, "wheel", { extractDir: sitePackages });
    let isWhole = true;
    await step(progress, "Loading NumPy", 0.6, async () => {
      const bytes = await numpy;
      if (bytes) {
        unpack(bytes);
        pyodide.loadedPackages.numpy = "default channel"; // so that packages that need it do not load it again
      } else {
        isWhole = false;
        await loadPackage(pyodide, "numpy");
      }
    });
    await step(progress, "Loading the attention kernels", 0.8, async () => unpack(await wheel));
    const names = pyodide.FS.readdir(sitePackages).filter((name) => !given.has(name));
    await this.#import(pyodide, assets, progress);
    return { installed: { sitePackages, names }, isWhole };
  }

  async #import(pyodide: Pyodide, assets: PyodideAssets, progress: Report): Promise<void> {
    for (const [name, source] of Object.entries(assets.modules)) {
      pyodide.FS.mkdirTree(MODULES);
      pyodide.FS.writeFile(`${MODULES}/${name}.py`, source);
    }
    await step(progress, "Importing", 0.85, async () => {
      pyodide.runPython(
        `import importlib, sys; sys.path.append(${JSON.stringify(MODULES)}); importlib.invalidate_caches()`,
      );
      this.#crossing = new Crossing(pyodide.pyimport("ruvector_attention.bridge"), this.results?.copyOf);
      // A user's mechanisms register themselves by being imported, so that describe() has them.
      for (const name of Object.keys(assets.modules)) pyodide.pyimport(name).destroy();
    });
    this.#pyodide = pyodide;
    if (assets.interrupts) {
      this.#interrupts = assets.interrupts;
      pyodide.setInterruptBuffer(new Uint8Array(assets.interrupts));
    }
  }

  /** When the answer is on its way, and piece by piece, so that nothing waits for it. */
  #keepLater(
    kept: StartStore,
    place: string,
    assets: PyodideAssets,
    sources: StartSources,
    installed: Installed,
    progress: Report,
  ): void {
    const pyodide = this.#pyodide as Pyodide;
    const limit = performance.now() + PATIENCE;
    const calm = async (): Promise<void> => {
      do await idle();
      while (performance.now() - this.#lastRequest < CALM && performance.now() < limit);
    };
    const work = async (): Promise<string> => {
      const key = await sources.key((await moduleOf(assets)).version);
      if ((await kept.find(place)) === key) return "Another start was kept";
      await keep(pyodide, installed, calm, (files) => store(kept, place, key, files));
      return "Kept for the next start";
    };
    alone(place, work).then(
      (stage) => progress({ stage, fraction: 1, keeping: false }),
      (error) => progress({ stage: `Not kept: ${error}`, fraction: 1, keeping: false }),
    );
  }
}

async function step<T>(
  progress: Report,
  stage: string,
  fraction: number,
  work: () => Promise<T>,
): Promise<T> {
  progress({ stage, fraction });
  try {
    return await work();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new LoadError(`${stage} failed: ${reason.trim()}`);
  }
}

/** loadPackage does not reject when a download fails, it only tells of it. */
async function loadPackage(pyodide: Pyodide, name: string): Promise<void> {
  const complaints: string[] = [];
  const errorCallback = (text: string) => complaints.push(text);
  await pyodide.loadPackage(name, { messageCallback: () => {}, errorCallback });
  if (complaints.length > 0) throw new Error(complaints.join("\n"));
}

async function moduleOf({ indexURL }: PyodideAssets): Promise<PyodideModule> {
  const entry = new URL("pyodide.mjs", indexURL).href;
  return (await import(entry)) as PyodideModule;
}

/** Of several workers of a page that start at the same time, one keeps its start. */
async function alone(place: string, work: () => Promise<string>): Promise<string> {
  const locks = globalThis.navigator?.locks;
  if (!locks) return work();
  const options = { ifAvailable: true };
  return locks.request(`ruvector-attention start ${place}`, options, (lock) =>
    lock ? work() : "Another start is kept",
  );
}

function idle(): Promise<void> {
  if (typeof requestIdleCallback === "function")
    return new Promise((resolve) => requestIdleCallback(() => resolve(), { timeout: 1000 }));
  return new Promise((resolve) => setTimeout(resolve, 4));
}
