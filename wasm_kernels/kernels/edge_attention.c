/* Attention along the edges of a graph: additive scores, softmax over the edges into a node, sum of the sources' values.
 *   source, values (batch, n_source, heads, terms | dim_value)  target (batch, n_target, heads, terms)
 *   edge (n_rows, heads, terms)  attention (heads, terms)  weights, keep (batch, heads, n_edges)
 *   out (batch, n_target, heads, dim_value)
 *   score_e = sum_t attention_t LeakyReLU(source_t + target_t + edge_t): GATv2; with one term, GAT.
 * A node's edges of one head are a line of `weights`, which holds the scores first and is turned into weights in place. */

typedef struct {
  const float *source, *target, *edge, *attention, *values, *keep;
  const int64_t *sources, *rows;
  int64_t source_row, value_row, terms, dim_value;
  float slope;
} rv_fan;

/* Head h of batch item b, at its first source, target and edge. */
#define RV_FAN(args, b, h)                                                                                           \
  {                                                                                                                  \
    .source = (args)->source + (b) * (args)->n_source * (args)->heads * (args)->terms + (h) * (args)->terms,         \
    .target = (args)->target + (b) * (args)->n_target * (args)->heads * (args)->terms + (h) * (args)->terms,         \
    .edge = (args)->edge ? (args)->edge + (b) * (args)->edge_batch + (h) * (args)->terms : NULL,                     \
    .attention = (args)->attention + (h) * (args)->terms,                                                            \
    .values = (args)->values + (b) * (args)->n_source * (args)->heads * (args)->dim_value + (h) * (args)->dim_value, \
    .keep = (args)->keep ? (args)->keep + ((b) * (args)->heads + (h)) * (args)->n_edges : NULL,                      \
    .sources = (args)->sources, .rows = (args)->edge_rows, .source_row = (args)->heads * (args)->terms,              \
    .value_row = (args)->heads * (args)->dim_value, .terms = (args)->terms, .dim_value = (args)->dim_value,          \
    .slope = (float)(args)->slope,                                                                                   \
  }

enum { RV_EDGE_TILE = 32 }; /* edges whose rows stay near while one head after another goes through them */

static int rows_fit(const int64_t *rows, int64_t n_edges, int64_t n_rows) {
  for (int64_t e = 0; e < n_edges; e++)
    if (rows[e] < 0 || rows[e] >= n_rows) return 0;
  return 1;
}

#define RV_FAN_FITS(args)                                                                                            \
  (edges_fit((args)->indptr, 1, 0, 1, 0, (args)->sources, (args)->n_target, (args)->n_source, (args)->n_edges) &&    \
   (!(args)->edge || rows_fit((args)->edge_rows, (args)->n_edges, (args)->n_rows)))

RV_INLINE float leaky(float z, float slope) { return z > 0 ? z : z * slope; }

/* One term of one edge before the LeakyReLU. */
RV_INLINE float term_of(const rv_fan *of, int64_t edge, float target, int64_t t) {
  const float z = of->source[of->sources[edge] * of->source_row + t] + target;
  return of->edge ? z + of->edge[of->rows[edge] * of->source_row + t] : z;
}

/* line[e] = the scores of edges first .. first + n into a target; four at a time, the last repeated. */
static void edge_line(const rv_fan *of, const float *target, int64_t first, int64_t n, float *line) {
  if (of->terms == 1) {
    for (int64_t e = 0; e < n; e++) line[e] = of->attention[0] * leaky(term_of(of, first + e, target[0], 0), of->slope);
    return;
  }
  const vf slope = v_set(of->slope);
  for (int64_t e = 0; e < n; e += 4) {
    const float *source[4], *edge[4];
    vf acc[4];
    for (int i = 0; i < 4; i++) {
      const int64_t at = first + (e + i < n ? e + i : n - 1);
      source[i] = of->source + of->sources[at] * of->source_row;
      edge[i] = of->edge ? of->edge + of->rows[at] * of->source_row : NULL;
      acc[i] = v_zero();
    }
    int64_t t = 0;
    for (; t + VL <= of->terms; t += VL) {
      const vf attention = v_load(of->attention + t), own = v_load(target + t);
  RV_UNROLL for (int i = 0; i < 4; i++) {
        vf z = v_add(v_load(source[i] + t), own);
        if (of->edge) z = v_add(z, v_load(edge[i] + t));
        acc[i] = v_fma(attention, v_max(z, v_mul(z, slope)), acc[i]);
      }
    }
    if (t < of->terms) {
      const int64_t tail = of->terms - t;
      const vf attention = v_load_n(of->attention + t, tail), own = v_load_n(target + t, tail);
      RV_UNROLL for (int i = 0; i < 4; i++) {
        vf z = v_add(v_load_n(source[i] + t, tail), own);
        if (of->edge) z = v_add(z, v_load_n(edge[i] + t, tail));
        acc[i] = v_fma(attention, v_max(z, v_mul(z, slope)), acc[i]);
      }
    }
    float sums[4];
    v_hsum4(sums, acc[0], acc[1], acc[2], acc[3]);
    for (int64_t i = 0; i < 4 && e + i < n; i++) line[e + i] = sums[i];
  }
}

/* Scores to weights, in place. A NaN among them makes all of them NaN. */
static void softmax_line(float *line, int64_t n) {
  float top = line[0], sum = 0;
  for (int64_t e = 1; e < n; e++) top = line[e] > top ? line[e] : top;
  const vf shift = v_set(top), log2e = v_set((float)RV_LOG2E);
  for (int64_t e = 0; e < n; e += VL) {
    const int64_t lanes = rv_min_int(VL, n - e);
    v_store_n(line + e, v_exp2(v_mul(v_sub(v_load_n(line + e, lanes), shift), log2e)), lanes);
    for (int64_t i = e; i < e + lanes; i++) sum += line[i];
  }
  const float inverse = 1.0f / sum;
  for (int64_t e = 0; e < n; e++) line[e] *= inverse;
}

/* out (wide * VL) = sum_e weights[e] * values of the source of e, from channel c on */
RV_INLINE void gathered_sum(const int wide, const rv_fan *of, int64_t first, int64_t n, const float *line, int64_t c,
                            float *out) {
  vf acc[4];
  RV_UNROLL for (int v = 0; v < wide; v++) acc[v] = v_zero();
  for (int64_t e = 0; e < n; e++) {
    const float *row = of->values + of->sources[first + e] * of->value_row + c;
    const vf weight = v_set(of->keep ? line[e] * of->keep[first + e] : line[e]);
    RV_UNROLL for (int v = 0; v < wide; v++) acc[v] = v_fma(weight, v_load(row + v * VL), acc[v]);
  }
  RV_UNROLL for (int v = 0; v < wide; v++) v_store(out + v * VL, acc[v]);
}

static int32_t aggregate(const rv_fan *of, int64_t first, int64_t n, const float *line, float *out) {
  int64_t c = 0;
  for (; c + 4 * VL <= of->dim_value; c += 4 * VL) gathered_sum(4, of, first, n, line, c, out + c);
  for (; c + VL <= of->dim_value; c += VL) gathered_sum(1, of, first, n, line, c, out + c);
  if (c < of->dim_value) {
    const int64_t tail = of->dim_value - c;
    vf acc = v_zero();
    for (int64_t e = 0; e < n; e++) {
      const float *row = of->values + of->sources[first + e] * of->value_row + c;
      acc = v_fma(v_set(of->keep ? line[e] * of->keep[first + e] : line[e]), v_load_n(row, tail), acc);
    }
    v_store_n(out + c, acc, tail);
  }
  float bad = 0;
  for (c = 0; c < of->dim_value; c++) bad += out[c] * 0.0f;
  return bad == 0 ? RV_OK : RV_NON_FINITE;
}

static int32_t rv_edge_attention(const rv_edge_attention_args *args) {
  const int64_t blocks = (args->n_target + RV_QUERY_BLOCK - 1) / RV_QUERY_BLOCK;
  if (args->stop > args->batch * blocks || !RV_FAN_FITS(args)) return RV_BAD_ARGUMENT;
  int32_t status = RV_OK;
  for (int64_t task = args->start; task < args->stop; task++) {
    const int64_t b = task / blocks, begin = task % blocks * RV_QUERY_BLOCK;
    for (int64_t i = begin; i < begin + RV_QUERY_BLOCK && i < args->n_target; i++) {
      const int64_t first = args->indptr[i], n = args->indptr[i + 1] - first;
      for (int64_t h = 0; h < args->heads; h++) {
        const rv_fan of = RV_FAN(args, b, h);
        float *line = args->weights + (b * args->heads + h) * args->n_edges + first;
        if (n) {
          edge_line(&of, of.target + i * of.source_row, first, n, line);
          softmax_line(line, n);
        }
        status |= aggregate(&of, first, n, line,
                            args->out + ((b * args->n_target + i) * args->heads + h) * args->dim_value);
      }
    }
  }
  return status;
}

RV_INLINE float dot(const float *x, const float *y, int64_t n) {
  vf sum = v_zero();
  int64_t c = 0;
  for (; c + VL <= n; c += VL) sum = v_fma(v_load(x + c), v_load(y + c), sum);
  if (c < n) sum = v_fma(v_load_n(x + c, n - c), v_load_n(y + c, n - c), sum);
  return v_hsum(sum);
}

/* y += a * x, as add_scaled, whose tail is for rows of many vectors. */
RV_INLINE void add_scaled_head(float a, const float *x, float *y, int64_t n) {
  const vf factor = v_set(a);
  int64_t c = 0;
  for (; c + VL <= n; c += VL) v_store(y + c, v_fma(factor, v_load(x + c), v_load(y + c)));
  if (c < n) v_store_n(y + c, v_fma(factor, v_load_n(x + c, n - c), v_load_n(y + c, n - c)), n - c);
}

typedef struct {
  float *source, *target, *edge, *attention; /* at the terms of one edge; edge may be NULL */
} rv_fan_grads;

RV_INLINE vf load_lanes(const float *p, int64_t lanes) { return lanes == VL ? v_load(p) : v_load_n(p, lanes); }
RV_INLINE void add_lanes(float *p, vf v, int64_t lanes) {
  if (lanes == VL)
    v_store(p, v_add(v_load(p), v));
  else
    v_store_n(p, v_add(v_load_n(p, lanes), v), lanes);
}

/* From the gradient of a score to those of its terms t .. t + lanes - 1. */
RV_INLINE void terms_backward(const rv_fan *of, const float *target, int64_t edge, float of_score,
                              const rv_fan_grads *grads, int64_t t, int64_t lanes) {
  vf z = v_add(load_lanes(of->source + of->sources[edge] * of->source_row + t, lanes), load_lanes(target + t, lanes));
  if (of->edge) z = v_add(z, load_lanes(of->edge + of->rows[edge] * of->source_row + t, lanes));
  const vf score = v_set(of_score), step = v_where_lt(v_zero(), z, v_set(1.0f), v_set(of->slope));
  const vf grad = v_mul(v_mul(score, load_lanes(of->attention + t, lanes)), step);
  add_lanes(grads->source + t, grad, lanes);
  add_lanes(grads->target + t, grad, lanes);
  if (grads->edge) add_lanes(grads->edge + t, grad, lanes);
  add_lanes(grads->attention + t, v_mul(score, v_mul(z, step)), lanes);
}

static void edge_line_backward(const rv_fan *of, const float *target, int64_t edge, float of_score,
                               const rv_fan_grads *grads) {
  if (of->terms == 1) {
    const float z = term_of(of, edge, target[0], 0), step = z > 0 ? 1.0f : of->slope;
    const float grad = of_score * of->attention[0] * step;
    *grads->source += grad;
    *grads->target += grad;
    if (grads->edge) *grads->edge += grad;
    *grads->attention += of_score * z * step;
    return;
  }
  int64_t t = 0;
  for (; t + VL <= of->terms; t += VL) terms_backward(of, target, edge, of_score, grads, t, VL);
  if (t < of->terms) terms_backward(of, target, edge, of_score, grads, t, of->terms - t);
}

/* Every edge of one batch item, heads first_head .. last_head - 1 together, so that rows are met once. */
static void fans_backward(const rv_edge_attention_backward_args *args, int64_t b, int64_t first_head, int64_t last_head) {
  for (int64_t i = 0; i < args->n_target; i++) {
    for (int64_t first = args->indptr[i], n; first < args->indptr[i + 1]; first += n) {
      n = rv_min_int(RV_EDGE_TILE, args->indptr[i + 1] - first);
      for (int64_t h = first_head; h < last_head; h++) {
        const rv_fan of = RV_FAN(args, b, h);
        const int64_t at = ((b * args->n_target + i) * args->heads + h) * of.dim_value;
        const float *grad_out = args->grad_out + at, *target = of.target + i * of.source_row;
        const float *line = args->weights + (b * args->heads + h) * args->n_edges;
        const float delta = dot(args->out + at, grad_out, of.dim_value);
        float *products = args->scratch, *grad_target = args->grad_target + (target - args->target);
        float *grad_source = args->grad_source + (of.source - args->source);
        float *grad_values = args->grad_values + (of.values - args->values);
        float *grad_edge = args->grad_edge && of.edge ? args->grad_edge + (of.edge - args->edge) : NULL;
        gathered_dots(grad_out, of.values, of.value_row, of.dim_value, of.sources + first, n, products);
        for (int64_t e = first; e < first + n; e++) {
          const float keep = of.keep ? of.keep[e] : 1.0f, of_score = line[e] * (keep * products[e - first] - delta);
          const rv_fan_grads grads = {
              .source = grad_source + of.sources[e] * of.source_row,
              .target = grad_target,
              .edge = grad_edge ? grad_edge + of.rows[e] * of.source_row : NULL,
              .attention = args->grad_attention + (b * args->heads + h) * of.terms,
          };
          add_scaled_head(line[e] * keep, grad_out, grad_values + of.sources[e] * of.value_row, of.dim_value);
          edge_line_backward(&of, target, e, of_score, &grads);
        }
      }
    }
  }
}

static int32_t rv_edge_attention_backward(const rv_edge_attention_backward_args *args) {
  if (args->stop > args->batch * args->heads || !RV_FAN_FITS(args)) return RV_BAD_ARGUMENT;
  for (int64_t task = args->start; task < args->stop;) {
    const int64_t b = task / args->heads, end = (b + 1) * args->heads < args->stop ? (b + 1) * args->heads : args->stop;
    fans_backward(args, b, task - b * args->heads, end - b * args->heads);
    task = end;
  }
  return RV_OK;
}
