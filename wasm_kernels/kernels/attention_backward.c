/* Gradients of attention, recomputed from the log-sum-exp (FlashAttention, arXiv:2205.14135, algorithm 4):
 *   P = 2^(score - lse)   dV += PT dO   dS = P * (dO VT - rowsum(dO * O))   dQ += scale dS K   dK += scale dST Q
 *   out, grad_out like out of attention; lse (batch, heads, n_query)
 *   grad_query, grad_keys, grad_values, grad_bias with the strides of their inputs: what is broadcast is summed
 * With spaces instead of dot products, the gradient of a squared distance goes to both ends of the difference:
 *   dQ += 2 (q rowsum(G) - G K)   dK += 2 (k colsum(G) - GT Q)
 * With dropout, P that went to the values is the kept one, and what was dropped got nothing back.
 * Gradients are added to what the buffers hold. A query is a lane, as in attention_many.h; no n_query x n_key array
 * exists. Tasks are pairs of batch item and kv head. */

typedef struct {
  float *queries_t, *grads_t, *grad_queries_t; /* (dim, lanes), (dim_value, lanes), (dim, lanes) */
  float *queries, *grads;                      /* (lanes, key_width), (lanes, value_width): rows padded to vectors */
  float *scores, *products, *extra;            /* (keys of a tile, lanes) */
  float *shift, *delta;                        /* (lanes): lse in powers of two; rowsum(dO * O) */
  float *grad_keys, *grad_values;              /* (n_key, key_width), (n_key, value_width) */
  float *of_segments; /* (n_segments, lanes, key_width): queries, each with one segment's channels */
  int64_t key_width, value_width;
} rv_backward_scratch;

RV_INLINE int64_t whole_vectors(int64_t n) { return (n + VL - 1) / VL * VL; }

RV_INLINE rv_backward_scratch backward_scratch(float *p, int64_t n_key, int64_t dim, int64_t dim_value,
                                               int64_t n_segments) {
  rv_backward_scratch s = {.key_width = whole_vectors(dim), .value_width = whole_vectors(dim_value)};
  float **const parts[] = {&s.queries_t,   &s.grads_t,   &s.grad_queries_t, &s.queries, &s.grads,
                           &s.scores,      &s.products,  &s.extra,          &s.shift,   &s.delta,
                           &s.of_segments, &s.grad_keys, &s.grad_values};
  const int64_t sizes[] = {RV_LANES * dim,
                           RV_LANES * dim_value,
                           RV_LANES * dim,
                           RV_LANES * s.key_width,
                           RV_LANES * s.value_width,
                           RV_LANES * RV_KEY_TILE,
                           RV_LANES * RV_KEY_TILE,
                           RV_LANES * RV_KEY_TILE,
                           RV_LANES,
                           RV_LANES,
                           RV_LANES * s.key_width * n_segments,
                           n_key * s.key_width,
                           n_key * s.value_width};
  for (int i = 0; i < 13; i++) {
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
  const int64_t vectors = width / VL, panels = (vectors + RV_NV - 1) / RV_NV;
  for (int64_t p = 0; p < panels; p++) { /* of like widths: 2 + 2 vectors rather than 3 + 1 */
    const int64_t v = vectors * p / panels, next = vectors * (p + 1) / panels;
    panel_by_rows(rows, (int)(next - v), depth, a, RV_LANES, b + v * VL, width, c + v * VL, width, 1);
  }
}

/* x (n, depth), rows x_row apart, += scale * rows (n, width). */
RV_INLINE void add_rows(int64_t n, int64_t depth, float scale, const float *rows, int64_t width, float *x,
                        int64_t x_row) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t c = 0; c < depth; c++) x[i * x_row + c] += scale * rows[i * width + c];
}

/* Where gradients of one head go. scalars: weight and curvature of every segment, decay, rate; or NULL. */
typedef struct {
  const float *out, *grad_out, *lse;
  int64_t row;
  float scale;
  float *grad_query, *grad_bias, *grad_query_aux, *grad_key_aux;
  double *scalars;
} rv_backward_rows;

/* products -> dS and scores -> the P that met the values, for the keys of one tile. */
RV_INLINE void backward_tile(const rv_backward_scratch *s, const rv_dropout *drop, const uint32_t *hashes, int64_t key,
                             int64_t keys, int nv, float scale) {
  const int drops = drop->threshold > 0;
  for (int v = 0; v < nv; v++) {
    const vf shift = v_sub(v_zero(), v_load(s->shift + v * VL)), delta = v_load(s->delta + v * VL);
    const vf factor = factor_left(s->scores + v * VL, keys, v_set(scale), shift);
    const vf inverse = v_set(drops ? drop->inverse : 1.0f);
    for (int64_t j = 0; j < keys; j++) {
      float *score = s->scores + j * RV_LANES + v * VL, *product = s->products + j * RV_LANES + v * VL;
      const vf weight = v_exp2(v_fma(v_load(score), factor, shift));
      vf met = weight, back = v_load(product);
      if (drops) {
        const vi query = vi_load(hashes + v * VL), at = vi_set((uint32_t)(key + j));
        met = kept(drop, query, at, v_mul(weight, inverse));
        back = kept(drop, query, at, v_mul(back, inverse));
      }
      v_store(score, met);
      v_store(product, v_mul(weight, v_sub(back, delta)));
    }
  }
}

/* The gradients of one segment's distances, from dS in products: `extra` becomes -2 dS * d score / d square, for which
 * the caller adds the products with K and Q; the rest of both differences, and aux and scalars, are done here. */
static void backward_segment(const rv_head *head, const rv_backward_rows *rows, const rv_backward_scratch *s,
                             const rv_lanes *lanes, int64_t segment, int64_t first, int64_t n, int64_t key,
                             int64_t keys, int nv) {
  const rv_segment at = head->segments[segment];
  float line_square[RV_KEY_TILE], line_aux[RV_KEY_TILE];
  double of_weight = 0, of_curvature = 0;
  memset(line_square, 0, sizeof line_square);
  memset(line_aux, 0, sizeof line_aux);
  for (int v = 0; v < nv; v++) {
    vf lane_square = v_zero(), lane_aux_sum = v_zero(), weights = v_zero(), curvatures = v_zero();
    const vf b = v_load(lanes->aux + segment * RV_LANES + v * VL);
    for (int64_t j = 0; j < keys; j++) {
      float *p = s->extra + j * RV_LANES + v * VL;
      const vf a = v_set(aux_of(head->key_aux, head->key_aux_row, key + j, segment));
      const vf g = v_load(s->products + j * RV_LANES + v * VL);
      const rv_space_gradient of = space_gradient(&at, head->spaces + segment, g, v_load(p), a, b);
      const vf twice = v_add(of.square, of.square);
      v_store(p, v_sub(v_zero(), twice));
      line_square[j] += v_hsum(twice);
      line_aux[j] += v_hsum(of.line_aux);
      lane_square = v_add(lane_square, twice);
      lane_aux_sum = v_add(lane_aux_sum, of.lane_aux);
      weights = v_add(weights, of.weight);
      curvatures = v_add(curvatures, of.curvature);
    }
    of_weight += (double)v_hsum(weights);
    of_curvature += (double)v_hsum(curvatures);
    for (int64_t c = at.begin; c < at.end; c++) {
      float *grad = s->grad_queries_t + c * RV_LANES + v * VL;
      v_store(grad, v_fma(v_load(s->queries_t + c * RV_LANES + v * VL), lane_square, v_load(grad)));
    }
    if (rows->grad_query_aux) {
      float sums[VL];
      v_store(sums, lane_aux_sum);
      for (int64_t i = v * VL; i < n && i < (v + 1) * VL; i++)
        rows->grad_query_aux[(first + i) * head->query_aux_row + segment] += rows->scale * sums[i - v * VL];
    }
  }
  for (int64_t j = 0; j < keys; j++) {
    const float *x = head->keys + (key + j) * head->key_row;
    float *grad = s->grad_keys + (key + j) * s->key_width;
    for (int64_t c = at.begin; c < at.end; c++) grad[c] += line_square[j] * x[c];
    if (rows->grad_key_aux) rows->grad_key_aux[(key + j) * head->key_aux_row + segment] += rows->scale * line_aux[j];
  }
  if (rows->scalars) {
    rows->scalars[2 * segment] += (double)rows->scale * of_weight;
    rows->scalars[2 * segment + 1] += (double)rows->scale * of_curvature;
  }
}

/* dQ and dK of one tile, from dS in products. */
static void backward_scores(const rv_head *head, const rv_backward_rows *rows, const rv_backward_scratch *s,
                            const rv_lanes *lanes, int64_t first, int64_t n, int64_t key, int64_t keys, int nv) {
  const float *tile = head->keys + key * head->key_row;
  if (head->n_segments == 0) {
    panel_by_columns(head->dim, nv, keys, tile, head->key_row, s->products, RV_LANES, s->grad_queries_t, RV_LANES, 1);
    add_product(keys, s->key_width, n, s->products, s->queries, s->grad_keys + key * s->key_width);
    return;
  }
  for (int64_t segment = 0; segment < head->n_segments; segment++) {
    const rv_segment at = head->segments[segment];
    raw_segment(head, segment, keys, nv, tile, head->key_row, s->queries_t, s->extra);
    if (at.kind == RV_DOT) {
      const vf weight = v_set((float)head->spaces[segment].weight);
      double of_weight = 0;
      for (int64_t j = 0; j < keys; j++)
        for (int v = 0; v < nv; v++) {
          float *p = s->extra + j * RV_LANES + v * VL;
          const vf g = v_load(s->products + j * RV_LANES + v * VL);
          of_weight += (double)v_hsum(v_mul(g, v_load(p)));
          v_store(p, v_mul(g, weight));
        }
      if (rows->scalars) rows->scalars[2 * segment] += (double)rows->scale * of_weight;
    } else {
      backward_segment(head, rows, s, lanes, segment, first, n, key, keys, nv);
    }
    panel_by_columns(at.end - at.begin, nv, keys, tile + at.begin, head->key_row, s->extra, RV_LANES,
                     s->grad_queries_t + at.begin * RV_LANES, RV_LANES, 1);
    add_product(keys, s->key_width, n, s->extra, s->of_segments + segment * RV_LANES * s->key_width,
                s->grad_keys + key * s->key_width);
  }
}

/* The gradients of decay and rate: score += decay * 2^(-rate' gap), rate' = rate * log2(e). */
static void backward_times(const rv_head *head, const rv_backward_rows *rows, const rv_backward_scratch *s,
                           int64_t first, int64_t n, int64_t key, int64_t keys) {
  double of_decay = 0, of_rate = 0;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < keys; j += VL) {
      float gap[VL], power[VL];
      for (int64_t t = 0; t < VL; t++) {
        const double x = j + t < keys ? head->query_time[first + i] - head->key_time[key + j + t] : 0;
        gap[t] = (float)(x < 0 ? -x : x);
      }
      v_store(power, v_exp2(v_mul(v_load(gap), v_set(-head->rate * (float)RV_LOG2E))));
      for (int64_t t = 0; t < VL && j + t < keys; t++) {
        const double g = (double)s->products[(j + t) * RV_LANES + i] * (double)power[t];
        of_decay += g;
        of_rate -= g * (double)gap[t];
      }
    }
  double *scalars = rows->scalars + 2 * head->n_segments;
  scalars[0] += of_decay;
  scalars[1] += of_rate * (double)head->decay * RV_LN2;
}

/* shift and delta of n queries. Delta is summed as the products of dO and V are: of a single key, whose value is the
 * output, both are the same number, so that its score, which changes nothing, has the gradient 0. */
static void backward_rows(const rv_backward_rows *rows, const rv_backward_scratch *s, int64_t first, int64_t n, int nv,
                          int64_t dim_value) {
  float *out_t = s->grads; /* it is filled later */
  pack_transposed(n, dim_value, rows->out + first * rows->row, rows->row, out_t);
  for (int v = 0; v < nv; v++) {
    vf delta = v_zero();
    for (int64_t c = v * VL; c < dim_value * RV_LANES; c += RV_LANES)
      delta = v_fma(v_load(out_t + c), v_load(s->grads_t + c), delta);
    v_store(s->delta + v * VL, delta);
  }
  for (int64_t i = 0; i < nv * VL; i++) {
    const float lse = i < n ? rows->lse[first + i] : -__builtin_inff();
    const int seen = lse > -__builtin_inff();
    s->shift[i] = seen ? (float)(lse * RV_LOG2E) : -RV_LOWEST; /* without keys, and in lanes behind n: P = 0 */
    if (!seen) s->delta[i] = 0;
  }
}

static void backward_queries(const rv_head *head, const rv_backward_rows *rows, const rv_backward_scratch *s,
                             int64_t first, int64_t n) {
  const int nv = (int)((n + VL - 1) / VL);
  const int64_t dim = head->dim, dim_value = head->dim_value;
  const float *query = head->query + first * head->query_row, *grad_out = rows->grad_out + first * rows->row;
  float defect[RV_LANES];
  rv_lanes lanes;
  rv_walk walk;
  memset(defect, 0, sizeof defect);
  lanes_begin(&lanes, head, first, n);
  pack_transposed(n, dim, query, head->query_row, s->queries_t);
  pack_transposed(n, dim_value, grad_out, rows->row, s->grads_t);
  backward_rows(rows, s, first, n, nv, dim_value);
  pad_rows(n, dim, query, head->query_row, s->queries, s->key_width);
  pad_rows(n, dim_value, grad_out, rows->row, s->grads, s->value_width);
  memset(s->grad_queries_t, 0, sizeof(float) * (size_t)(dim * RV_LANES));
  for (int64_t t = 0; t < head->n_segments; t++) {
    float *of = s->of_segments + t * RV_LANES * s->key_width;
    memset(of, 0, sizeof(float) * (size_t)(RV_LANES * s->key_width));
    for (int64_t i = 0; i < n; i++)
      for (int64_t c = head->segments[t].begin; c < head->segments[t].end; c++)
        of[i * s->key_width + c] = query[i * head->query_row + c];
  }
  walk_begin(&walk, head, first, n);
  while (walk_next(&walk, head)) {
    const int64_t j = walk.key, keys = walk.keys;
    const float *values = head->values + j * head->value_row;
    const int plain = many_scores(head, &lanes, &walk, first, n, nv, s->queries_t, s->scores, s->extra, defect, NULL);
    panel_by_rows(keys, nv, dim_value, values, head->value_row, s->grads_t, RV_LANES, s->products, RV_LANES, 0);
    backward_tile(s, &head->drop, lanes.hashes, j, keys, nv, plain ? head->scale : 1.0f);
    if (rows->grad_bias)
      for (int64_t line = 0; line < keys; line++)
        for (int64_t i = 0; i < n; i++)
          rows->grad_bias[(first + i) * head->bias_row + (j + line) * head->bias_col] +=
              s->products[line * RV_LANES + i];
    if (rows->scalars && head->query_time) backward_times(head, rows, s, first, n, j, keys);
    add_product(keys, s->value_width, n, s->scores, s->grads, s->grad_values + j * s->value_width);
    backward_scores(head, rows, s, &lanes, first, n, j, keys, nv);
  }
  float *grad_query = rows->grad_query + first * head->query_row;
  for (int64_t i = 0; i < n; i++)
    for (int64_t c = 0; c < dim; c++)
      grad_query[i * head->query_row + c] += rows->scale * s->grad_queries_t[c * RV_LANES + i];
}

static int32_t rv_attention_backward(const rv_attention_backward_args *args) {
  if (!RV_HEADS_AGREE(args) || !RV_SCORES_AGREE(args) || args->stop > args->batch * args->kv_heads)
    return RV_BAD_ARGUMENT;
  const int64_t group = args->heads / args->kv_heads, dim = args->dim, dim_value = args->dim_value;
  const rv_backward_scratch s = backward_scratch(args->scratch, args->n_key, dim, dim_value, args->n_segments);
  const float scale = (float)args->scale;
  for (int64_t task = args->start; task < args->stop; task++) {
    const int64_t b = task / args->kv_heads, kv = task % args->kv_heads;
    const float *values = args->values + b * args->value_batch + kv * args->value_head;
    int64_t n_key = args->n_key;
    memset(s.grad_keys, 0, sizeof(float) * (size_t)(n_key * s.key_width));
    memset(s.grad_values, 0, sizeof(float) * (size_t)(n_key * s.value_width));
    for (int64_t h = kv * group; h < (kv + 1) * group; h++) {
      rv_head head = RV_HEAD(args, b, h);
      RV_HEAD_SCORED(head, args, b, h);
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
          .scale = scale,
          .grad_query = args->grad_query + b * args->query_batch + h * args->query_head,
          .grad_bias = args->grad_bias ? args->grad_bias + b * args->bias_batch + h * args->bias_head : NULL,
          .grad_query_aux =
              args->grad_query_aux ? args->grad_query_aux + b * args->query_aux_batch + h * args->query_aux_head : NULL,
          .grad_key_aux =
              args->grad_key_aux ? args->grad_key_aux + b * args->key_aux_batch + kv * args->key_aux_head : NULL,
          .scalars = args->grad_scalars ? args->grad_scalars + task * (2 * args->n_segments + 2) : NULL,
      };
      for (int64_t i = 0, n; i < args->n_query; i += n) {
        n = tile_queries(&head, i, args->n_query, RV_LANES);
        backward_queries(&head, &rows, &s, i, n);
      }
    }
    add_rows(n_key, dim, scale, s.grad_keys, s.key_width, args->grad_keys + b * args->key_batch + kv * args->key_head,
             args->key_row);
    add_rows(n_key, dim_value, 1.0f, s.grad_values, s.value_width,
             args->grad_values + b * args->value_batch + kv * args->value_head, args->value_row);
  }
  return RV_OK;
}
