/** Errors as they cross between threads and languages. */
import {
  AttentionError,
  DimensionMismatchError,
  EmptyInputError,
  InputTooLargeError,
  InvalidConfigError,
  LoadError,
  NumericalInstabilityError,
  OutOfBoundsError,
  PythonError,
  RuntimeLostError,
  UnsupportedError,
} from "./errors.js";

const CLASSES: Readonly<Record<string, new (message: string) => AttentionError>> = {
  AttentionError,
  DimensionMismatchError,
  EmptyInputError,
  NumericalInstabilityError,
  InvalidConfigError,
  OutOfBoundsError,
  InputTooLargeError,
  UnsupportedError,
  LoadError,
  RuntimeLostError,
};

/** An error as plain data, the only form in which one crosses between threads or languages. */
export interface WireError {
  class: string;
  message: string;
  /** Names of the Python base classes, nearest first: a user's own subclass arrives as its nearest known base. */
  bases?: string[];
  expected?: unknown;
  actual?: unknown;
  traceback?: string;
  /** The host is unusable from now on. */
  fatal?: boolean;
}

export function fromWire(wire: WireError): AttentionError {
  for (const name of [wire.class, ...(wire.bases ?? [])]) {
    const known = CLASSES[name];
    if (known) {
      const error = new known(wire.message);
      if (wire.class !== name) error.name = wire.class;
      if (wire.expected != null) error.expected = wire.expected;
      if (wire.actual != null) error.actual = wire.actual;
      // Python says it in words: "item 3: keys is …".
      const place = /^item (\d+): /.exec(wire.message);
      if (place) error.index = Number(place[1]);
      return error;
    }
  }
  return new PythonError(`${wire.class}: ${wire.message}`, wire.class, wire.traceback ?? "");
}

/** What a host answers when its own code failed, not Python's. */
export function toWire(error: unknown): WireError {
  if (error instanceof AttentionError) {
    const { name, message, expected, actual } = error;
    return { class: name, message, expected, actual };
  }
  const message = error instanceof Error ? error.message : String(error);
  // Pyodide marks the errors after which the interpreter is unusable.
  const fatal = typeof error === "object" && error !== null && "pyodide_fatal_error" in error;
  if (fatal) return { class: "RuntimeLostError", message: `Python stopped: ${message}`, fatal };
  return { class: error instanceof Error ? error.name : "Error", message };
}
