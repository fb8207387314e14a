/* Attention along the edges of a graph: additive scores, softmax over the edges into a node, sum of the sources' values.
 *   source (batch, n_source, terms, heads)  target (batch, n_target, terms, heads)  edge (n_rows, terms, heads)
 *   attention (terms, heads)  values (batch, n_source, dim_value, heads)  weights, keep (batch, n_edges, heads)
 *   out (batch, n_target, dim_value, heads)
 *   score_e = sum_t attention_t LeakyReLU(source_t + target_t + edge_t): GATv2; with one term, GAT.
 * Heads are neighbours in memory and a power of two, so a vector holds whole heads of one term, or the same heads of
 * several: lane l of every vector belongs to head l % heads, and no sum over lanes is needed but one at the end. The
 * weights of a node's edges are a line of that kind too. */

typedef struct {
  const float *source, *target, *edge, *attention, *values, *keep;
  const int64_t *indptr, *sources, *rows;
  int64_t n_target, heads, terms_row, value_row; /* floats of a row */
  float slope;
} rv_fan;

#define RV_FAN(args, b)                                                                                              \
  {                                                                                                                  \
    .source = (args)->source + (b) * (args)->n_source * (args)->heads * (args)->terms,                               \
    .target = (args)->target + (b) * (args)->n_target * (args)->heads * (args)->terms,                               \
    .edge = (args)->edge ? (args)->edge + (b) * (args)->edge_batch : NULL, .attention = (args)->attention,           \
    .values = (args)->values + (b) * (args)->n_source * (args)->heads * (args)->dim_value,                           \
    .keep = (args)->keep ? (args)->keep + (b) * (args)->n_edges * (args)->heads : NULL, .indptr = (args)->indptr,    \
    .sources = (args)->sources, .rows = (args)->edge_rows, .heads = (args)->heads,                                   \
    .n_target = (args)->n_target, .terms_row = (args)->heads * (args)->terms, .value_row = (args)->heads * (args)->dim_value,                      \
    .slope = (float)(args)->slope,                                                                                   \
  }

enum {
  RV_EDGES_AHEAD = 6
}; /* rows of large graphs come from far: they are asked for so many edges before their turn */

static void ask_for(const float *row, int64_t size) {
  for (int64_t c = 0; c < size; c += 16) __builtin_prefetch(row + c);
}

static int rows_fit(const int64_t *rows, int64_t n_edges, int64_t n_rows) {
  for (int64_t e = 0; e < n_edges; e++)
    if (rows[e] < 0 || rows[e] >= n_rows) return 0;
  return 1;
}

#define RV_FAN_FITS(args)                                                                                            \
  ((args)->heads > 0 && ((args)->heads & ((args)->heads - 1)) == 0 &&                                                \
   edges_fit((args)->indptr, 1, 0, 1, 0, (args)->sources, (args)->n_target, (args)->n_source, (args)->n_edges) &&    \
   (!(args)->edge || rows_fit((args)->edge_rows, (args)->n_edges, (args)->n_rows)))

RV_INLINE vf lanes_of(const float *p, int64_t n) { return n >= VL ? v_load(p) : v_load_n(p, n); }
RV_INLINE void put_lanes(float *p, vf v, int64_t n) {
  if (n >= VL)
    v_store(p, v);
  else
    v_store_n(p, v, n);
}

/* Every lane: the sum, or the maximum, over the lanes of its head, from lanes step, 2 step, ... further on, cyclically. */
RV_INLINE vf turned_sum(vf v, int64_t step) {
  for (; step < VL; step *= 2) v = v_add(v, v_turn(v, step));
  return v;
}

RV_INLINE vf turned_max(vf v, int64_t step) {
  for (; step < VL; step *= 2) v = v_max(v, v_turn(v, step));
  return v;
}

RV_INLINE vf head_sum(vf v, int64_t heads) { return heads == 1 ? v_set(v_hsum(v)) : turned_sum(v, heads); }

/* The numbers p (heads) of an edge, as they belong to lanes at position `at` of a row. */
RV_INLINE vf spread(const float *p, int64_t heads, int64_t at) {
  if (heads == 1) return v_set(*p);
  return heads >= VL ? v_load(p + (at & (heads - 1))) : turned_sum(v_load_n(p, heads), heads);
}

/* source + target + edge, from term t on */
RV_INLINE vf term_lanes(const float *source, const float *target, const float *edge, int64_t t, int64_t n) {
  const vf z = v_add(lanes_of(source + t, n), lanes_of(target + t, n));
  return edge ? v_add(z, lanes_of(edge + t, n)) : z;
}

/* The scores of edge e, to line (heads). */
static void edge_scores_of(const rv_fan *of, const float *target, int64_t e, float *line) {
  const float *source = of->source + of->sources[e] * of->terms_row;
  const float *edge = of->edge ? of->edge + of->rows[e] * of->terms_row : NULL;
  const vf slope = v_set(of->slope);
  const int64_t period = of->heads > VL ? of->heads : VL;
  for (int64_t h = 0; h < of->heads; h += VL) {
    vf sum = v_zero();
    int64_t t = h;
    for (; t + VL <= of->terms_row; t += period) {
      const vf z = term_lanes(source, target, edge, t, VL);
      sum = v_fma(v_load(of->attention + t), v_max(z, v_mul(z, slope)), sum);
    }
    if (t < of->terms_row) {
      const int64_t n = of->terms_row - t;
      const vf z = term_lanes(source, target, edge, t, n);
      sum = v_fma(v_load_n(of->attention + t, n), v_max(z, v_mul(z, slope)), sum);
    }
    put_lanes(line + h, head_sum(sum, of->heads), of->heads);
  }
}

/* Scores to weights, in place: line (n, heads), of which the lanes from h on. A NaN among them makes all of them NaN. */
static void softmax_lanes(float *line, int64_t size, int64_t heads, int64_t h) {
  const int64_t period = heads > VL ? heads : VL, lanes = rv_min_int(VL, size);
  /* the first numbers stand in for the lanes that a short line does not have */
  vf top = heads < VL ? spread(line, heads, 0) : lanes_of(line + h, lanes), sum = v_zero();
  int64_t f = h;
  for (; f + VL <= size; f += period) top = v_max(top, v_load(line + f));
  if (f < size && heads < VL)
    for (; f < size; f += heads) top = v_max(top, spread(line + f, heads, 0));
  top = heads < VL ? turned_max(top, heads) : top;
  const vf log2e = v_set((float)RV_LOG2E);
  for (f = h; f + VL <= size; f += period) {
    const vf weight = v_exp2(v_mul(v_sub(v_load(line + f), top), log2e));
    v_store(line + f, weight);
    sum = v_add(sum, weight);
  }
  if (f < size) {
    v_store_n(line + f, v_exp2(v_mul(v_sub(v_load_n(line + f, size - f), top), log2e)), size - f);
    sum = v_add(sum, v_load_n(line + f, size - f));
  }
  const vf inverse = v_div(v_set(1.0f), head_sum(sum, heads));
  for (f = h; f + VL <= size; f += period) v_store(line + f, v_mul(v_load(line + f), inverse));
  if (f < size) v_store_n(line + f, v_mul(v_load_n(line + f, size - f), inverse), size - f);
}

static vf kept_weight(const rv_fan *of, const float *line, int64_t e, int64_t first, int64_t at) {
  const vf weight = spread(line + (e - first) * of->heads, of->heads, at);
  return of->keep ? v_mul(weight, spread(of->keep + e * of->heads, of->heads, at)) : weight;
}

/* out = sum_e weights * values of the source of e, for `wide` vectors from c on, the last of n lanes */
RV_INLINE void gathered_sum(const int wide, const rv_fan *of, const float *line, int64_t first, int64_t last, int64_t c,
                            int64_t n, float *out) {
  vf acc[8];
  RV_UNROLL for (int v = 0; v < wide; v++) acc[v] = v_zero();
  for (int64_t e = first; e < last; e++) {
    const float *row = of->values + of->sources[e] * of->value_row + c;
    vf weight = kept_weight(of, line, e, first, c);
    RV_UNROLL for (int v = 0; v < wide; v++) {
      if (v && of->heads > VL) weight = kept_weight(of, line, e, first, c + v * VL);
      acc[v] = v_fma(weight, v == wide - 1 ? lanes_of(row + v * VL, n) : v_load(row + v * VL), acc[v]);
    }
  }
  RV_UNROLL for (int v = 0; v < wide; v++) put_lanes(out + v * VL, acc[v], v == wide - 1 ? n : VL);
}

static int32_t attend_fan(const rv_fan *of, const float *target, int64_t first, int64_t last, float *line, float *out) {
  for (int64_t e = first; e < last; e++) {
    if (e + RV_EDGES_AHEAD < of->indptr[of->n_target]) {
      ask_for(of->source + of->sources[e + RV_EDGES_AHEAD] * of->terms_row, of->terms_row);
      if (of->edge) ask_for(of->edge + of->rows[e + RV_EDGES_AHEAD] * of->terms_row, of->terms_row);
    }
    edge_scores_of(of, target, e, line + (e - first) * of->heads);
  }
  for (int64_t h = 0; h < of->heads && first < last; h += VL)
    softmax_lanes(line, (last - first) * of->heads, of->heads, h);
  int64_t c = 0;
  for (; c + 8 * VL <= of->value_row; c += 8 * VL) gathered_sum(8, of, line, first, last, c, VL, out + c);
  for (; c + 4 * VL <= of->value_row; c += 4 * VL) gathered_sum(4, of, line, first, last, c, VL, out + c);
  for (; c < of->value_row; c += VL)
    gathered_sum(1, of, line, first, last, c, rv_min_int(VL, of->value_row - c), out + c);
  vf bad = v_zero();
  for (c = 0; c < of->value_row; c += VL)
    bad = v_fma(lanes_of(out + c, rv_min_int(VL, of->value_row - c)), v_zero(), bad);
  return v_hsum(bad) == 0 ? RV_OK : RV_NON_FINITE;
}

static int32_t rv_edge_attention(const rv_edge_attention_args *args) {
  const int64_t blocks = (args->n_target + RV_QUERY_BLOCK - 1) / RV_QUERY_BLOCK;
  if (args->stop > args->batch * blocks || !RV_FAN_FITS(args)) return RV_BAD_ARGUMENT;
  int32_t status = RV_OK;
  for (int64_t task = args->start; task < args->stop; task++) {
    const int64_t b = task / blocks, begin = task % blocks * RV_QUERY_BLOCK;
    const rv_fan of = RV_FAN(args, b);
    for (int64_t i = begin; i < begin + RV_QUERY_BLOCK && i < args->n_target; i++)
      status |= attend_fan(&of, of.target + i * of.terms_row, of.indptr[i], of.indptr[i + 1],
                           args->weights + (b * args->n_edges + of.indptr[i]) * of.heads,
                           args->out + (b * args->n_target + i) * of.value_row);
  }
  return status;
}

typedef struct {
  float *source, *target, *edge, *attention, *values; /* rows of one edge; edge may be NULL */
} rv_fan_grads;

RV_INLINE void add_lanes(float *p, vf v, int64_t n) { put_lanes(p, v_add(lanes_of(p, n), v), n); }

/* Sum over a row of x * y, for the lanes from h on. */
static vf row_products(const float *x, const float *y, int64_t size, int64_t heads, int64_t h) {
  const int64_t period = heads > VL ? heads : VL;
  vf sum = v_zero();
  int64_t c = h;
  for (; c + VL <= size; c += period) sum = v_fma(v_load(x + c), v_load(y + c), sum);
  if (c < size) sum = v_fma(v_load_n(x + c, size - c), v_load_n(y + c, size - c), sum);
  return head_sum(sum, heads);
}

static void terms_backward(const rv_fan *of, const float *source, const float *target, const float *edge, vf of_score,
                              const rv_fan_grads *grads, int64_t t, int64_t n) {
  const vf z = term_lanes(source, target, edge, t, n);
  const vf step = v_where_lt(v_zero(), z, of_score, v_mul(of_score, v_set(of->slope)));
  const vf grad = v_mul(lanes_of(of->attention + t, n), step);
  add_lanes(grads->source + t, grad, n);
  add_lanes(grads->target + t, grad, n);
  if (grads->edge) add_lanes(grads->edge + t, grad, n);
  add_lanes(grads->attention + t, v_mul(z, step), n);
}

/* One edge, the lanes from h on, from the gradient of its score. */
RV_INLINE void edge_backward(const rv_fan *of, const float *target, const float *grad_out, int64_t e, vf kept, vf of_score,
                             const rv_fan_grads *grads, int64_t h) {
  const int64_t period = of->heads > VL ? of->heads : VL;
  const float *source = of->source + of->sources[e] * of->terms_row;
  const float *edge = of->edge ? of->edge + of->rows[e] * of->terms_row : NULL;
  int64_t c = h;
  for (; c + VL <= of->value_row; c += period) add_lanes(grads->values + c, v_mul(kept, v_load(grad_out + c)), VL);
  if (c < of->value_row) {
    const int64_t n = of->value_row - c;
    add_lanes(grads->values + c, v_mul(kept, v_load_n(grad_out + c, n)), n);
  }
  int64_t t = h;
  for (; t + VL <= of->terms_row; t += period) terms_backward(of, source, target, edge, of_score, grads, t, VL);
  if (t < of->terms_row) terms_backward(of, source, target, edge, of_score, grads, t, of->terms_row - t);
}

/* products (edges of the fan, VL) = weight * <grad_out, values>; the answer is their sum, in chains as in micro.h. Of a
 * single edge the two are the same number, so that its score, which changes nothing, has the gradient 0. */
static vf fan_products(const rv_fan *of, const float *grad_out, const float *line, int64_t first, int64_t last, int64_t h,
                       float *products) {
  vf sum = v_zero(), chain = v_zero();
  for (int64_t e = first; e < last; e++) {
    if (h == 0 && e + RV_EDGES_AHEAD < of->indptr[of->n_target])
      ask_for(of->values + of->sources[e + RV_EDGES_AHEAD] * of->value_row, of->value_row);
    const float *values = of->values + of->sources[e] * of->value_row;
    const vf product = v_mul(kept_weight(of, line, e, first, h),
                             row_products(grad_out, values, of->value_row, of->heads, h));
    v_store(products + (e - first) * VL, product);
    chain = v_add(chain, product);
    if ((e - first) % RV_CHAIN == RV_CHAIN - 1) {
      sum = v_add(sum, chain);
      chain = v_zero();
    }
  }
  return v_add(sum, chain);
}

static int32_t rv_edge_attention_backward(const rv_edge_attention_backward_args *args) {
  if (args->stop > args->batch || !RV_FAN_FITS(args)) return RV_BAD_ARGUMENT;
  for (int64_t b = args->start; b < args->stop; b++) {
    const rv_fan of = RV_FAN(args, b);
    for (int64_t i = 0; i < args->n_target; i++) {
      const int64_t at = (b * args->n_target + i) * of.value_row, first = of.indptr[i];
      const float *target = of.target + i * of.terms_row, *grad_out = args->grad_out + at;
      const float *line = args->weights + (b * args->n_edges + first) * of.heads;
      for (int64_t h = 0; h < of.heads; h += VL) {
        const vf sum = fan_products(&of, grad_out, line, first, of.indptr[i + 1], h, args->scratch);
        for (int64_t e = first; e < of.indptr[i + 1]; e++) {
          if (h == 0 && e + RV_EDGES_AHEAD < of.indptr[of.n_target]) {
            const int64_t next = of.sources[e + RV_EDGES_AHEAD], row = of.rows[e + RV_EDGES_AHEAD] * of.terms_row;
            ask_for(of.source + next * of.terms_row, of.terms_row);
            ask_for(args->grad_source + (of.source - args->source) + next * of.terms_row, of.terms_row);
            ask_for(args->grad_values + (of.values - args->values) + next * of.value_row, of.value_row);
            if (of.edge) ask_for(of.edge + row, of.terms_row);
            if (of.edge && args->grad_edge)
              ask_for(args->grad_edge + (of.edge - args->edge) + row, of.terms_row);
          }
          const rv_fan_grads grads = {
              .source = args->grad_source + (of.source - args->source) + of.sources[e] * of.terms_row,
              .target = args->grad_target + (target - args->target),
              .edge = args->grad_edge && of.edge ? args->grad_edge + (of.edge - args->edge) + of.rows[e] * of.terms_row
                                                 : NULL,
              .attention = args->grad_attention + b * of.terms_row,
              .values = args->grad_values + (of.values - args->values) + of.sources[e] * of.value_row,
          };
          const vf weight = spread(line + (e - first) * of.heads, of.heads, h);
          const vf of_score = v_sub(v_load(args->scratch + (e - first) * VL), v_mul(weight, sum));
          edge_backward(&of, target, grad_out, e, kept_weight(&of, line, e, first, h), of_score, &grads, h);
        }
      }
    }
  }
  return RV_OK;
}
