/**
 * What crosses between the client and a host of Pyodide, whichever thread the host lives in: four verbs out,
 * one reply back, progress in between. Everything is plain data that survives structuredClone; arrays are flat
 * typed arrays with their shape beside them, so that their buffers can be transferred.
 */
import { worthReturning } from "./lent_memory.js";
import { fromWire, toWire, type WireError } from "./wire_errors.js";

/** The typed arrays that numbers may come in. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

export interface WireArray {
  $array: TypedArray;
  shape: number[];
  dtype: string;
}
export type Wire =
  | null
  | undefined
  | boolean
  | number
  | string
  | WireArray
  | Wire[]
  | { [key: string]: Wire };

/** The four verbs of bridge.py, and their arguments. */
export interface Verbs {
  describe: Record<string, never>;
  create: { name: string; config: Wire };
  call: { handle: number; method: string; args: Wire[]; kwargs: { [key: string]: Wire } };
  release: { handle: number };
}
export type Verb = keyof Verbs;

/** How far loading is. */
export interface Progress {
  /** What is being done: "Starting Python", "Loading NumPy" … */
  stage: string;
  /** 0 … 1 over the whole start. */
  fraction: number;
  /** true: this start will be kept for the next one while nothing else is to do; false: that has come to its end. */
  keeping?: boolean;
}

/** Where a host finds what it runs. All are URLs; in Node file: URLs. */
export interface HostAssets {
  /** Folder with pyodide.mjs and its companions. */
  indexURL: string;
  wheel: string;
  /** Further Python modules, name → source: a user's own mechanisms. */
  modules: Record<string, string>;
  /** Shared with the client, which writes an interrupt into it. */
  interrupts?: SharedArrayBuffer | undefined;
}

/** What `interrupts` holds: a byte that Python looks at from time to time, and the id of the request that runs. */
export const INTERRUPT = { bytes: 8, signal: 0, id: 1, sigint: 2 } as const;

/** `lent`: the memory of the arrays is wanted back. */
export type ToHost =
  | { id: number; start: unknown; watch?: string | undefined }
  | { [V in Verb]: { id: number; verb: V; args: Verbs[V]; lent?: boolean } }[Verb];
export type Answer = { value: Wire } | { error: WireError };
export type FromHost = { id: number } & ({ progress: Progress } | (Answer & { returned?: ArrayBuffer[] }));

/** One end of a connection: a Worker, a parentPort, a page's `self`, or a function call. */
export type Post = (message: FromHost, transfer: ArrayBuffer[]) => void;

/** The client's side of any connection. */
export class Connection {
  /** The name of a lock that the host is to hold while it lives, and to tell of by a message with id 0. */
  watch: string | undefined;
  /** Stops what the host is at, the request with this id; undefined where nothing can. */
  interrupt: ((id: number) => void) | undefined;
  /** Asks a host of this thread at once; undefined where the host is elsewhere. */
  now: (<V extends Verb>(verb: V, args: Verbs[V]) => Answer) | undefined;
  /** Called once when the host is gone, before what still waits rejects. */
  onLost: ((error: Error) => void) | undefined;
  /** Given the memory that comes back from calls. */
  onReturned: ((buffers: ArrayBuffer[]) => void) | undefined;
  #next = 1;
  #lost: Error | undefined;
  readonly #waiting = new Map<
    number,
    { resolve: (value: Wire) => void; reject: (error: Error) => void; progress?: (p: Progress) => void }
  >();

  constructor(
    private readonly send: (message: ToHost, transfer: ArrayBuffer[]) => void,
    private readonly end: () => void,
    /** Told when the first request starts to wait and when none does any more. */
    private readonly busy: (waiting: boolean) => void = () => {},
  ) {}

  start(assets: unknown, progress?: (p: Progress) => void): Promise<Wire> {
    return this.#post((id) => ({ id, start: assets, watch: this.watch }), [], progress);
  }

  request<V extends Verb>(
    verb: V,
    args: Verbs[V],
    transfer: ArrayBuffer[] = [],
    signal?: AbortSignal,
  ): Promise<Wire> {
    let number = 0;
    const answer = this.#post((id) => {
      number = id;
      return { id, verb, args, lent: this.onReturned !== undefined } as ToHost;
    }, transfer);
    if (!signal || !this.interrupt) return answer;
    // The host takes requests in their order: it is at the oldest that waits.
    const stop = (): void => {
      if (this.#waiting.keys().next().value === number) this.interrupt?.(number);
    };
    signal.addEventListener("abort", stop, { once: true });
    return answer.finally(() => signal.removeEventListener("abort", stop));
  }

  /** The answer itself, where the host is in this thread; its errors are thrown. */
  requestSync<V extends Verb>(verb: V, args: Verbs[V]): Wire {
    if (this.#lost) throw this.#lost;
    if (!this.now) throw fromWire({ class: "UnsupportedError", message: "the runtime is in another thread" });
    const answer = this.now(verb, args);
    if ("error" in answer) throw fromWire(answer.error);
    return answer.value;
  }

  receive(message: FromHost): void {
    const waiter = this.#waiting.get(message.id);
    if (!waiter) return;
    if ("progress" in message) {
      waiter.progress?.(message.progress);
      return;
    }
    this.#settle(message.id);
    if (message.returned) this.onReturned?.(message.returned);
    if (!("error" in message)) {
      waiter.resolve(message.value);
      return;
    }
    const error = fromWire(message.error);
    waiter.reject(error);
    if (message.error.fatal) this.lose(error);
  }

  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  /** Ends the connection and fails what still waits, so that no promise hangs. */
  lose(error: Error): void {
    if (this.#lost) return;
    this.#lost = error;
    this.onLost?.(error);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.end();
  }

  #settle(id: number): void {
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) this.busy(false);
  }

  #post(
    make: (id: number) => ToHost,
    transfer: ArrayBuffer[],
    progress?: (p: Progress) => void,
  ): Promise<Wire> {
    return new Promise((resolve, reject) => {
      if (this.#lost) return reject(this.#lost);
      const id = this.#next++;
      if (this.#waiting.size === 0) this.busy(true);
      this.#waiting.set(id, progress ? { resolve, reject, progress } : { resolve, reject });
      try {
        this.send(make(id), transfer);
      } catch (error) {
        // DataCloneError: a function or a symbol among the arguments.
        this.#settle(id);
        const message = error instanceof Error ? error.message : String(error);
        reject(fromWire({ class: "UnsupportedError", message: `an argument cannot be sent: ${message}` }));
      }
    });
  }
}

/** What a host must do. What it starts from is its own: PyodideHost HostAssets, KernelHost the URL of a module. */
export interface Host {
  start(assets: unknown, progress: (p: Progress) => void): Promise<Answer>;
  request(verb: Verb, args: Verbs[Verb], id: number): Answer;
  /** Told that an answer is out. */
  answered?(): void;
}

/** The host's side of any connection: takes one message, posts its reply. */
export async function serve(host: Host, message: ToHost, post: Post): Promise<void> {
  const { id } = message;
  let answer: Answer;
  try {
    answer =
      "start" in message
        ? await host.start(message.start, (progress) => post({ id, progress }, []))
        : host.request(message.verb, message.args, id);
  } catch (error) {
    answer = { error: toWire(error) };
  }
  const sent = "value" in answer ? buffersOf(answer.value) : [];
  const gone = new Set(sent);
  const received = "lent" in message && message.lent ? buffersOf(message.args as unknown as Wire) : [];
  // No host keeps the arrays of a call.
  const returned = worthReturning(received.filter((buffer) => !gone.has(buffer)));
  post(returned.length > 0 ? { id, ...answer, returned } : { id, ...answer }, [...sent, ...returned]);
  host.answered?.();
}

export function isWireArray(value: unknown): value is WireArray {
  return typeof value === "object" && value !== null && "$array" in value;
}

/** Every distinct buffer in a message that can be transferred. */
export function buffersOf(value: Wire, found = new Set<ArrayBuffer>()): ArrayBuffer[] {
  if (isWireArray(value)) {
    const { buffer } = value.$array;
    // What is detached already has no length, and could not be sent.
    if (buffer instanceof ArrayBuffer && buffer.byteLength > 0) found.add(buffer);
  } else if (typeof value === "object" && value !== null) {
    for (const item of Object.values(value)) buffersOf(item as Wire, found);
  }
  return [...found];
}
