/** What every worker of a pool has for itself. */
import type { Client } from "../client.js";
import { RuntimeLostError } from "../errors.js";

/** What each worker has a copy of, made when it is needed. */
export class Copies<T extends { dispose(): Promise<void> }> {
  readonly #made = new WeakMap<Client, Promise<T>>();
  readonly #make: (client: Client) => Promise<T>;
  #disposed = false;

  constructor(make: (client: Client) => Promise<T>) {
    this.#make = make;
  }

  of(client: Client): Promise<T> {
    if (this.#disposed) return Promise.reject(new RuntimeLostError("it was disposed; create another"));
    let made = this.#made.get(client);
    if (!made) {
      made = this.#make(client);
      made.catch(() => this.#made.delete(client)); // the next call tries again
      this.#made.set(client, made);
    }
    return made;
  }

  changed(change: (copy: T) => Promise<T>): Copies<T> {
    return new Copies(async (client) => change(await this.#make(client)));
  }

  async dispose(clients: readonly Client[]): Promise<void> {
    this.#disposed = true;
    await Promise.all(
      clients.map(async (client) => {
        const copy = await this.#made.get(client)?.catch(() => undefined);
        await copy?.dispose();
      }),
    );
  }
}
