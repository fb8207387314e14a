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
