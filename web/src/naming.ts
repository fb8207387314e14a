/** Python's snake_case and JavaScript's camelCase, for the keys of configs, options and methods. */
import { UnsupportedError } from "./errors.js";

/** A name with hyphens in the place of underscores. */
type Hyphened<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}-${Hyphened<Tail>}`
  : Name;
/** What has names, by either form of them: "multi_head" and "multi-head". */
export type EitherName<Named> = Named & {
  readonly [Name in keyof Named & string as Hyphened<Name>]: Named[Name];
};

/** A mechanism's name as the registry writes it: "multi_head" for "multi-head". */
export function registryName(name: unknown): string {
  if (typeof name !== "string")
    throw new UnsupportedError(`the name is ${String(name)}; expected a string, like "multi_head"`);
  return name.replaceAll("-", "_");
}

export function camel(name: string): string {
  return name.replace(/(?<=[a-z0-9])_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

export function snake(name: string): string {
  return String(name).replace(/(?<=[a-z0-9])([A-Z])/g, (_, letter: string) => `_${letter.toLowerCase()}`);
}

export function mapKeys(value: object, rename: (key: string) => string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [rename(key), item]));
}

/** The same, and of the objects that are items of a list among them: the stages of a curriculum. */
export function mapSettings(value: object, rename: (key: string) => string): Record<string, unknown> {
  const mapped = mapKeys(value, rename);
  for (const [key, item] of Object.entries(mapped)) {
    if (Array.isArray(item) && item.length > 0 && item.every(isPlainObject))
      mapped[key] = item.map((each) => mapKeys(each, rename));
  }
  return mapped;
}

/** Whether it is an object as literals make them, not an instance of a class. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
