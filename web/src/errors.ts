/** The error classes of the Python package, by the same names, and the three that only JavaScript can meet. */

/** What all errors of the package are. */
export class AttentionError extends Error {
  override name = "AttentionError";
  /** What the mechanism wanted and what it got, where the error carries them. */
  expected?: unknown;
  actual?: unknown;
  /** Which item of a batch it is about, where it is about one. */
  index?: number;
}
/** Arrays do not fit together, or to the settings. */
export class DimensionMismatchError extends AttentionError {
  override name = "DimensionMismatchError";
}
/** An array without elements, or a batch without items. */
export class EmptyInputError extends AttentionError {
  override name = "EmptyInputError";
}
/** A NaN or an infinity came, or would come out. */
export class NumericalInstabilityError extends AttentionError {
  override name = "NumericalInstabilityError";
}
/** A setting is missing, unknown or out of its range. */
export class InvalidConfigError extends AttentionError {
  override name = "InvalidConfigError";
}
/** An index, or a number of rows, beyond what there is. */
export class OutOfBoundsError extends AttentionError {
  override name = "OutOfBoundsError";
}
/** More keys than `maxSequenceLength` allows, or more than memory can hold. */
export class InputTooLargeError extends AttentionError {
  override name = "InputTooLargeError";
}
/** What this runtime does not have, or an argument of a kind that it does not take. */
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

// A minifier renames classes; a reader of `constructor.name` is told what they are called all the same.
const NAMES = {
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
  PoisonedTaskError,
  PythonError,
};
for (const [name, Class] of Object.entries(NAMES)) Object.defineProperty(Class, "name", { value: name });
