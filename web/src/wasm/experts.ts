/** Which mechanisms a mixture is of: its settings `experts` and `num_experts`, with the messages of the Python package. */
import { InvalidConfigError, UnsupportedError } from "../errors.js";
import { ELSEWHERE } from "./rules/moe.gen.js";
import { type Settings, shown } from "./settings.js";

export interface ExpertConfig {
  /** As this runtime calls it: scaled_dot_product. */
  readonly type: string;
  readonly config: Readonly<Record<string, unknown>>;
}

/** In this order: near and far keys, trees, long sequences, exact weights. */
const USUAL = ["scaled_dot_product", "hyperbolic", "linear", "local_global"];
/** Each is an object with parameters of its own. */
const MOST = 4096;

/** The config of each expert, of this mixture's width, with a seed of its own where it says none. */
export function expertConfigs(settings: Settings, here: readonly string[]): ExpertConfig[] {
  const { dim, seed, max_sequence_length, num_experts: count, top_k } = settings as Record<string, number>;
  if ((count ?? 0) > MOST) throw new InvalidConfigError(`num_experts is ${count}; expected at most ${MOST}`);
  const configs = listed(settings).map((entry, index): ExpertConfig => {
    const own: unknown = typeof entry === "string" ? { type: entry } : entry;
    if (typeof own !== "object" || own === null || !("type" in own) || typeof own.type !== "string") {
      throw new InvalidConfigError(
        `experts lists ${shown(entry)}; expected a name, or a config with its 'type'`,
      );
    }
    const { type, ...config } = own;
    const given = { dim, seed: (seed as number) + index, max_sequence_length };
    return { type: found(type as string, here, index), config: { ...given, ...config } };
  });
  if (count !== null && count !== configs.length) {
    throw new InvalidConfigError(`num_experts is ${count}; expected ${configs.length}, as experts lists`);
  }
  if ((top_k as number) > configs.length)
    throw new InvalidConfigError(`top_k is ${top_k}; expected at most ${configs.length}, the experts`);
  return configs;
}

function listed({ experts, num_experts: count }: Settings): readonly unknown[] {
  if (typeof experts !== "string") {
    return Array.from(
      { length: (count as number | null) ?? USUAL.length },
      (_, i) => USUAL[i % USUAL.length],
    );
  }
  if (!experts.trimStart().startsWith("[")) return experts.split(",").map((name) => name.trim());
  let list: unknown[];
  try {
    list = JSON.parse(experts);
  } catch (error) {
    throw new InvalidConfigError(`experts is no JSON list: ${(error as Error).message}`);
  }
  if (list.length === 0)
    throw new InvalidConfigError("experts lists nothing; expected at least one mechanism");
  return list;
}

/** The mechanism of that name, in any of the spellings that Python understands. */
function found(name: string, here: readonly string[], index: number): string {
  const spelled = name.trim().toLowerCase().replaceAll(/[- ]/g, "_");
  const spellings = [name, spelled, `${spelled}_attention`, spelled.replace(/_attention$/, "")];
  const known = spellings.find((each) => here.includes(each));
  if (known) return known;
  const other = spellings.find((each) => ELSEWHERE.includes(each));
  if (other) {
    throw new UnsupportedError(
      `expert ${index}, '${other}', needs load({ runtime: 'pyodide' }); this runtime has ${here.join(", ")}`,
    );
  }
  return name; // the runtime says what it may have meant
}
