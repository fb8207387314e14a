/** The kernels in a worker: only a program that asks for one fetches this. */

import { connectWorker } from "../connect.js";
import type { Description } from "../description.js";
import { AttentionError, LoadError } from "../errors.js";
import { decode } from "../tensor.js";
import { RemoteClient } from "./remote.js";
import type { KernelOptions } from "./types.js";

export async function loadWorker(
  script: string | URL,
  module: string,
  onProgress: KernelOptions["onProgress"],
): Promise<RemoteClient> {
  const connection = await connectWorker(script);
  try {
    const description = decode(await connection.start({ module }, onProgress)) as unknown as Description;
    return new RemoteClient(connection, description, false);
  } catch (error) {
    connection.lose(error instanceof AttentionError ? error : new LoadError(String(error)));
    throw error;
  }
}
