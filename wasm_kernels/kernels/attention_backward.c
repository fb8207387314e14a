/* Gradients of attention, recomputed from the log-sum-exp (FlashAttention, arXiv:2205.14135, algorithm 4):
 *   P = 2^(score - lse)   dV += PT dO   dS = P * (dO VT - rowsum(dO * O))   dQ += scale dS K   dK += scale dST Q
 *   out, grad_out like out of attention; lse (batch, heads, n_query)
 *   grad_query, grad_keys, grad_values, grad_bias with the strides of their inputs: what is broadcast is summed
 * Gradients are added to what the buffers hold. A query is a lane, as in attention_many.h; no n_query x n_key array
 * exists. Tasks are pairs of batch item and kv head. */

typedef struct {
  float *queries_t, *grads_t, *grad_queries_t; /* (dim, lanes), (dim_value, lanes), (dim, lanes) */
  float *queries, *grads;                      /* (lanes, key_width), (lanes, value_width): rows padded to vectors */
  float *scores, *products;                    /* (keys of a tile, lanes) */
  float *shift, *delta;                        /* (lanes): lse in powers of two; rowsum(dO * O) */
  float *grad_keys, *grad_values;              /* (n_key, key_width), (n_key, value_width) */
  int64_t key_width, value_width;
} rv_backward_scratch;

RV_INLINE int64_t whole_vectors(int64_t n) { return (n + VL - 1) / VL * VL; }

RV_INLINE rv_backward_scratch backward_scratch(float *p, int64_t n_key, int64_t dim, int64_t dim_value) {
  rv_backward_scratch s = {.key_width = whole_vectors(dim), .value_width = whole_vectors(dim_value)};
  float **const parts[] = {&s.queries_t, &s.grads_t, &s.grad_queries_t, &s.queries,   &s.grads,      &s.scores,
                           &s.products,  &s.shift,   &s.delta,          &s.grad_keys, &s.grad_values};
  const int64_t sizes[] = {RV_LANES * dim,
                           RV_LANES * dim_value,
                           RV_LANES * dim,
                           RV_LANES * s.key_width,
                           RV_LANES * s.value_width,
                           RV_LANES * RV_KEY_TILE,
                           RV_LANES * RV_KEY_TILE,
                           RV_LANES,
                           RV_LANES,
                           n_key * s.key_width,
                           n_key * s.value_width};
  for (int i = 0; i < 11; i++) {
    *parts[i] = p;
    p += sizes[i];
  }
  return s;
}

/* rows (n, width) from x (n, depth), zeros behind. */
RV_INLINE void pad_rows(int64_t n, int64_t depth, const float *x, int64_t x_row, float *rows, int64_t width) {
  for (int64_t i = 0; i < n; i++) {
    memcpy(rows + i * width, x + i * x_row, sizeof(float) * (size_t)depth);
    for (int64_t c = depth; c < width; c++) rows[i * width + c] = 0.0f;
  }
}

/* c (rows, width) += a (rows, depth) b (depth, width), a's rows RV_LANES apart. */
RV_INLINE void add_product(int64_t rows, int64_t width, int64_t depth, const float *a, const float *b, float *c) {
  for (int64_t v = 0; v < width; v += RV_LANES)
    panel_by_rows(rows, rv_min_int(RV_NV, (width - v) / VL), depth, a, RV_LANES, b + v, width, c + v, width, 1);
}

/* x (n, depth), rows x_row apart, += scale * rows (n, width). */
RV_INLINE void add_rows(int64_t n, int64_t depth, float scale, const float *rows, int64_t width, float *x,
                        int64_t x_row) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t c = 0; c < depth; c++) x[i * x_row + c] += scale * rows[i * width + c];
}

/* products -> dS and scores -> P, for the keys of one tile. */
RV_INLINE void backward_tile(const rv_backward_scratch *s, int64_t keys, int nv, float scale) {
  for (int v = 0; v < nv; v++) {
    const vf shift = v_sub(v_zero(), v_load(s->shift + v * VL)), delta = v_load(s->delta + v * VL);
    const vf factor = v_set(scale);
    for (int64_t j = 0; j < keys; j++) {
      float *score = s->scores + j * RV_LANES + v * VL, *product = s->products + j * RV_LANES + v * VL;
      const vf weight = v_exp2(v_fma(v_load(score), factor, shift));
      v_store(score, weight);
      v_store(product, v_mul(weight, v_sub(v_load(product), delta)));
    }
  }
}

typedef struct {
  const float *out, *grad_out, *lse;
  int64_t row;
  float *grad_query, *grad_bias;
} rv_backward_rows; /* of one head */

static void backward_queries(const rv_head *head, const rv_backward_rows *rows, const rv_backward_scratch *s,
                             int64_t first, int64_t n, float scale) {
  const int nv = (int)((n + VL - 1) / VL);
  const int64_t dim = head->dim, dim_value = head->dim_value;
  const float *query = head->query + first * head->query_row, *grad_out = rows->grad_out + first * rows->row;
  pack_transposed(n, dim, query, head->query_row, s->queries_t, RV_LANES);
  pack_transposed(n, dim_value, grad_out, rows->row, s->grads_t, RV_LANES);
  pad_rows(n, dim, query, head->query_row, s->queries, s->key_width);
  pad_rows(n, dim_value, grad_out, rows->row, s->grads, s->value_width);
  for (int64_t i = 0; i < RV_LANES; i++) {
    const float lse = i < n ? rows->lse[first + i] : 0, *out = rows->out + (first + i) * rows->row;
    const int seen = i < n && lse > -__builtin_inff();
    float delta = 0;
    for (int64_t c = 0; seen && c < dim_value; c++) delta += out[c] * grad_out[i * rows->row + c];
    s->shift[i] = seen ? (float)(lse * RV_LOG2E) : -RV_LOWEST; /* without keys, and in lanes behind n: P = 0 */
    s->delta[i] = delta;
  }
  rv_run runs[2] = {{0, 0}, {0, 0}};
  const int n_runs = visible_runs(head, first, n, runs);
  int started = 0;
  for (int64_t r = 0, j = runs[0].begin; next_tile(runs, n_runs, &r, &j); j += RV_KEY_TILE) {
    const int64_t keys = rv_min_int(RV_KEY_TILE, runs[r].end - j);
    const float *tile = head->keys + j * head->key_row, *values = head->values + j * head->value_row;
    dots_by_rows(keys, nv, dim, tile, head->key_row, s->queries_t, s->scores);
    panel_by_rows(keys, nv, dim_value, values, head->value_row, s->grads_t, RV_LANES, s->products, RV_LANES, 0);
    rv_scoring with = scoring_of(head, first, j, 1);
    with.has_band = band_cuts(&with, keys, n);
    const int plain = !(with.mask || with.bias || with.has_band);
    for (int64_t line = 0; !plain && line < keys; line++) score_line(&with, s->scores + line * RV_LANES, line, n, nv);
    backward_tile(s, keys, nv, plain ? with.scale : 1.0f);
    if (rows->grad_bias)
      for (int64_t line = 0; line < keys; line++)
        for (int64_t i = 0; i < n; i++)
          rows->grad_bias[(first + i) * head->bias_row + (j + line) * head->bias_col] +=
              s->products[line * RV_LANES + i];
    panel_by_columns(dim, nv, keys, tile, head->key_row, s->products, RV_LANES, s->grad_queries_t, RV_LANES, started);
    started = 1;
    add_product(keys, s->key_width, n, s->products, s->queries, s->grad_keys + j * s->key_width);
    add_product(keys, s->value_width, n, s->scores, s->grads, s->grad_values + j * s->value_width);
  }
  if (!started) return;
  float *grad_query = rows->grad_query + first * head->query_row;
  for (int64_t i = 0; i < n; i++)
    for (int64_t c = 0; c < dim; c++)
      grad_query[i * head->query_row + c] += scale * s->grad_queries_t[c * RV_LANES + i];
}

static int32_t rv_attention_backward(const rv_attention_backward_args *args) {
  if (!RV_HEADS_AGREE(args) || args->stop > args->batch * args->kv_heads) return RV_BAD_ARGUMENT;
  const int64_t group = args->heads / args->kv_heads, dim = args->dim, dim_value = args->dim_value;
  const rv_backward_scratch s = backward_scratch(args->scratch, args->n_key, dim, dim_value);
  const float scale = (float)args->scale;
  for (int64_t task = args->start; task < args->stop; task++) {
    const int64_t b = task / args->kv_heads, kv = task % args->kv_heads;
    const float *values = args->values + b * args->value_batch + kv * args->value_head;
    int64_t n_key = args->n_key;
    memset(s.grad_keys, 0, sizeof(float) * (size_t)(n_key * s.key_width));
    memset(s.grad_values, 0, sizeof(float) * (size_t)(n_key * s.value_width));
    for (int64_t h = kv * group; h < (kv + 1) * group; h++) {
      rv_head head = RV_HEAD(args, b, h);
      head.values = values;
      head.value_row = args->value_row;
      head.dim_value = dim_value;
      n_key = head.n_key;
      const int64_t rows_at = b * args->out_batch + h * args->out_head;
      const rv_backward_rows rows = {
          .out = args->out + rows_at,
          .grad_out = args->grad_out + rows_at,
          .lse = args->lse + (b * args->heads + h) * args->n_query,
          .row = args->out_row,
          .grad_query = args->grad_query + b * args->query_batch + h * args->query_head,
          .grad_bias = args->grad_bias ? args->grad_bias + b * args->bias_batch + h * args->bias_head : NULL,
      };
      for (int64_t i = 0, n; i < args->n_query; i += n) {
        n = tile_queries(&head, i, args->n_query, RV_LANES);
        backward_queries(&head, &rows, &s, i, n, scale);
      }
    }
    add_rows(n_key, dim, scale, s.grad_keys, s.key_width, args->grad_keys + b * args->key_batch + kv * args->key_head,
             args->key_row);
    add_rows(n_key, dim_value, 1.0f, s.grad_values, s.value_width,
             args->grad_values + b * args->value_batch + kv * args->value_head, args->value_row);
  }
  return RV_OK;
}
