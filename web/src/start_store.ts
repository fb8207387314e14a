/**
 * Where starts are kept: pages and their workers have the Cache API, Node a folder. One start is kept for a place, which
 * is a Pyodide and a wheel by their addresses; its key says what was there, by hashes.
 */
import { LoadError } from "./errors.js";
import { IN_NODE } from "./places.js";
import type { Bytes } from "./start_archive.js";

export interface StartStore {
  /** The key of the start that is kept for this place. */
  find(place: string): Promise<string | undefined>;
  read(place: string, key: string): Promise<Bytes | undefined>;
  /** Instead of what is kept for this place. */
  write(place: string, key: string, bytes: Bytes): Promise<void>;
  remove(place: string): Promise<void>;
}

const NAME = "ruvector-attention";
const ADDRESS = "https://start.ruvector-attention.invalid/"; // the keys of a Cache are addresses
const ENDING = ".start";

/** What load's option `cache` means here: the name of a Cache, a folder, or nothing. */
export function cacheName(cache: boolean | string | undefined): string | undefined {
  if (cache === false) return undefined;
  if (typeof cache === "string" && cache !== "") return cache;
  if (cache !== undefined && (cache !== true || IN_NODE)) {
    const expected = IN_NODE ? "the path of a folder, or false" : "true, false or the name of a Cache";
    throw new LoadError(`cache is ${JSON.stringify(cache)}; expected ${expected}`);
  }
  return IN_NODE ? undefined : NAME;
}

/** undefined where nothing can be kept: without HTTPS, in a page whose storage is blocked. */
export async function openStore(name: string): Promise<StartStore | undefined> {
  if (!globalThis.crypto?.subtle) return undefined;
  if (IN_NODE) return new FolderStore(name);
  try {
    return new CacheStore(await caches.open(name));
  } catch {
    return undefined;
  }
}

/**
 * Forgets every start that was kept, in the default Cache, or in the Cache or folder that `load` was given as `cache`.
 * Whether there was one.
 */
export async function clearCache(cache?: string): Promise<boolean> {
  const name = cacheName(cache ?? (IN_NODE ? true : undefined)) as string;
  if (IN_NODE) return new FolderStore(name).clear();
  return typeof caches === "undefined" ? false : caches.delete(name);
}

class CacheStore implements StartStore {
  constructor(private readonly cache: Cache) {}

  async find(place: string): Promise<string | undefined> {
    return (await this.#requests(place))[0]?.url.split("/").at(-1);
  }

  async read(place: string, key: string): Promise<Bytes | undefined> {
    const response = await this.cache.match(`${ADDRESS}${place}/${key}`);
    return response && new Uint8Array(await response.arrayBuffer());
  }

  async write(place: string, key: string, bytes: Bytes): Promise<void> {
    await this.remove(place); // first: there may be room for one only
    await this.cache.put(`${ADDRESS}${place}/${key}`, new Response(bytes));
  }

  async remove(place: string): Promise<void> {
    for (const request of await this.#requests(place)) await this.cache.delete(request);
  }

  async #requests(place: string): Promise<readonly Request[]> {
    return (await this.cache.keys()).filter(({ url }) => url.startsWith(`${ADDRESS}${place}/`));
  }
}

/** A file for each place, `<place>-<key>.start`. */
class FolderStore implements StartStore {
  constructor(private readonly folder: string) {}

  async find(place: string): Promise<string | undefined> {
    const file = (await this.#files()).find((name) => name.startsWith(`${place}-`));
    return file?.slice(place.length + 1, -ENDING.length);
  }

  async read(place: string, key: string): Promise<Bytes | undefined> {
    try {
      const { readFile } = await import("node:fs/promises");
      const bytes = await readFile(await this.#path(`${place}-${key}${ENDING}`));
      return new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength);
    } catch {
      return undefined;
    }
  }

  async write(place: string, key: string, bytes: Bytes): Promise<void> {
    const { mkdir, rename, writeFile } = await import("node:fs/promises");
    await mkdir(this.folder, { recursive: true });
    const path = await this.#path(`${place}-${key}${ENDING}`);
    // What is under its name is whole, whoever else writes it at the same time.
    const part = `${path}.${process.pid}-${crypto.randomUUID()}`;
    await writeFile(part, bytes);
    await rename(part, path);
    await this.#unlink((name) => name.startsWith(`${place}-`) && !path.endsWith(name));
  }

  async remove(place: string): Promise<void> {
    await this.#unlink((name) => name.startsWith(`${place}-`));
  }

  async clear(): Promise<boolean> {
    return (await this.#unlink(() => true)) > 0;
  }

  async #unlink(isMeant: (name: string) => boolean): Promise<number> {
    const { rm } = await import("node:fs/promises");
    const files = (await this.#files()).filter(isMeant);
    for (const name of files) await rm(await this.#path(name), { force: true });
    return files.length;
  }

  async #files(): Promise<string[]> {
    try {
      const { readdir } = await import("node:fs/promises");
      return (await readdir(this.folder)).filter((name) => name.endsWith(ENDING));
    } catch {
      return []; // no folder yet
    }
  }

  async #path(name: string): Promise<string> {
    const { join } = await import("node:path");
    return join(this.folder, name);
  }
}
