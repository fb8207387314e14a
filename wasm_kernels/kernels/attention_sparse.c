/* Attention of each query to a list of keys of its own (CSR rows): time and memory follow the edges.
 *   query (batch, n_query, heads, dim)  keys, values (batch, n_key, kv_heads, dim | dim_value)  any strides
 *   indptr (n_query + 1)  indices, bias (n_edges): query i attends to indices[indptr[i] .. indptr[i + 1]]
 *   out (batch, n_query, heads, dim_value)  lse (batch, heads, n_query)
 * Keys are gathered by pointer, RV_KEY_TILE edges at a time; the softmax runs on as in attention_few.h. */

typedef struct {
  const float *query, *keys, *values, *bias;
  const int64_t *indptr, *indices;
  int64_t n_edges, n_key, query_row, key_row, value_row, dim, dim_value;
  float scale;
} rv_edges;

#define RV_EDGES(args, b, h, kv)                                                                                     \
  {                                                                                                                  \
    .query = (args)->query + (b) * (args)->query_batch + (h) * (args)->query_head,                                   \
    .keys = (args)->keys + (b) * (args)->key_batch + (kv) * (args)->key_head,                                        \
    .values = (args)->values + (b) * (args)->value_batch + (kv) * (args)->value_head, .bias = (args)->bias,          \
    .indptr = (args)->indptr + (b) * (args)->indptr_batch + (h) * (args)->indptr_head, .indices = (args)->indices, .n_edges = (args)->n_edges, .n_key = (args)->n_key,        \
    .query_row = (args)->query_row, .key_row = (args)->key_row, .value_row = (args)->value_row, .dim = (args)->dim,  \
    .dim_value = (args)->dim_value, .scale = (float)((args)->scale * RV_LOG2E),                                      \
  }

/* Whether the lists stay inside of their arrays. */
static int lists_fit(const int64_t *indptr, int64_t n_query, int64_t n_edges) {
  if (indptr[0] < 0 || indptr[n_query] > n_edges) return 0;
  for (int64_t i = 0; i < n_query; i++)
    if (indptr[i] > indptr[i + 1]) return 0;
  return 1;
}

static int edges_fit(const int64_t *indptr, int64_t batch, int64_t indptr_batch, int64_t heads, int64_t indptr_head,
                     const int64_t *indices, int64_t n_query, int64_t n_key, int64_t n_edges) {
  for (int64_t b = 0; b < (indptr_batch ? batch : 1); b++)
    for (int64_t h = 0; h < (indptr_head ? heads : 1); h++)
      if (!lists_fit(indptr + b * indptr_batch + h * indptr_head, n_query, n_edges)) return 0;
  for (int64_t e = 0; e < n_edges; e++)
    if (indices[e] < 0 || indices[e] >= n_key) return 0;
  return 1;
}

#define RV_EDGES_FIT(args)                                                                                           \
  edges_fit((args)->indptr, (args)->batch, (args)->indptr_batch, (args)->heads, (args)->indptr_head, (args)->indices, \
            (args)->n_query, (args)->n_key, (args)->n_edges)

/* line[e] = <row, rows of `base` at indices[e]> for n edges; eight at a time, the last repeated. */
RV_INLINE void gathered_dots(const float *row, const float *base, int64_t base_row, int64_t width,
                             const int64_t *indices, int64_t n, float *line) {
  for (int64_t e = 0; e < n; e += 8) {
    const float *rows[8];
    for (int i = 0; i < 8; i++) rows[i] = base + indices[e + i < n ? e + i : n - 1] * base_row;
    few_dots(1, 8, width, row, 0, rows, line + e);
  }
}

/* The scores of n edges, in powers of two; -inf in the lanes behind. Answers the defect. */
RV_INLINE float edge_scores(const rv_edges *of, int64_t query, int64_t first, int64_t n, float *line) {
  gathered_dots(of->query + query * of->query_row, of->keys, of->key_row, of->dim, of->indices + first, n, line);
  float defect = 0;
  for (int64_t e = 0; e < n; e++) {
    line[e] *= of->scale;
    defect += line[e] * 0.0f;
    if (of->bias) line[e] += of->bias[first + e] * (float)RV_LOG2E;
  }
  for (int64_t e = n; e < whole_vectors(n); e++) line[e] = -__builtin_inff();
  return defect;
}

/* y += a * x */
RV_INLINE void add_scaled(float a, const float *x, float *y, int64_t n) {
  const vf factor = v_set(a);
  int64_t c = 0;
  for (; c + VL <= n; c += VL) v_store(y + c, v_fma(factor, v_load(x + c), v_load(y + c)));
  for (; c < n; c++) y[c] += a * x[c];
}

static int32_t attend_edges(const rv_edges *of, int64_t query, float *out, float *lse, float *line) {
  float top = RV_LOWEST, sum = 0, defect = 0;
  for (int64_t c = 0; c < of->dim_value; c++) out[c] = 0;
  for (int64_t first = of->indptr[query], n; first < of->indptr[query + 1]; first += n) {
    n = rv_min_int(RV_KEY_TILE, of->indptr[query + 1] - first);
    defect += edge_scores(of, query, first, n, line);
    few_softmax(line, &top, &sum, out, of->dim_value, (int)(whole_vectors(n) / VL));
    for (int64_t e = 0; e < n; e++)
      add_scaled(line[e], of->values + of->indices[first + e] * of->value_row, out, of->dim_value);
  }
  const float inverse = (sum > 0 ? 1.0f / sum : 0.0f) + defect;
  float bad = defect;
  for (int64_t c = 0; c < of->dim_value; c++) {
    out[c] *= inverse;
    bad += out[c] * 0.0f;
  }
  if (lse) *lse = log_sum_exp(top, sum) + defect;
  return bad == 0 ? RV_OK : RV_NON_FINITE;
}

static int32_t rv_attention_sparse(const rv_attention_sparse_args *args) {
  const int64_t blocks = (args->n_query + RV_QUERY_BLOCK - 1) / RV_QUERY_BLOCK;
  if (!args->kv_heads || args->heads % args->kv_heads || args->stop > args->batch * args->heads * blocks ||
      !RV_EDGES_FIT(args))
    return RV_BAD_ARGUMENT;
  int32_t status = RV_OK;
  for (int64_t task = args->start; task < args->stop; task++) {
    const int64_t item = task / blocks, b = item / args->heads, h = item % args->heads;
    const rv_edges of = RV_EDGES(args, b, h, h / (args->heads / args->kv_heads));
    float *out = args->out + b * args->out_batch + h * args->out_head;
    const int64_t begin = task % blocks * RV_QUERY_BLOCK;
    for (int64_t i = begin; i < begin + RV_QUERY_BLOCK && i < args->n_query; i++)
      status |= attend_edges(&of, i, out + i * args->out_row, args->lse ? args->lse + item * args->n_query + i : NULL,
                             args->scratch);
  }
  return status;
}

/* As attention_backward: P from the log-sum-exp, then every edge adds to the gradients of its two ends. */
static int32_t rv_attention_sparse_backward(const rv_attention_sparse_backward_args *args) {
  if (!args->kv_heads || args->heads % args->kv_heads || args->stop > args->batch * args->kv_heads ||
      !RV_EDGES_FIT(args))
    return RV_BAD_ARGUMENT;
  const int64_t group = args->heads / args->kv_heads, dim = args->dim, dim_value = args->dim_value;
  float *weights = args->scratch, *products = weights + RV_KEY_TILE;
  for (int64_t task = args->start; task < args->stop; task++) {
    const int64_t b = task / args->kv_heads, kv = task % args->kv_heads;
    float *grad_keys = args->grad_keys + b * args->key_batch + kv * args->key_head;
    float *grad_values = args->grad_values + b * args->value_batch + kv * args->value_head;
    for (int64_t h = kv * group; h < (kv + 1) * group; h++) {
      const rv_edges of = RV_EDGES(args, b, h, kv);
      for (int64_t i = 0; i < args->n_query; i++) {
        const int64_t at = b * args->out_batch + h * args->out_head + i * args->out_row;
        const float *grad_out = args->grad_out + at, *query = of.query + i * of.query_row;
        float *grad_query = args->grad_query + b * args->query_batch + h * args->query_head + i * args->query_row;
        const float shift = args->lse[(b * args->heads + h) * args->n_query + i] * (float)RV_LOG2E;
        const float *const out[4] = {args->out + at, args->out + at, args->out + at, args->out + at};
        float delta[4]; /* all alike, and summed as products are: of a single edge the two are the same number */
        few_dots(1, 4, dim_value, grad_out, 0, out, delta);
        for (int64_t first = of.indptr[i], n; first < of.indptr[i + 1]; first += n) {
          n = rv_min_int(RV_KEY_TILE, of.indptr[i + 1] - first);
          edge_scores(&of, i, first, n, weights);
          for (int64_t e = 0; e < n; e += VL) v_store(weights + e, v_exp2(v_sub(v_load(weights + e), v_set(shift))));
          gathered_dots(grad_out, of.values, of.value_row, dim_value, of.indices + first, n, products);
          for (int64_t e = 0; e < n; e++) {
            const int64_t key = of.indices[first + e];
            const float of_score = weights[e] * (products[e] - delta[0]), scaled = of_score * (float)args->scale;
            add_scaled(scaled, of.keys + key * of.key_row, grad_query, dim);
            add_scaled(scaled, query, grad_keys + key * args->key_row, dim);
            add_scaled(weights[e], grad_out, grad_values + key * args->value_row, dim_value);
            if (args->grad_bias) args->grad_bias[first + e] += of_score;
          }
        }
      }
    }
  }
  return RV_OK;
}
