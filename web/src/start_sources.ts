/** What a start is made of, beside Pyodide itself: fetched while Python starts, and named by hashes. */
import { LoadError } from "./errors.js";
import { IN_NODE } from "./places.js";
import { type Bytes, sha256 } from "./start_archive.js";

/** Raised when what is kept is put in another way than before. */
const FORMAT = 1;

interface LockedPackage {
  file_name: string;
  sha256: string;
  install_dir: string;
  depends: string[];
}

export class StartSources {
  readonly #indexURL: string;
  readonly #wheel: string;
  readonly #expected: string | undefined;
  #lock: Promise<string> | undefined;
  #wheelBytes: Promise<Bytes> | undefined;

  /** `wheelHash`: what assets.json says of the wheel, which then need not be read to know it. */
  constructor(indexURL: string, wheel: string, wheelHash?: string) {
    this.#indexURL = indexURL;
    this.#wheel = wheel;
    this.#expected = wheelHash;
  }

  /** Names these addresses, whatever is there. */
  async place(): Promise<string> {
    return ((await sha256(`${this.#indexURL}\n${this.#wheel}`)) as string).slice(0, 32);
  }

  /** Names what is there: no two starts with the same key differ in their files. */
  async key(pyodide: string): Promise<string> {
    const wheel = this.#expected ?? (await sha256(await this.wheel()));
    return (await sha256(JSON.stringify([FORMAT, pyodide, await this.lock(), wheel]))) as string;
  }

  /** Pyodide's list of packages, with the hash of each. */
  lock(): Promise<string> {
    this.#lock ??= early(
      read(new URL("pyodide-lock.json", this.#indexURL).href).then((bytes) =>
        new TextDecoder().decode(bytes),
      ),
    );
    return this.#lock;
  }

  /** The wheel of this package. Rejects with LoadError where it is not there, or is not the one of assets.json. */
  wheel(): Promise<Bytes> {
    this.#wheelBytes ??= early(this.#readWheel());
    return this.#wheelBytes;
  }

  async #readWheel(): Promise<Bytes> {
    const bytes = await read(this.#wheel);
    const hash = this.#expected && (await sha256(bytes));
    if (hash && hash !== this.#expected)
      throw new LoadError(`${this.#wheel} has the SHA-256 ${hash}; assets.json says ${this.#expected}`);
    return bytes;
  }

  /**
   * NumPy's wheel, if it lies beside Pyodide as its lock file says. undefined where Pyodide has to find it by itself, in
   * its CDN for one.
   */
  async numpy(): Promise<Bytes | undefined> {
    try {
      const found: LockedPackage = JSON.parse(await this.lock()).packages.numpy;
      if (found.depends.length > 0 || found.install_dir !== "site") return undefined;
      const bytes = await read(new URL(found.file_name, this.#indexURL).href);
      const hash = await sha256(bytes);
      return hash === undefined || hash === found.sha256 ? bytes : undefined;
    } catch {
      return undefined;
    }
  }
}

/** It may fail before anybody waits for it. */
function early<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

async function read(url: string): Promise<Bytes> {
  if (IN_NODE && url.startsWith("file:")) {
    const { readFile } = await import("node:fs/promises");
    try {
      return new Uint8Array(await readFile(new URL(url))); // no Buffer, which Pyodide does not take
    } catch (error) {
      throw new LoadError(`${url} cannot be read: ${(error as Error).message}`);
    }
  }
  const response = await fetch(url);
  if (!response.ok) throw new LoadError(`${url} answered ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}
