/* Rows that go to some of several experts: to which, with which weights, and how rows get there and back.
 *   route_rows    logits (rows, n_expert) -> experts, weights (rows, top_k), losses (2)
 *   gather_rows   x (n_rows, dim), index (count) -> out (count, dim)
 *   scatter_rows  x (count, dim), index, weights (count) -> added to out, n_rows rows out_row apart */

/* Whether a row prefers expert i to j: the larger logit, of equals the first, NaN last. */
static int comes_before(const float *logits, int64_t i, int64_t j) {
  const float a = logits[i], b = logits[j];
  if (a > b || a < b) return a > b;
  if ((a != a) != (b != b)) return b != b;
  return i < j;
}

/* The one behind `last` in that order, the best where last is -1; -1 where none is left. */
static int64_t next_best(const float *logits, int64_t n_expert, int64_t last) {
  int64_t best = -1;
  for (int64_t e = 0; e < n_expert; e++)
    if ((last < 0 || comes_before(logits, last, e)) && (best < 0 || comes_before(logits, e, best))) best = e;
  return best;
}

/* First everybody's best, then the second best of those who still want one; who comes first is served first.
 * room (n_expert); last, filled (rows). */
static void choose_with_capacity(const rv_route_rows_args *args, const float *logits, double *room, double *last,
                                 double *filled) {
  const int64_t top_k = args->top_k;
  for (int64_t e = 0; e < args->n_expert; e++) room[e] = (double)args->capacity;
  for (int64_t i = 0; i < args->rows; i++) last[i] = -1, filled[i] = 0;
  for (int64_t i = 0; i < args->rows * top_k; i++) args->experts[i] = -1;
  for (int64_t rank = 0; rank < args->n_expert; rank++)
    for (int64_t i = 0; i < args->rows; i++) {
      if (filled[i] >= (double)top_k) continue;
      const int64_t best = next_best(logits + i * args->n_expert, args->n_expert, (int64_t)last[i]);
      last[i] = (double)best;
      if (room[best] < 1) continue;
      room[best]--;
      args->experts[i * top_k + (int64_t)filled[i]++] = (float)best;
    }
}

static void exponentials(float *x, int64_t count) {
  const vf log2e = v_set((float)RV_LOG2E);
  for (int64_t i = 0; i < count; i += VL) {
    const int64_t rest = count - i;
    if (rest < VL)
      v_store_n(x + i, v_exp2(v_mul(v_load_n(x + i, rest), log2e)), rest);
    else
      v_store(x + i, v_exp2(v_mul(v_load(x + i), log2e)));
  }
}

/* How far a choice is below the best of its row, which comes first; an empty slot is infinitely far. */
static float below_best(const float *logits, const float *experts, int64_t slot) {
  const float lowest = -3.40282347e38f;
  const float best = experts[0] < 0 ? lowest : logits[(int64_t)experts[0]];
  const float own = experts[slot] < 0 ? -__builtin_inff() : logits[(int64_t)experts[slot]];
  return own - (best < lowest ? lowest : best);
}

/* Over the chosen experts; zeros for a row that has none. */
static void softmax_of_chosen(const rv_route_rows_args *args, const float *logits) {
  const int64_t top_k = args->top_k, n_expert = args->n_expert;
  float *weights = args->weights;
  for (int64_t i = 0; i < args->rows; i++)
    for (int64_t s = 0; s < top_k; s++)
      weights[i * top_k + s] = below_best(logits + i * n_expert, args->experts + i * top_k, s);
  exponentials(weights, args->rows * top_k);
  for (int64_t i = 0; i < args->rows; i++) {
    float sum = 0;
    for (int64_t s = 0; s < top_k; s++) {
      const float below = below_best(logits + i * n_expert, args->experts + i * top_k, s);
      sum += below != below ? below : weights[i * top_k + s]; /* NaN stays */
    }
    for (int64_t s = 0; s < top_k; s++) weights[i * top_k + s] /= sum < 1 ? 1 : sum;
  }
}

/* n_expert * sum over e of (its share of the choices before capacities) * (its mean probability), and the mean of
 * (log sum exp)^2. wanted, probabilities and line: n_expert each. */
static void route_losses(const rv_route_rows_args *args, const float *all, double *wanted, double *probabilities,
                         float *line) {
  const int64_t n_expert = args->n_expert;
  double squares = 0, even = 0;
  for (int64_t e = 0; e < n_expert; e++) wanted[e] = probabilities[e] = 0;
  for (int64_t i = 0; i < args->rows; i++) {
    const float *logits = all + i * n_expert;
    int64_t last = next_best(logits, n_expert, -1);
    const float best = logits[last];
    for (int64_t s = 0; s < args->top_k; s++, last = next_best(logits, n_expert, last)) wanted[last]++;
    for (int64_t e = 0; e < n_expert; e++) line[e] = logits[e] - best;
    exponentials(line, n_expert);
    double sum = 0;
    for (int64_t e = 0; e < n_expert; e++) sum += (double)line[e];
    for (int64_t e = 0; e < n_expert; e++) probabilities[e] += (double)line[e] / sum;
    const double log_sum = (double)best + log_of((float)sum);
    squares += log_sum * log_sum;
  }
  const double rows = (double)args->rows;
  for (int64_t e = 0; e < n_expert; e++) even += wanted[e] * probabilities[e];
  args->losses[0] = (float)((double)n_expert * even / ((double)args->top_k * rows * rows));
  args->losses[1] = (float)(squares / rows);
}

static int32_t rv_route_rows(const rv_route_rows_args *args) {
  const int64_t rows = args->rows, n_expert = args->n_expert, top_k = args->top_k, count = rows * n_expert;
  const float temperature = (float)args->temperature;
  double *room = args->scratch, *last = room + n_expert, *filled = last + n_expert + rows;
  float *line = (float *)(filled + rows), *logits = line + n_expert;
  if (!(temperature > 0) || top_k < 1 || top_k > n_expert) return RV_BAD_ARGUMENT;
  float defect = 0;
  for (int64_t i = 0; i < count; i++) {
    logits[i] = args->logits[i] / temperature;
    defect += logits[i] * 0;
  }
  if (args->capacity > 0)
    choose_with_capacity(args, logits, room, last, filled);
  else
    for (int64_t i = 0; i < rows; i++)
      for (int64_t s = 0, best = -1; s < top_k; s++) {
        best = next_best(logits + i * n_expert, n_expert, best);
        args->experts[i * top_k + s] = (float)best;
      }
  softmax_of_chosen(args, logits);
  if (args->losses) route_losses(args, logits, room, last, line);
  return defect == 0 ? RV_OK : RV_NON_FINITE;
}

static int all_below(const int64_t *index, int64_t count, int64_t n_rows) {
  for (int64_t i = 0; i < count; i++)
    if (index[i] < 0 || index[i] >= n_rows) return 0;
  return 1;
}

static int32_t rv_gather_rows(const rv_gather_rows_args *args) {
  const int64_t dim = args->dim;
  if (!all_below(args->index, args->count, args->n_rows)) return RV_BAD_ARGUMENT;
  for (int64_t i = 0; i < args->count; i++)
    memcpy(args->out + i * dim, args->x + args->index[i] * dim, (size_t)dim * sizeof(float));
  return RV_OK;
}

static int32_t rv_scatter_rows(const rv_scatter_rows_args *args) {
  const int64_t dim = args->dim;
  if (!all_below(args->index, args->count, args->n_rows) || args->out_row < dim) return RV_BAD_ARGUMENT;
  for (int64_t i = 0; i < args->count; i++) {
    if (args->weights[i] == 0) continue; /* of a row that is not meant, which may hold anything */
    const vf weight = v_set((float)((double)args->weights[i] * args->factor));
    const float *x = args->x + i * dim;
    float *out = args->out + args->index[i] * args->out_row;
    for (int64_t d = 0; d < dim; d += VL) {
      const int64_t rest = dim - d;
      if (rest < VL)
        v_store_n(out + d, v_fma(weight, v_load_n(x + d, rest), v_load_n(out + d, rest)), rest);
      else
        v_store(out + d, v_fma(weight, v_load(x + d), v_load(out + d)));
    }
  }
  return RV_OK;
}
