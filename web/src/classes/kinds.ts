/** Kinds of attention by their names, however those are written: "dot-product", "MultiHead", "multi_head". */
import { UnsupportedError } from "../errors.js";
import { type ClassName, type Spec, TABLE } from "./table.js";

const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, "");

const CLASS_OF = new Map<string, ClassName>();
for (const [name, { mechanism }] of Object.entries(TABLE) as [ClassName, Spec][]) {
  // The first class of a mechanism is the one that bears its name.
  if (!CLASS_OF.has(plain(mechanism))) CLASS_OF.set(plain(mechanism), name);
  CLASS_OF.set(plain(name.replace(/Attention$/, "")), name);
}

/** The class of that kind; undefined where none has the name. */
export function classOf(kind: unknown): ClassName | undefined {
  return typeof kind === "string" ? CLASS_OF.get(plain(kind)) : undefined;
}

/** A mechanism's name, and the settings that make it what the class of that kind is over there. */
export function mechanismOf(kind: unknown): { mechanism: string; fixed: object } {
  const name = classOf(kind);
  const spec = name && (TABLE[name] as Spec);
  if (spec) return { mechanism: spec.mechanism, fixed: spec.fixed ?? {} };
  if (typeof kind === "string") return { mechanism: kind.replaceAll("-", "_"), fixed: {} };
  throw new UnsupportedError(`attentionType is ${String(kind)}; expected a name, like "multi-head"`);
}
