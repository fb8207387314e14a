/** What a mixture of experts means: its router in float64, and its experts one by one. */

const rows = ({ data, shape }) => {
  const width = shape.at(-1);
  return Array.from({ length: data.length / width }, (_, i) =>
    Array.from(data.slice(i * width, (i + 1) * width)),
  );
};

/** A router's choices in float64: for each row the experts, best first, and their weights. */
export function routed({ router_weight: weight, router_bias: bias }, q, topK, temperature = 1) {
  const count = bias.length;
  return rows(q).map((row) => {
    const logits = Array.from(
      { length: count },
      (_, e) => (row.reduce((sum, x, c) => sum + x * weight[c * count + e], 0) + bias[e]) / temperature,
    );
    const experts = logits.map((_, e) => e).sort((a, b) => logits[b] - logits[a] || a - b);
    const chosen = experts.slice(0, topK);
    const powers = chosen.map((e) => Math.exp(logits[e] - logits[chosen[0]]));
    const sum = powers.reduce((a, b) => a + b, 0);
    return { logits, experts: chosen, weights: powers.map((power) => power / sum) };
  });
}

/** The sums that a mixture means: every expert as an object of its own, all rows in their places. */
export function mixed(outputs, routing) {
  const [first] = outputs;
  const columns = first.shape.at(-1);
  const sums = new Float64Array(first.length);
  routing.forEach(({ experts, weights }, row) => {
    experts.forEach((e, slot) => {
      for (let c = 0; c < columns; c++) {
        sums[row * columns + c] += weights[slot] * outputs[e][row * columns + c];
      }
    });
  });
  return { data: sums, shape: first.shape };
}

/** The experts of a mixture of one width, each with its share of the state. */
export function alone(ra, configs, state) {
  return configs.map(({ type, ...config }, i) => {
    const expert = ra.createSync(type, { dim: 4, seed: i, ...config });
    const own = Object.entries(state).filter(([name]) => name.startsWith(`experts.${i}.`));
    if (own.length > 0)
      expert.loadStateDictSync(
        Object.fromEntries(own.map(([name, x]) => [name.split(".").slice(2).join("."), x])),
      );
    return expert;
  });
}
