/** What describe() answers: the registry of the Python package as data. */

export interface Description {
  version: string;
  backend: string;
  errors: string[];
  mechanisms: MechanismDescription[];
  /** Losses, optimizers, schedules and miners. */
  training: PartDescription[];
  /** How many objects JavaScript holds in the runtime at this moment. */
  handles: number;
}

/** A mechanism as describe() tells it. */
export interface MechanismDescription {
  name: string;
  class: string;
  summary: string;
  paper: string;
  complexity: string;
  config: Field[];
  inputs: InputSpec[];
  options: Field[];
  outputs: InputSpec[];
  methods: string[];
}

/** A part of training. */
export interface PartDescription {
  name: string;
  kind: "loss" | "optimizer" | "schedule" | "miner";
  class: string;
  summary: string;
  paper: string;
  config: Field[];
  methods: string[];
  /** By method what it takes one by one; options come behind. */
  parameters: Record<string, string[]>;
}

/** What a call is checked by. */
export interface Rules extends Pick<MechanismDescription, "name" | "class" | "methods"> {
  config: Omit<Field, "doc">[];
  inputs: Pick<InputSpec, "name" | "axes" | "optional">[];
}

/** A setting, or an option of a call. */
export interface Field {
  name: string;
  /** A Python type: "int", "float | None", "bool", "str" … */
  type: string;
  required?: boolean;
  default?: unknown;
  doc: string;
  choices?: unknown[];
  /** Bounds of a number. */
  at_least?: number;
  at_most?: number;
  above?: number;
  below?: number;
}

/** An input of forward, with the axes that bind across inputs. */
export interface InputSpec {
  name: string;
  axes: string[];
  dtype: string;
  optional: boolean;
  doc: string;
}
