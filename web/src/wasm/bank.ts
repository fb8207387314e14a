/** What may stand in the place of keys and values: a Memory, whose code only a program that makes one fetches. */
import type { Resident } from "./numbers.js";

export abstract class Bank {
  /** @internal */
  abstract readonly keys: Resident;
  /** @internal */
  abstract readonly values: Resident;
  /** Before a call reads it. @internal */
  abstract check(): void;
  /** The keys, every group of `width` channels of length 1; made once. @internal */
  abstract unitKeys(width: number): Resident;
  /** What `make` makes of the rows, kept until they change or something else is derived. @internal */
  abstract derive(key: string, make: () => readonly Resident[]): readonly Resident[];
}
