/* Attention whose weights are products of features, by running sums over keys: time and memory O(n * features * dim).
 *   out_i = sum_j <f(q_i), f(k_j)> v_j / sum_j <f(q_i), f(k_j)>
 *   query (n_query, dim)  keys (n_key, dim)  addend (n_key)  weight (features, dim)  values (n_key, dim_value)
 *   sums (dim_value + 1, features)  peaks (features)  out (n_query, dim_value)  lse (n_query)
 * The logarithms of the features are weight x + addend, or the rows themselves where there is no weight. What precedes
 * a query is summed up in a table, row c of which is sum_j f(k_j) v_jc, the last one sum_j f(k_j); a segment of rows
 * meets its own keys in a triangle. Feature r of the table is in units of exp(peaks_r), the largest so far, so neither
 * a denominator nor a feature underflows: where a key behind a query would set too large a unit for it, the segment is
 * cut in halves, down to a row by itself. */

#define RV_NOTHING_SEEN (-1e30f) /* the logarithm that stands for "no key yet"; finite, so that differences are */
#define RV_LEAST 1e-15f          /* a denominator below this may have lost terms that underflowed */
#define RV_LOG_LEAST (-34.538776f)

typedef struct {
  const float *query, *keys, *addend, *weight, *values; /* of one item; addend, weight may be NULL */
  float *table, *spare, *peaks, *raised, *weight_t;     /* rows of `width` floats: features in whole vectors */
  float *asked, *own, *extended, *grad, *rows_t, *triangle, *out_t;
  int64_t n_query, n_key, dim, features, width, dim_value;
} rv_prefix;

/* Rows of the caller's item, and room for one segment of at most RV_MAX_QUERIES rows. */
#define RV_PREFIX(args, b)                                                                                           \
  {                                                                                                                  \
    .query = (args)->query + (b) * (args)->n_query * (args)->dim,                                                    \
    .keys = (args)->keys + (b) * (args)->n_key * (args)->dim,                                                        \
    .addend = (args)->addend ? (args)->addend + (b) * (args)->n_key : NULL, .weight = (args)->weight,                \
    .values = (args)->values + (b) * (args)->n_key * (args)->dim_value, .n_query = (args)->n_query,                  \
    .n_key = (args)->n_key, .dim = (args)->dim, .features = (args)->features,                                        \
    .width = ((args)->features + VL - 1) / VL * VL, .dim_value = (args)->dim_value,                                  \
  }

/* Scratch dealt out, and the map transposed; answers what is left. */
static float *prefix_begin(rv_prefix *p, float *scratch) {
  const int64_t lines = p->dim_value + 1, most = RV_MAX_QUERIES;
  p->table = scratch;
  p->spare = p->table + lines * p->width;
  p->peaks = p->spare + lines * p->width;
  p->raised = p->peaks + p->width;
  p->weight_t = p->raised + p->width;
  p->asked = p->weight_t + p->dim * p->width;
  p->own = p->asked + most * p->width;
  p->extended = p->own + most * p->width;
  p->grad = p->extended + most * lines;
  p->rows_t = p->grad + most * lines;
  p->triangle = p->rows_t + most * (p->dim > lines ? p->dim : lines);
  p->out_t = p->triangle + most * most;
  if (p->weight) {
    memset(p->weight_t, 0, sizeof(float) * (size_t)(p->dim * p->width));
    transpose(p->features, p->dim, p->weight, p->dim, p->weight_t, p->width);
  }
  memset(p->table, 0, sizeof(float) * (size_t)(lines * p->width));
  for (int64_t r = 0; r < p->width; r++) p->peaks[r] = RV_NOTHING_SEEN;
  return p->out_t + most * lines;
}

/* out (rows, width) = [out +] a b, a in rows or in columns of `step` floats, b (depth, width). */
static void prefix_product(const rv_prefix *p, int64_t rows, int64_t depth, const float *a, int64_t step,
                           int in_columns, const float *b, float *out, int accumulate) {
  for (int64_t j = 0; j < p->width; j += RV_LANES) {
    const int nv = rv_min_int(RV_NV, (p->width - j) / VL);
    if (in_columns)
      panel_by_columns(rows, nv, depth, a, step, b + j, p->width, out + j, p->width, accumulate);
    else
      panel_by_rows(rows, nv, depth, a, step, b + j, p->width, out + j, p->width, accumulate);
  }
}

/* Logarithms of the features of n rows, (n, width), -inf behind the last; NaN where one is NaN or +inf. */
static void prefix_logs(const rv_prefix *p, const float *rows, const float *addend, int64_t n, float *logs) {
  if (p->weight) prefix_product(p, n, p->dim, rows, p->dim, 0, p->weight_t, logs, 0);
  const vf above = v_set(__builtin_inff()), nan = v_set(__builtin_nanf(""));
  for (int64_t i = 0; i < n; i++) {
    float *line = logs + i * p->width;
    if (!p->weight) memcpy(line, rows + i * p->dim, sizeof(float) * (size_t)p->features);
    for (int64_t r = p->features; r < p->width; r++) line[r] = -__builtin_inff();
    const vf more = v_set(addend ? addend[i] : 0.0f);
    for (int64_t r = 0; r < p->width; r += VL) {
      const vf x = v_add(v_load(line + r), more);
      v_store(line + r, v_where_lt(x, above, x, nan));
    }
  }
}

/* x to exp(x + shift) of `width` numbers; NaN stays NaN. */
RV_INLINE vf prefix_exp(vf x, vf shift) {
  const vf power = v_mul(v_add(x, shift), v_set((float)RV_LOG2E));
  return v_add(v_exp2(power), v_where_lt(power, v_set(__builtin_inff()), v_zero(), power));
}

/* raised = the peaks with n more keys, whose logarithms are `logs`; answers whether any rose. */
static int prefix_raise(const rv_prefix *p, int64_t n, const float *logs) {
  int rose = 0;
  for (int64_t r = 0; r < p->width; r += VL) {
    const vf old = v_load(p->peaks + r);
    vf top = old;
    for (int64_t i = 0; i < n; i++) top = v_max(v_load(logs + i * p->width + r), top);
    v_store(p->raised + r, top);
    rose |= v_any_lt(old, top);
  }
  return rose;
}

/* Lines of `to` = those of `from`, which are in units of exp(old), in units of exp(new). */
static void prefix_units(const rv_prefix *p, const float *from, const float *old, const float *now, float *to) {
  for (int64_t r = 0; r < p->width; r += VL) {
    const vf factor = prefix_exp(v_load(old + r), v_sub(v_zero(), v_load(now + r)));
    for (int64_t c = 0; c <= p->dim_value; c++)
      v_store(to + c * p->width + r, v_mul(v_load(from + c * p->width + r), factor));
  }
}

/* logs of keys to their features in units of exp(peaks) */
static void prefix_own(const rv_prefix *p, int64_t n, const float *peaks, float *logs) {
  for (int64_t r = 0; r < p->width; r += VL) {
    const vf shift = v_sub(v_zero(), v_load(peaks + r));
    for (int64_t i = 0; i < n; i++) {
      float *at = logs + i * p->width + r;
      v_store(at, prefix_exp(v_load(at), shift));
    }
  }
}

/* [values, 1] of n rows: what sums the weights beside the values. */
static void prefix_extend(const rv_prefix *p, int64_t key, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    float *line = p->extended + i * (p->dim_value + 1);
    memcpy(line, p->values + (key + i) * p->dim_value, sizeof(float) * (size_t)p->dim_value);
    line[p->dim_value] = 1.0f;
  }
}

static void prefix_add(const rv_prefix *p, int64_t n, float *table) {
  prefix_product(p, p->dim_value + 1, n, p->extended, p->dim_value + 1, 1, p->own, table, 1);
}

RV_INLINE void prefix_swap(float **a, float **b) {
  float *held = *a;
  *a = *b;
  *b = held;
}

/* Keys that no query of this call precedes or stands among. */
static void prefix_absorb(rv_prefix *p, int64_t begin, int64_t end) {
  for (int64_t key = begin, n; key < end; key += n) {
    n = rv_min_int(RV_MAX_QUERIES, end - key);
    prefix_logs(p, p->keys + key * p->dim, p->addend ? p->addend + key : NULL, n, p->own);
    if (prefix_raise(p, n, p->own)) {
      prefix_units(p, p->table, p->peaks, p->raised, p->table);
      prefix_swap(&p->peaks, &p->raised);
    }
    prefix_own(p, n, p->peaks, p->own);
    prefix_extend(p, key, n);
    prefix_add(p, n, p->table);
  }
}

/* The logarithms of the features of n queries, transposed: asked (features, RV_LANES), to features over the largest with
 * these peaks; top: that one. */
static void prefix_asked(const rv_prefix *p, int64_t query, int64_t n, int nv, const float *peaks, float *top) {
  const float *rows = p->query + query * p->dim;
  pack_transposed(n, p->dim, rows, p->dim, p->weight ? p->rows_t : p->asked);
  if (p->weight) dots_by_rows(p->features, nv, p->dim, p->weight, p->dim, p->rows_t, p->asked);
  const vf above = v_set(__builtin_inff());
  for (int v = 0; v < nv; v++) {
    vf best = v_set(2 * RV_NOTHING_SEEN), defect = v_zero();
    float *at = p->asked + v * VL;
    for (int64_t r = 0; r < p->features; r++) {
      const vf x = v_load(at + r * RV_LANES);
      defect = v_add(defect, v_where_lt(x, above, v_zero(), v_set(__builtin_nanf(""))));
      best = v_max(v_add(x, v_set(peaks[r])), best);
    }
    const vf shift = v_sub(v_zero(), best);
    for (int64_t r = 0; r < p->features; r++) {
      const vf raised = v_add(v_load(at + r * RV_LANES), v_set(peaks[r]));
      v_store(at + r * RV_LANES, v_add(v_exp2(v_mul(v_add(raised, shift), v_set((float)RV_LOG2E))), defect));
    }
    v_store(top + v * VL, best);
  }
}

/* Lanes of row i of a triangle (n, RV_LANES) that it does not have: those before i, or those behind. */
static void prefix_cut(int64_t n, int before, float *triangle) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t lane = before ? 0 : i + 1; lane < (before ? i : n); lane++) triangle[i * RV_LANES + lane] = 0.0f;
}

/* n queries, each of which sees the table and, of as many keys (or none), those up to its own. Answers 0 where they are
 * too many at once; what it has then done leaves no trace. */
static int prefix_attend(rv_prefix *p, int64_t query, int64_t key, int64_t n, int64_t n_key, float *out, float *lse,
                         float *bad) {
  const int nv = (int)((n + VL - 1) / VL);
  const int64_t lines = p->dim_value + 1;
  float top[RV_LANES];
  int rose = 0;
  if (n_key) {
    prefix_logs(p, p->keys + key * p->dim, p->addend ? p->addend + key : NULL, n, p->own);
    rose = prefix_raise(p, n, p->own);
    prefix_extend(p, key, n);
  }
  const float *peaks = rose ? p->raised : p->peaks;
  if (rose) prefix_units(p, p->table, p->peaks, peaks, p->spare);
  float *table = rose ? p->spare : p->table;
  prefix_asked(p, query, n, nv, peaks, top);
  /* in chains, for features are often all alike: in one, each addition would round to the same side */
  dots_by_rows(lines, nv, p->features, table, p->width, p->asked, p->out_t);
  if (n_key) {
    prefix_own(p, n, peaks, p->own);
    dots_by_rows(n, nv, p->features, p->own, p->width, p->asked, p->triangle);
    prefix_cut(n, 1, p->triangle);
    panel_by_columns(lines, nv, n, p->extended, lines, p->triangle, RV_LANES, p->out_t, RV_LANES, 1);
  }
  const float *total = p->out_t + p->dim_value * RV_LANES;
  for (int64_t i = 0; i < n && n_key && n > 1; i++)
    if (total[i] < RV_LEAST && top[i] > RV_NOTHING_SEEN / 2) return 0;
  vf defect = v_zero();
  for (int v = 0; v < nv; v++) {
    const vf sum = v_load(total + v * VL);
    const vf inverse = v_add(v_where_lt(v_zero(), sum, v_div(v_set(1.0f), sum), v_zero()), v_mul(sum, v_zero()));
    for (int64_t c = 0; c < p->dim_value; c++) {
      float *at = p->out_t + c * RV_LANES + v * VL;
      const vf value = v_mul(v_load(at), inverse);
      defect = v_fma(value, v_zero(), defect);
      v_store(at, value);
    }
  }
  *bad += v_hsum(defect);
  for (int64_t i = 0; i < n; i++)
    lse[i] = total[i] > 0 ? (float)(RV_LN2 * rv_log2((double)total[i])) + top[i] : __builtin_inff();
  transpose(p->dim_value, n, p->out_t, RV_LANES, out, p->dim_value);
  if (n_key) prefix_add(p, n, table);
  if (rose) {
    prefix_swap(&p->table, &p->spare);
    prefix_swap(&p->peaks, &p->raised);
  }
  return 1;
}

static int32_t rv_prefix_attention(const rv_prefix_attention_args *args) {
  if (args->stop > args->batch || args->block == 0 || (!args->weight && args->features != args->dim))
    return RV_BAD_ARGUMENT;
  const int64_t lines = args->dim_value + 1, table_size = lines * args->features;
  const int64_t ahead = args->n_key - args->n_query, most = rv_min_int(RV_LANES, args->block);
  float bad = 0;
  for (int64_t b = args->start; b < args->stop; b++) {
    rv_prefix p = RV_PREFIX(args, b);
    float *out = args->out + b * p.n_query * p.dim_value, *lse = args->lse + b * p.n_query;
    float *sums = args->sums + b * table_size, *peaks = args->peaks + b * p.features;
    prefix_begin(&p, args->scratch);
    if (args->sums_before && args->peaks_before) {
      for (int64_t c = 0; c < lines; c++)
        memcpy(p.table + c * p.width, args->sums_before + b * table_size + c * p.features,
               sizeof(float) * (size_t)p.features);
      memcpy(p.peaks, args->peaks_before + b * p.features, sizeof(float) * (size_t)p.features);
    }
    const int64_t first = args->causal && ahead < 0 ? -ahead : 0; /* queries before it see no key */
    memset(out, 0, sizeof(float) * (size_t)(first * p.dim_value));
    for (int64_t i = 0; i < first; i++) lse[i] = __builtin_inff();
    prefix_absorb(&p, 0, !args->causal ? p.n_key : ahead > 0 ? ahead : 0);
    for (int64_t i = first, n; i < p.n_query; i += n) {
      n = rv_min_int(most, p.n_query - i);
      while (!prefix_attend(&p, i, i + ahead, n, args->causal ? n : 0, out + i * p.dim_value, lse + i, &bad)) n = n / 2;
    }
    for (int64_t c = 0; c < lines; c++)
      memcpy(sums + c * p.features, p.table + c * p.width, sizeof(float) * (size_t)p.features);
    memcpy(peaks, p.peaks, sizeof(float) * (size_t)p.features);
  }
  return bad == 0 ? RV_OK : RV_NON_FINITE;
}
