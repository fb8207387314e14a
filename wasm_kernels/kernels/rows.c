/* Rows one by one. x, out (rows, dim). */

/* The sum of squares of a row: in float over VL lanes, in double where float would overflow or lose small numbers. */
RV_INLINE double sum_of_squares(const float *x, int64_t dim) {
  vf lanes = v_zero();
  int64_t d = 0;
  for (; d + VL <= dim; d += VL) lanes = v_fma(v_load(x + d), v_load(x + d), lanes);
  double sum = (double)v_hsum(lanes);
  for (; d < dim; d++) sum += (double)x[d] * (double)x[d];
  if (sum > 1e-20 && sum < 1e30) return sum;
  sum = 0;
  for (d = 0; d < dim; d++) sum += (double)x[d] * (double)x[d];
  return sum;
}

/* 1 - 2 / (e^2a + 1) of a = |x|, which is 1 in float32 from 10 on; a polynomial where that would cancel. */
RV_INLINE vf v_tanh(vf x) {
  const vf magnitude = v_max(x, v_sub(v_zero(), x)), a = v_min(v_set(10.0f), magnitude), square = v_mul(a, a);
  vf p = v_fma(v_set(-5.70498872745e-3f), square, v_set(2.06390887954e-2f));
  p = v_fma(p, square, v_set(-5.37397155531e-2f));
  p = v_fma(p, square, v_set(1.33314422036e-1f));
  p = v_fma(p, square, v_set(-3.33332819422e-1f));
  const vf near = v_fma(v_mul(p, square), a, a);
  const vf power = v_exp2(v_mul(a, v_set(2.0f * (float)RV_LOG2E)));
  const vf far = v_sub(v_set(1.0f), v_div(v_set(2.0f), v_add(power, v_set(1.0f))));
  const vf t = v_where_lt(a, v_set(0.625f), near, far);
  return v_where_lt(x, v_zero(), v_sub(v_zero(), t), t);
}

static int32_t rv_tanh(const rv_tanh_args *args) {
  int64_t i = 0;
  for (; i + VL <= args->count; i += VL) v_store(args->out + i, v_tanh(v_load(args->x + i)));
  const int64_t rest = args->count - i;
  if (rest) v_store_n(args->out + i, v_tanh(v_load_n(args->x + i, rest)), rest);
  return RV_OK;
}

/* out = x / |x|; a row of zeros stays zero. */
static int32_t rv_normalize_rows(const rv_normalize_rows_args *args) {
  for (int64_t i = 0; i < args->rows; i++) {
    const float *x = args->x + i * args->dim;
    float *out = args->out + i * args->dim;
    const double sum = sum_of_squares(x, args->dim), inverse = sum > 0 ? 1.0 / __builtin_sqrt(sum) : 0.0;
    int64_t d = 0;
    if (inverse < 1e30) /* representable as a float */
      for (; d + VL <= args->dim; d += VL) v_store(out + d, v_mul(v_load(x + d), v_set((float)inverse)));
    for (; d < args->dim; d++) out[d] = (float)((double)x[d] * inverse);
  }
  return RV_OK;
}

/* A row of zeros has no direction to turn in: its gradient stays. */
static int32_t rv_normalize_rows_backward(const rv_normalize_rows_backward_args *args) {
  for (int64_t i = 0; i < args->rows; i++) {
    const float *x = args->x + i * args->dim, *grad_out = args->grad_out + i * args->dim;
    float *grad_x = args->grad_x + i * args->dim;
    double square = 0, along = 0;
    for (int64_t d = 0; d < args->dim; d++) {
      square += (double)x[d] * (double)x[d];
      along += (double)x[d] * (double)grad_out[d];
    }
    if (square == 0) continue;
    const double inverse = 1.0 / __builtin_sqrt(square);
    for (int64_t d = 0; d < args->dim; d++)
      grad_x[d] += (float)(inverse * ((double)grad_out[d] - (double)x[d] * along / square));
  }
  return RV_OK;
}

/* Whether all of x (count) is finite: x * 0 is 0 for finite x, NaN otherwise. */
static int32_t rv_all_finite(const rv_all_finite_args *args) {
  vf sums[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
  int64_t i = 0;
  for (; i + 4 * VL <= args->count; i += 4 * VL) {
  RV_UNROLL for (int v = 0; v < 4; v++) sums[v] = v_fma(v_load(args->x + i + v * VL), v_zero(), sums[v]);
  }
  float bad = v_hsum(v_add(v_add(sums[0], sums[1]), v_add(sums[2], sums[3])));
  for (; i < args->count; i++) bad += args->x[i] * 0.0f;
  return bad == 0 ? RV_OK : RV_NON_FINITE;
}

/* The sum of squares of a row in double, in eight chains of lanes. */
RV_INLINE double square_of(const float *x, int64_t n) {
  enum { HALF = VL > 1 ? VL / 2 : 1 };
  double sum = 0;
  int64_t d = 0;
#if !defined(RV_ISA_SCALAR)
  typedef float floats __attribute__((vector_size(4 * HALF)));
  typedef double doubles __attribute__((vector_size(8 * HALF)));
  doubles chain[4] = {{0}, {0}, {0}, {0}};
  for (; d + 4 * HALF <= n; d += 4 * HALF) {
    RV_UNROLL for (int i = 0; i < 4; i++) {
      floats part;
      memcpy(&part, x + d + i * HALF, sizeof part);
      const doubles wide = __builtin_convertvector(part, doubles);
      chain[i] += wide * wide;
    }
  }
  const doubles all = (chain[0] + chain[1]) + (chain[2] + chain[3]);
  for (int i = 0; i < HALF; i++) sum += all[i];
#endif
  for (; d < n; d++) sum += (double)x[d] * (double)x[d];
  return sum;
}

/* What a distance needs of one end (geometry.h): 1 / (1 - c |x|^2) in the ball, sqrt(1 / c + |x|^2) on the hyperboloid.
 *   x (rows, dim)   out (rows, n_segments) */
static int32_t rv_space_aux(const rv_space_aux_args *args) {
  const rv_segment *segments = (const rv_segment *)args->segments;
  const rv_space *spaces = (const rv_space *)args->spaces;
  if (!segments_fit(segments, spaces, args->n_segments, args->dim)) return RV_BAD_ARGUMENT;
  for (int64_t i = 0; i < args->rows; i++)
    for (int64_t s = 0; s < args->n_segments; s++) {
      const rv_segment at = segments[s];
      const double c = spaces[s].curvature;
      float *out = args->out + i * args->n_segments + s;
      *out = 0;
      if (at.kind != RV_POINCARE && at.kind != RV_LORENTZ) continue;
      const double square = square_of(args->x + i * args->dim + at.begin, at.end - at.begin), gap = 1 - c * square;
      *out = at.kind == RV_LORENTZ ? (float)__builtin_sqrt(1 / c + square) : (float)(1 / (gap > 1e-12 ? gap : 1e-12));
    }
  return RV_OK;
}

/* grad_x += grad_aux d aux / dx; grad_curvature (n_segments) += grad_aux d aux / dc. */
static int32_t rv_space_aux_backward(const rv_space_aux_backward_args *args) {
  const rv_segment *segments = (const rv_segment *)args->segments;
  const rv_space *spaces = (const rv_space *)args->spaces;
  if (!segments_fit(segments, spaces, args->n_segments, args->dim)) return RV_BAD_ARGUMENT;
  for (int64_t i = 0; i < args->rows; i++)
    for (int64_t s = 0; s < args->n_segments; s++) {
      const rv_segment at = segments[s];
      if (at.kind != RV_POINCARE && at.kind != RV_LORENTZ) continue;
      const float *x = args->x + i * args->dim + at.begin;
      float *grad_x = args->grad_x + i * args->dim + at.begin;
      const double c = spaces[s].curvature, square = square_of(x, at.end - at.begin), gap = 1 - c * square;
      const double aux = at.kind == RV_LORENTZ ? __builtin_sqrt(1 / c + square) : 1 / (gap > 1e-12 ? gap : 1e-12);
      const double g = (double)args->grad_aux[i * args->n_segments + s];
      const double of_square = at.kind == RV_LORENTZ ? g * 0.5 / aux : g * c * aux * aux;
      args->grad_curvature[s] += at.kind == RV_LORENTZ ? -g * 0.5 / (aux * c * c) : g * square * aux * aux;
      for (int64_t d = 0; d < at.end - at.begin; d++) grad_x[d] += (float)(2 * of_square * (double)x[d]);
    }
  return RV_OK;
}

static void rotate_row(const float *x, const float *cosine, const float *sine, int64_t pairs, int64_t dim,
                       int interleaved, float sign, float *out) {
  const int64_t step = interleaved ? 2 : 1, other = interleaved ? 1 : pairs;
  for (int64_t c = 0; c < pairs; c++) {
    const float a = x[c * step], b = x[c * step + other], turned = sign * sine[c];
    out[c * step] = a * cosine[c] - b * turned;
    out[c * step + other] = b * cosine[c] + a * turned;
  }
  for (int64_t c = 2 * pairs; c < dim; c++) out[c] = x[c];
}

static int32_t rv_rotate_rows(const rv_rotate_rows_args *args) {
  if (2 * args->pairs > args->dim) return RV_BAD_ARGUMENT;
  const float sign = args->inverse ? -1.0f : 1.0f;
  for (int64_t b = 0; b < args->batch; b++)
    for (int64_t i = 0; i < args->n; i++) {
      const int64_t at = b * args->table_batch + i * args->pairs;
      for (int64_t h = 0; h < args->heads; h++) {
        const int64_t row = ((b * args->n + i) * args->heads + h) * args->dim;
        rotate_row(args->x + row, args->cosines + at, args->sines + at, args->pairs, args->dim, args->interleaved != 0,
                   sign, args->out + row);
      }
    }
  return RV_OK;
}
