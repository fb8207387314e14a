/** The part of mechanisms whose scores know positions or times. */
import { GraphRope } from "./graph_rope.js";
import { Temporal } from "./temporal.js";

export { RULES } from "./rules/positions.gen.js";

export const BODIES = { graph_rope: GraphRope, temporal: Temporal };
