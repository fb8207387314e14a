/** A mechanism's settings, checked and completed from its description, with the messages of the Python package. */
import type { Rules } from "../description.js";
import { InvalidConfigError } from "../errors.js";
import { snake } from "../naming.js";
import { didYouMean } from "./suggest.js";

/** By the names of the Python package: num_heads. */
export type Settings = Readonly<Record<string, unknown>>;

export function settle(mechanism: Rules, config: object): Settings {
  const known = mechanism.config.map(({ name }) => name);
  const given = new Map<string, unknown>();
  for (const [key, value] of Object.entries(config)) {
    const name = snake(key);
    if (!known.includes(name)) {
      throw new InvalidConfigError(`${mechanism.class} has no setting '${name}'${didYouMean(name, known)}`);
    }
    if (value !== undefined) given.set(name, value);
  }
  const entries = mechanism.config.map((field): [string, unknown] => {
    if (given.has(field.name)) return [field.name, checked(field, given.get(field.name))];
    if (field.required) throw new InvalidConfigError(`${mechanism.class} needs the setting '${field.name}'`);
    return [field.name, field.default];
  });
  return Object.fromEntries(entries);
}

const WORDS: Readonly<Record<string, string>> = {
  int: "an integer",
  float: "a finite number",
  bool: "true or false",
  str: "a string",
};

function checked(field: Rules["config"][number], value: unknown): unknown {
  const [kind = "", nothing] = field.type.split(" | ");
  if (value === null && nothing === "None") return null;
  const fits =
    kind === "int"
      ? Number.isSafeInteger(value)
      : kind === "float"
        ? Number.isFinite(value)
        : typeof value === (kind === "bool" ? "boolean" : "string");
  if (!fits) throw new InvalidConfigError(`${field.name} is ${shown(value)}; expected ${WORDS[kind]}`);
  const rules: [number | undefined, (x: number, limit: number) => boolean, string][] = [
    [field.at_least, (x, limit) => x >= limit, "at least"],
    [field.at_most, (x, limit) => x <= limit, "at most"],
    [field.above, (x, limit) => x > limit, "above"],
    [field.below, (x, limit) => x < limit, "below"],
  ];
  for (const [limit, holds, words] of rules) {
    if (limit !== undefined && !holds(value as number, limit)) {
      throw new InvalidConfigError(`${field.name} is ${value}; expected ${words} ${limit}`);
    }
  }
  if (field.choices && !field.choices.includes(value)) {
    throw new InvalidConfigError(
      `${field.name} is ${shown(value)}${didYouMean(String(value), field.choices.map(String))}`,
    );
  }
  return value;
}

export function shown(value: unknown): string {
  if (typeof value === "string") return `'${value}'`;
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object";
  return String(value);
}

/** The mechanism as Python would write it: FlashAttention(dim=8). Settings at their defaults are left out. */
export function written(mechanism: Rules, settings: Settings): string {
  const parts = mechanism.config
    .filter(({ name, default: usual }) => settings[name] !== usual)
    .map(({ name }) => `${name}=${shown(settings[name])}`);
  return `${mechanism.class}(${parts.join(", ")})`;
}
