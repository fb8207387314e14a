/** The kernels in a worker: only a program that asks for one fetches this. */

import { Client } from "../client.js";
import { connectWorker, type WorkerScript } from "../connect.js";
import type { Description } from "../description.js";
import { AttentionError, LoadError, RuntimeLostError } from "../errors.js";
import { decode } from "../tensor.js";
import { VERSION } from "./mechanisms.gen.js";
import type { KernelOptions } from "./types.js";

export async function loadWorker(
  script: WorkerScript,
  module: string | WebAssembly.Module,
  onProgress: KernelOptions["onProgress"],
  watch = false,
): Promise<Client> {
  const connection = await connectWorker(script, watch);
  try {
    const description = decode(await connection.start({ module }, onProgress)) as unknown as Description;
    const { version } = description;
    if (version !== VERSION) {
      const why = "a cache, assetBase or workerURL holds another release";
      throw new LoadError(
        `the worker's script is of version ${version}; expected ${VERSION}, as this one: ${why}`,
      );
    }
    return new Client(connection, description, false);
  } catch (error) {
    connection.lose(error instanceof AttentionError ? error : new LoadError(String(error)));
    // a worker that was lost before it ever answered is one whose script was not there
    throw error instanceof RuntimeLostError ? new LoadError(error.message) : error;
  }
}
