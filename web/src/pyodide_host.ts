/** Hosts Pyodide in whatever thread it is imported into, and hands the four verbs to bridge.py. */
import { LoadError } from "./errors.js";
import {
  type Answer,
  type Host,
  type HostAssets,
  INTERRUPT,
  type Progress,
  type Verb,
  type Verbs,
} from "./protocol.js";

/** The part of Pyodide's API that is used here. */
interface PyProxy {
  toJs(options: { dict_converter: (entries: Iterable<[string, unknown]>) => unknown }): unknown;
  destroy(): void;
}
interface Pyodide {
  loadPackage(names: string | string[], options?: object): Promise<unknown>;
  pyimport(module: string): PyProxy & { dispatch(verb: string, args: unknown): PyProxy };
  toPy(value: unknown): PyProxy;
  FS: { writeFile(path: string, text: string): void; mkdirTree(path: string): void };
  runPython(code: string): unknown;
  setInterruptBuffer(buffer: Uint8Array): void;
}
type LoadPyodide = (options: object) => Promise<Pyodide>;

const MODULES = "/home/pyodide/modules";

export class PyodideHost implements Host {
  #pyodide: Pyodide | undefined;
  #bridge: ReturnType<Pyodide["pyimport"]> | undefined;
  #interrupts: SharedArrayBuffer | undefined;

  async start(assets: HostAssets, progress: (p: Progress) => void): Promise<Answer> {
    // loadPackage does not reject when a download fails, it only tells of it here.
    const complaints: string[] = [];
    const quiet = { messageCallback: () => {}, errorCallback: (text: string) => complaints.push(text) };
    const step = async <T>(stage: string, fraction: number, work: () => Promise<T>): Promise<T> => {
      progress({ stage, fraction });
      try {
        const result = await work();
        if (complaints.length > 0) throw new Error(complaints.join("\n"));
        return result;
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new LoadError(`${stage} failed: ${reason.trim()}`);
      }
    };
    const pyodide = await step("Starting Python", 0.05, async () => {
      const entry = new URL("pyodide.mjs", assets.indexURL).href;
      const { loadPyodide } = (await import(entry)) as { loadPyodide: LoadPyodide };
      return loadPyodide({ indexURL: nodePath(assets.indexURL) });
    });
    await step("Loading NumPy", 0.6, () => pyodide.loadPackage("numpy", quiet));
    await step("Loading the attention kernels", 0.8, () => installWheel(pyodide, assets.wheel, quiet));
    for (const [name, source] of Object.entries(assets.modules)) {
      pyodide.FS.mkdirTree(MODULES);
      pyodide.FS.writeFile(`${MODULES}/${name}.py`, source);
    }
    await step("Importing", 0.85, async () => {
      pyodide.runPython(`import sys; sys.path.append(${JSON.stringify(MODULES)})`);
      this.#bridge = pyodide.pyimport("ruvector_attention.bridge");
      // A user's mechanisms register themselves by being imported, so that describe() has them.
      for (const name of Object.keys(assets.modules)) pyodide.pyimport(name).destroy();
    });
    this.#pyodide = pyodide;
    if (assets.interrupts) {
      this.#interrupts = assets.interrupts;
      pyodide.setInterruptBuffer(new Uint8Array(assets.interrupts));
    }
    progress({ stage: "Ready", fraction: 1 });
    return this.request("describe", {}, 0);
  }

  request(verb: Verb, args: Verbs[Verb], id: number): Answer {
    if (!this.#pyodide || !this.#bridge) throw new LoadError("the runtime has not started");
    if (this.#interrupts) {
      Atomics.store(new Int32Array(this.#interrupts), INTERRUPT.id, id);
      Atomics.store(new Uint8Array(this.#interrupts), INTERRUPT.signal, 0); // one that came too late
    }
    // One conversion in (typed arrays become memoryviews by one copy), one out; no proxy outlives the call.
    const request = this.#pyodide.toPy(args);
    let reply: PyProxy;
    try {
      reply = this.#bridge.dispatch(verb, request);
    } finally {
      request.destroy();
    }
    try {
      return reply.toJs({ dict_converter: Object.fromEntries }) as Answer;
    } finally {
      reply.destroy();
    }
  }
}

async function installWheel(pyodide: Pyodide, wheel: string, options: object): Promise<void> {
  // loadPackage reports a missing file only to its callback; ask first so that the reader learns the address.
  if (!wheel.startsWith("file:")) {
    const response = await fetch(wheel, { method: "HEAD" });
    if (!response.ok) throw new LoadError(`${wheel} answered ${response.status}`);
  }
  await pyodide.loadPackage(nodePath(wheel), options);
}

/** Pyodide in Node wants paths, not file: URLs. */
function nodePath(url: string): string {
  return url.startsWith("file:") ? decodeURIComponent(new URL(url).pathname) : url;
}
