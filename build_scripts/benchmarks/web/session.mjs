// The worker's side of the conversation, in JavaScript: the same requests as session.py, in Node and in a browser.
//
// `host` is what differs between the two: read(path) -> ArrayBuffer, write(path, Float32Array), memory(call, answer) -> MB or null,
// peer(path) -> URL of a file of the peers' packages, require(name) (Node only), pyodide (options of loadPyodide).
import { beyondTheKernel } from "./beyond.mjs";
import { Unavailable, engines } from "./engines.mjs";
import { openPyodide } from "./pyodide.mjs";
import { turn } from "./turn.mjs";

export class Session {
  #host;
  #calls = new Map();
  #releases = new Map();
  #pyodide = null;

  constructor(host) {
    this.#host = host;
  }

  async handle(message) {
    if (message.runtime.startsWith("pyodide")) {
      this.#pyodide ??= await openPyodide(this.#host, message.environment ?? {});
      return this.#pyodide.handle(message);
    }
    switch (message.op) {
      case "prepare":
        return this.#prepare(message);
      case "time":
        return turn(this.#calls.get(message.engine), message.seconds);
      case "memory":
        return this.#memory(message);
      case "release":
        this.#calls.delete(message.engine);
        this.#releases.get(message.engine)?.();
        this.#releases.delete(message.engine);
        return {};
      case "beyond": // the npm package's Pyodide alone, so session.py has no such request
        return this.#beyond(message);
      case "peak":
      case "overhead":
        return { unavailable: "measured in Pyodide" };
      default:
        return { error: `unknown op ${message.op}` };
    }
  }

  async #prepare(message) {
    try {
      const { call, answer, release } = await this.#open(message);
      await this.#host.write(message.answer, answer(await call()));
      this.#calls.set(message.engine, call);
      if (release) this.#releases.set(message.engine, release);
      return {};
    } catch (error) {
      if (error instanceof Unavailable) return { unavailable: error.message };
      throw error;
    }
  }

  async #memory(message) {
    try {
      const { call, answer } = await this.#open(message);
      return { mbytes: await this.#host.memory(call, answer) };
    } catch (error) {
      if (error instanceof Unavailable) return { unavailable: error.message };
      return { unavailable: `fails: ${String(error).slice(0, 120)}` };
    }
  }

  async #beyond(message) {
    try {
      return await beyondTheKernel(this.#host, message);
    } catch (error) {
      if (error instanceof Unavailable) return { unavailable: error.message };
      throw error;
    }
  }

  async #open(message) {
    const arrays = {};
    for (const name of Object.keys(message.workload.inputs)) {
      const file = `${message.folder}/${message.workload.name}.${name}.f32`;
      arrays[name] = new Float32Array(await this.#host.read(file));
    }
    return engines[message.engine](message.workload, arrays, this.#host, message);
  }
}
