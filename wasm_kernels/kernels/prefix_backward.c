/* Gradients of attention by running sums (prefix.c): of the logarithms of the features, and of the values.
 *   asked_ir = f(q_i)_r exp(peaks_r) / denominator_i
 *   [G, -G . out]: one product with [v, 1] is the gradient of a weight before it was divided.
 * First the table runs forward again, for the queries, and leaves a record of every segment with keys: its rows and its
 * peaks. Then what the queries ask of the table, sum_i asked_i [G_i, -G_i . out_i], runs backward, for the keys. */

typedef struct {
  const float *out, *lse, *grad_out;
  float *of_query, *of_keys, *of_values; /* added to */
  float *slope, *records;                /* slope (RV_MAX_QUERIES, width), later (width, RV_LANES) */
  int64_t n_records;
} rv_prefix_grads;

static void prefix_record(const rv_prefix *p, rv_prefix_grads *g, int64_t n) {
  float *record = g->records + g->n_records++ * (p->width + 1);
  record[0] = (float)n;
  memcpy(record + 1, p->peaks, sizeof(float) * (size_t)p->width);
}

/* asked (n, width) in units of exp(-peaks), from the logarithms in it; answers 0 where a denominator has been lost. */
static int prefix_asked_of_lse(const rv_prefix *p, const float *lse, int64_t n, const float *peaks) {
  int kept = 1;
  for (int64_t i = 0; i < n; i++) {
    float *line = p->asked + i * p->width;
    vf top = v_set(2 * RV_NOTHING_SEEN);
    for (int64_t r = 0; r < p->width; r += VL) {
      const vf raised = v_add(v_load(line + r), v_load(peaks + r));
      top = v_max(top, raised);
      v_store(line + r, prefix_exp(raised, v_set(-lse[i])));
    }
    const float highest = v_hmax(top);
    if (lse[i] < __builtin_inff() && lse[i] - highest < RV_LOG_LEAST && highest > RV_NOTHING_SEEN / 2) kept = 0;
  }
  return kept;
}

static void prefix_load_queries(const rv_prefix *p, const rv_prefix_grads *g, int64_t query, int64_t n) {
  prefix_logs(p, p->query + query * p->dim, NULL, n, p->asked);
  for (int64_t i = 0; i < n; i++) {
    const float *grad = g->grad_out + (query + i) * p->dim_value, *out = g->out + (query + i) * p->dim_value;
    float *line = p->grad + i * (p->dim_value + 1), along = 0;
    for (int64_t c = 0; c < p->dim_value; c++) along += grad[c] * out[c];
    memcpy(line, grad, sizeof(float) * (size_t)p->dim_value);
    line[p->dim_value] = -along;
  }
}

static void prefix_load_keys(const rv_prefix *p, int64_t key, int64_t n) {
  prefix_logs(p, p->keys + key * p->dim, p->addend ? p->addend + key : NULL, n, p->own);
  prefix_extend(p, key, n);
}

/* triangle (n, RV_LANES) = rows of a times rows of b, both (n, dim_value + 1), lanes up to the row's, or from it on. */
static void prefix_triangle(const rv_prefix *p, int64_t n, const float *a, const float *b, int before) {
  const int64_t lines = p->dim_value + 1;
  pack_transposed(n, lines, b, lines, p->rows_t);
  dots_by_rows(n, (int)((n + VL - 1) / VL), lines, a, lines, p->rows_t, p->triangle);
  prefix_cut(n, before, p->triangle);
}

/* grad (n, features) += slope * features */
static void prefix_gradient(const rv_prefix *p, int64_t n, const float *slope, const float *features, float *grad) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t r = 0; r < p->features; r++)
      grad[i * p->features + r] += slope[i * p->width + r] * features[i * p->width + r];
}

/* Queries and as many keys, or none; answers how many rows it took. */
static int64_t prefix_of_queries(rv_prefix *p, rv_prefix_grads *g, int64_t query, int64_t key, int64_t n,
                                 int has_keys) {
  const int64_t lines = p->dim_value + 1;
  for (;; n = n / 2) {
    int rose = 0;
    if (has_keys) {
      prefix_load_keys(p, key, n);
      rose = prefix_raise(p, n, p->own);
    }
    prefix_load_queries(p, g, query, n);
    if (!prefix_asked_of_lse(p, g->lse + query, n, rose ? p->raised : p->peaks) && has_keys && n > 1) continue;
    if (!rose) break;
    prefix_units(p, p->table, p->peaks, p->raised, p->table);
    prefix_swap(&p->peaks, &p->raised);
    break;
  }
  prefix_product(p, n, lines, p->grad, lines, 0, p->table, g->slope, 0);
  if (has_keys) {
    prefix_own(p, n, p->peaks, p->own);
    prefix_triangle(p, n, p->grad, p->extended, 0);
    prefix_product(p, n, n, p->triangle, RV_LANES, 0, p->own, g->slope, 1);
    prefix_add(p, n, p->table);
    prefix_record(p, g, n);
  }
  prefix_gradient(p, n, g->slope, p->asked, g->of_query + query * p->features);
  return n;
}

/* Keys and as many queries, or none, with the peaks of `record`; the table behind them is `spare`. */
static void prefix_of_keys(rv_prefix *p, rv_prefix_grads *g, int64_t query, int64_t key, int64_t n, int has_queries,
                           const float *record) {
  const int64_t lines = p->dim_value + 1;
  const int nv = (int)((n + VL - 1) / VL);
  prefix_load_keys(p, key, n);
  prefix_own(p, n, record, p->own);
  prefix_product(p, n, lines, p->extended, lines, 0, p->spare, g->slope, 0);
  if (has_queries) {
    prefix_load_queries(p, g, query, n);
    prefix_asked_of_lse(p, g->lse + query, n, record);
    prefix_triangle(p, n, p->extended, p->grad, 1);
    prefix_product(p, n, n, p->triangle, RV_LANES, 0, p->asked, g->slope, 1);
  }
  prefix_gradient(p, n, g->slope, p->own, g->of_keys + key * p->features);
  float *own_t = g->slope;
  pack_transposed(n, p->features, p->own, p->width, own_t);
  panel_by_rows(p->dim_value, nv, p->features, p->spare, p->width, own_t, RV_LANES, p->out_t, RV_LANES, 0);
  if (has_queries) {
    panel_by_rows(n, nv, p->features, p->asked, p->width, own_t, RV_LANES, p->triangle, RV_LANES, 0);
    prefix_cut(n, 0, p->triangle);
    panel_by_columns(p->dim_value, nv, n, p->grad, lines, p->triangle, RV_LANES, p->out_t, RV_LANES, 1);
    prefix_product(p, lines, n, p->grad, lines, 1, p->asked, p->spare, 1);
  }
  for (int64_t i = 0; i < n; i++)
    for (int64_t c = 0; c < p->dim_value; c++) g->of_values[(key + i) * p->dim_value + c] += p->out_t[c * RV_LANES + i];
}

static int32_t rv_prefix_attention_backward(const rv_prefix_attention_backward_args *args) {
  if (args->stop > args->batch || args->block == 0 || (!args->weight && args->features != args->dim))
    return RV_BAD_ARGUMENT;
  const int64_t lines = args->dim_value + 1, ahead = args->n_key - args->n_query;
  const int64_t most = rv_min_int(RV_LANES, args->block);
  for (int64_t b = args->start; b < args->stop; b++) {
    rv_prefix p = RV_PREFIX(args, b);
    rv_prefix_grads g = {
        .out = args->out + b * p.n_query * p.dim_value,
        .lse = args->lse + b * p.n_query,
        .grad_out = args->grad_out + b * p.n_query * p.dim_value,
        .of_query = args->grad_query + b * p.n_query * p.features,
        .of_keys = args->grad_keys + b * p.n_key * p.features,
        .of_values = args->grad_values + b * p.n_key * p.dim_value,
    };
    g.slope = prefix_begin(&p, args->scratch);
    g.records = g.slope + RV_MAX_QUERIES * p.width;
    const int64_t first = args->causal && ahead < 0 ? -ahead : 0, before = !args->causal ? p.n_key
                                                                           : ahead > 0   ? ahead
                                                                                         : 0;
    prefix_absorb(&p, 0, before);
    prefix_record(&p, &g, before);
    for (int64_t i = first; i < p.n_query;)
      i += prefix_of_queries(&p, &g, i, i + ahead, rv_min_int(most, p.n_query - i), args->causal != 0);
    memset(p.spare, 0, sizeof(float) * (size_t)(lines * p.width));
    if (!args->causal)
      for (int64_t i = 0, n; i < p.n_query; i += n) {
        n = rv_min_int(most, p.n_query - i);
        prefix_load_queries(&p, &g, i, n);
        prefix_asked_of_lse(&p, g.lse + i, n, p.peaks);
        prefix_product(&p, lines, n, p.grad, lines, 1, p.asked, p.spare, 1);
      }
    int64_t query = p.n_query;
    for (int64_t at = g.n_records - 1; at >= 0; at--) {
      const float *record = g.records + at * (p.width + 1);
      const int64_t n = (int64_t)record[0];
      /* to smaller peaks, whose exponentials it is divided by */
      prefix_units(&p, p.spare, record + 1, p.peaks, p.spare);
      memcpy(p.peaks, record + 1, sizeof(float) * (size_t)p.width);
      if (at > 0) {
        query -= n;
        prefix_of_keys(&p, &g, query, query + ahead, n, 1, record + 1);
      } else {
        for (int64_t key = 0, rows; key < before; key += rows) {
          rows = rv_min_int(most, before - key);
          prefix_of_keys(&p, &g, 0, key, rows, 0, record + 1);
        }
      }
    }
  }
  return RV_OK;
}
