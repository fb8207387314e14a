/** The classes of training: constructors and methods for every line of training_table.ts. */
import { OutOfBoundsError } from "../errors.js";
import { named, type Steps } from "./facade.js";
import { declare } from "./make.js";
import { isFlat } from "./rows.js";
import { indices, PartFacade } from "./training_facade.js";
import { type PartName, type PartSpec, TRAINING_TABLE } from "./training_table.js";
import type { TrainingClasses } from "./training_types.js";

type Declared = ReturnType<typeof declare<PartFacade>>;

function makeClass(name: string, spec: PartSpec) {
  const declared = declare(name, (args) => new PartFacade(name, spec, args));
  const { Class, getter } = declared;
  for (const key of spec.tells ?? []) getter(key, ({ settings }) => settings[key]);
  for (const [maker, names] of Object.entries(spec.makers ?? {})) {
    Object.defineProperty(Class, maker, { value: (...args: unknown[]) => new Class(named(names, args)) });
  }
  METHODS[spec.kind](declared, spec);
  return Class;
}

const METHODS: Readonly<Record<PartSpec["kind"], (declared: Declared, spec: PartSpec) => void>> = {
  optimizer({ getter, method, plain }, spec) {
    method("stepInPlace", (facade, [parameters, gradients]) => facade.updatedInPlace(parameters, gradients));
    method("step", (facade, [first, second]) =>
      spec.inPlace ? facade.updatedInPlace(first, second) : facade.updated(first, second),
    );
    getter(
      "learningRate",
      (facade) => facade.rate,
      (facade, rate) => facade.setRate(rate),
    );
    plain("getLearningRate", (facade) => facade.rate);
    plain("setLearningRate", (facade, rate) => facade.setRate(rate));
    plain("reset", (facade) => {
      facade.send("reset");
      facade.rate = facade.settings.learningRate as number;
    });
  },

  loss({ method }) {
    for (const key of ["compute", "computeBatch"])
      method(key, (facade, args) => facade.call("compute", ...listed(args)));
    method("computeWithGradients", function* (facade, args): Steps<unknown> {
      const { value, gradients } = (yield* facade.call("compute_with_gradients", ...listed(args))) as {
        value: number;
        gradients: Record<string, Float32Array>;
      };
      return { loss: value, gradients: Object.values(gradients)[0], gradientsByName: gradients };
    });
  },

  schedule(declared) {
    addSteps(declared);
    for (const key of ["getLr", "get_lr", "getTemp", "getValue"])
      declared.method(key, (facade) => facade.call("get_value"));
    // Of the step that was asked for last; before that, of the first.
    declared.method("getLearningRate", function* (facade): Steps<unknown> {
      return facade.last ?? (yield* facade.call("get_value"));
    });
  },

  curriculum(declared) {
    const { Class, getter, method } = declared;
    addSteps(declared);
    method("getStage", (facade) => facade.call("get_value"));
    method("addStage", (facade, [stage]) => facade.addStage(stage));
    for (const key of ["difficulty", "temperature", "negativeCount"])
      getter(key, (facade) => (facade.now(key) as { value: Record<string, unknown> }).value[key]);
    Object.defineProperty(Class, "defaultCurriculum", {
      value: (totalSteps: number) => new Class({ totalSteps }),
    });
  },

  hard_miner({ method }) {
    method("mine", function* (facade, args): Steps<unknown> {
      return indices(yield* facade.call("mine", ...args));
    });
  },

  batch_miner({ Class, method, plain }) {
    METHODS.hard_miner({ method } as Declared, TRAINING_TABLE.InBatchMiner);
    Object.defineProperty(Class, "includePositive", { value: () => new Class(false) });
    plain("getNegatives", ({ settings }, anchor, positive, batchSize) => {
      const given = { anchor, positive, batchSize };
      for (const [name, value] of Object.entries(given)) {
        const most = name === "batchSize" ? Number.MAX_SAFE_INTEGER : (batchSize as number) - 1;
        if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > most)
          throw new OutOfBoundsError(`${name} is ${value}; expected an integer of 0 to ${most}`);
      }
      const own = settings.excludePositive === false ? [anchor] : [anchor, positive];
      return Array.from({ length: batchSize as number }, (_, i) => i).filter((i) => !own.includes(i));
    });
  },
};

/** Arguments of a loss: one vector behind the anchor is a list of one. */
function listed(args: readonly unknown[]): unknown[] {
  const isVector = (arg: unknown) => isFlat(arg) || (arg as { shape?: number[] } | null)?.shape?.length === 1;
  return args.map((arg, i) => (i > 0 && isVector(arg) ? [arg] : arg));
}

/** What all schedules have. */
function addSteps({ getter, method, plain }: Declared): void {
  method("step", function* (facade, [currentStep]): Steps<unknown> {
    facade.last = yield* facade.call("step", ...(currentStep === undefined ? [] : [currentStep]));
    return facade.last;
  });
  method("status", (facade) => facade.call("status"));
  const told = { currentStep: "current_step", progress: "progress", isComplete: "is_complete" };
  for (const [key, name] of Object.entries(told))
    getter(key, (facade) => (facade.now(key) as Record<string, unknown>)[name]);
  plain("reset", (facade) => {
    facade.send("reset");
    facade.last = undefined;
  });
}

export const TRAINING_CLASSES = Object.fromEntries(
  Object.entries(TRAINING_TABLE).map(([name, spec]) => [name, makeClass(name, spec)]),
) as unknown as TrainingClasses & Readonly<Record<PartName, unknown>>;
