/** The error classes of the Python package, by the same names, and the three that only JavaScript can meet. */

export class AttentionError extends Error {
  override name = "AttentionError";
  /** What the mechanism wanted and what it got, where the error carries them. */
  expected?: unknown;
  actual?: unknown;
  /** Which item of a batch it is about, where it is about one. */
  index?: number;
}
export class DimensionMismatchError extends AttentionError {
  override name = "DimensionMismatchError";
}
export class EmptyInputError extends AttentionError {
  override name = "EmptyInputError";
}
export class NumericalInstabilityError extends AttentionError {
  override name = "NumericalInstabilityError";
}
export class InvalidConfigError extends AttentionError {
  override name = "InvalidConfigError";
}
export class OutOfBoundsError extends AttentionError {
  override name = "OutOfBoundsError";
}
export class InputTooLargeError extends AttentionError {
  override name = "InputTooLargeError";
}
export class UnsupportedError extends AttentionError {
  override name = "UnsupportedError";
}

/** The runtime did not start: an asset is missing or this engine cannot run it. */
export class LoadError extends AttentionError {
  override name = "LoadError";
}
/** The runtime is gone: closed, or its worker died. Load again. */
export class RuntimeLostError extends AttentionError {
  override name = "RuntimeLostError";
}
/** Two workers of a pool died at the same task. */
export class PoisonedTaskError extends AttentionError {
  override name = "PoisonedTaskError";
  /** The task's place among those that it came with. */
  override index: number;
  constructor(index: number, cause: Error) {
    super(`item ${index} ended two workers, the second with: ${cause.message}`, { cause });
    this.index = index;
  }
}
/** Any other Python exception (a missing argument, a bug in a user's own mechanism). */
export class PythonError extends AttentionError {
  override name = "PythonError";
  constructor(
    message: string,
    readonly pythonClass: string,
    readonly traceback: string,
  ) {
    super(message);
  }
}

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

// A minifier renames classes; a reader of `constructor.name` is told what they are called all the same.
for (const [name, Class] of Object.entries({ ...CLASSES, PoisonedTaskError, PythonError })) {
  Object.defineProperty(Class, "name", { value: name });
}

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
