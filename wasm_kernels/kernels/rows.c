/* Rows one by one. x, out (rows, dim). */

/* out = x / |x|; a row of zeros stays zero. The sum of squares is kept in double where float would overflow. */
static int32_t rv_normalize_rows(const rv_normalize_rows_args *args) {
  for (int64_t i = 0; i < args->rows; i++) {
    const float *x = args->x + i * args->dim;
    float *out = args->out + i * args->dim;
    double sum = 0;
    for (int64_t d = 0; d < args->dim; d++) sum += (double)x[d] * (double)x[d];
    const double inverse = sum > 0 ? 1.0 / __builtin_sqrt(sum) : 0.0;
    for (int64_t d = 0; d < args->dim; d++) out[d] = (float)((double)x[d] * inverse);
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
