/** Attention straight from its formula, in double precision: what the kernels' runtime is compared with. */

/** A flat array with a shape, from a seed: about standard normal. */
export function random(shape, seed, size = 1) {
  let state = (seed * 2654435761) >>> 0;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) / 2 ** 24;
  };
  const data = new Float32Array(product(shape));
  for (let i = 0; i < data.length; i++) {
    data[i] = size * Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  }
  return { data, shape };
}

export const product = (shape) => shape.reduce((a, b) => a * b, 1);

/** The element at an index of a common shape, the array's own axes of size 1 repeated. */
function at({ data, shape }, index) {
  let flat = 0;
  const missing = index.length - shape.length;
  shape.forEach((size, axis) => {
    flat = flat * size + (size === 1 ? 0 : index[axis + missing]);
  });
  return Number(data[flat]);
}

function* indices(shape) {
  for (let flat = 0; flat < product(shape); flat++) {
    let rest = flat;
    const index = new Array(shape.length);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = rest % shape[axis];
      rest = Math.floor(rest / shape[axis]);
    }
    yield index;
  }
}

function common(shapes) {
  const length = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length }, (_, axis) =>
    Math.max(...shapes.map((shape) => shape[axis - length + shape.length] ?? 1)),
  );
}

/**
 * softmax(scale q kT / temperature + bias) v for heads that are groups of channels. mask and bias broadcast to
 * (lead, n_query, n_key), or to (lead, heads, n_query, n_key) where `headed`; topK: only so many highest scores of a query
 * count. Gives output and weights.
 */
export function attention(query, keys, values, options = {}) {
  const {
    heads = 1,
    kvHeads = heads,
    temperature = 1,
    normalize,
    causal,
    mask,
    bias,
    headed,
    topK,
  } = options;
  const [nQuery, nKey] = [query.shape.at(-2), keys.shape.at(-2)];
  const dim = query.shape.at(-1) / heads;
  const dimValue = values.shape.at(-1) / kvHeads;
  const scale = (options.scale ?? dim ** -0.5) / temperature;
  const lead = common([query, keys, values].map(({ shape }) => shape.slice(0, -2)));
  const output = new Float64Array(product([...lead, nQuery, heads * dimValue]));
  const weights = new Float64Array(product([...lead, heads, nQuery, nKey]));
  const score = (addend, head, item, i, j) => at(addend, headed ? [...item, head, i, j] : [...item, i, j]);
  let row = 0;
  const unit = (x) => {
    const norm = normalize ? Math.hypot(...x) || 1 : 1;
    return x.map((y) => y / norm);
  };
  for (const item of indices(lead)) {
    const channels = (array, r, group, width) =>
      Array.from({ length: width }, (_, c) => at(array, [...item, r, group * width + c]));
    const rowsOf = (array, group, width) =>
      Array.from({ length: nKey }, (_, j) => channels(array, j, group, width));
    const banks = Array.from({ length: kvHeads }, (_, kv) => ({
      keys: rowsOf(keys, kv, dim).map(unit),
      values: rowsOf(values, kv, dimValue),
    }));
    for (let i = 0; i < nQuery; i++, row++) {
      for (let head = 0; head < heads; head++) {
        const bank = banks[Math.floor((head * kvHeads) / heads)];
        const q = unit(channels(query, i, head, dim));
        const scores = Array.from({ length: nKey }, (_, j) => {
          if (causal && j > i + nKey - nQuery) return -Infinity;
          if (mask && !score(mask, head, item, i, j)) return -Infinity;
          const dot = q.reduce((sum, x, c) => sum + x * bank.keys[j][c], 0);
          return scale * dot + (bias ? score(bias, head, item, i, j) : 0);
        });
        // of equal ones the first
        const order = scores.map((_, j) => j).sort((a, b) => scores[b] - scores[a] || a - b);
        for (const j of order.slice(topK ?? nKey)) scores[j] = -Infinity;
        const top = scores.reduce((a, b) => Math.max(a, b), -Infinity);
        const powers = scores.map((s) => (top === -Infinity ? 0 : Math.exp(s - top)));
        const sum = powers.reduce((a, b) => a + b, 0) || 1;
        const first = (Math.floor(row / nQuery) * heads + head) * nQuery + i;
        powers.forEach((power, j) => {
          weights[first * nKey + j] = power / sum;
          for (let c = 0; c < dimValue; c++) {
            output[row * heads * dimValue + head * dimValue + c] += (power / sum) * bank.values[j][c];
          }
        });
      }
    }
  }
  return {
    output: { data: output, shape: [...lead, nQuery, heads * dimValue] },
    weights: { data: weights, shape: [...lead, heads, nQuery, nKey] },
  };
}

/** x @ weight + bias over the last axis. */
export function project(x, weight, bias) {
  const [k, n] = weight.shape;
  const rows = product(x.shape.slice(0, -1));
  const data = new Float64Array(rows * n);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < n; c++) {
      let sum = bias ? bias.data[c] : 0;
      for (let i = 0; i < k; i++) sum += x.data[r * k + i] * weight.data[i * n + c];
      data[r * n + c] = sum;
    }
  }
  return { data, shape: [...x.shape.slice(0, -1), n] };
}
