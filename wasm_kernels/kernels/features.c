/* What linear attention makes of rows before its sums, and the directions of its random features.
 *   feature_logs     x (rows, dim) -> logarithms of features (rows, dim), or addends (rows)
 *   orthogonal_rows  x (dim, dim), lengths (count, dim) -> out (count, dim) */

enum { RV_FAVOR_ADDENDS, RV_ELU, RV_RELU, RV_SCALED, RV_FEATURE_MAPS };

/* log x in double, of a float x > 0: x = 2^e m with m about 1, and 2 artanh((m - 1) / (m + 1)) by its series. */
static double log_of(float x) {
  double wide = (double)x, e = 0;
  for (; wide < 0x1p-32; e -= 32) wide *= 0x1p32;
  for (; wide > 0x1p32; e += 32) wide *= 0x1p-32;
  for (; wide < 0x1.6a09e6p-1; e--) wide *= 2;
  for (; wide > 0x1.6a09e6p0; e++) wide *= 0.5;
  const double s = (wide - 1) / (wide + 1), square = s * s;
  double series = 0;
  for (int odd = 17; odd > 0; odd -= 2) series = series * square + 1.0 / odd;
  return e * 0.69314718055994530942 + 2 * s * series;
}

/* min(s, 0) + log1p(max(s, 0)) */
static void elu_logs(int64_t count, float factor, const float *x, float *out) {
  const vf scale = v_set(factor), zero = v_zero();
  for (int64_t i = 0; i < count; i += VL) {
    const int64_t rest = count - i;
    const vf s = v_mul(scale, rest < VL ? v_load_n(x + i, rest) : v_load(x + i));
    const vf negative = v_sub(s, v_max(s, zero)), log = v_add(negative, v_log1p(v_max(s, zero)));
    const vf told = v_add(log, v_mul(s, zero)); /* NaN and infinity stay what they are */
    if (rest < VL)
      v_store_n(out + i, told, rest);
    else
      v_store(out + i, told);
  }
}

static int32_t rv_feature_logs(const rv_feature_logs_args *args) {
  const int64_t dim = args->dim, count = args->rows * dim;
  const double factor = args->factor;
  float defect = 0;
  switch (args->map) {
    case RV_FAVOR_ADDENDS:
      for (int64_t i = 0; i < args->rows; i++) {
        const float term = (float)(-0.5 * factor * factor * square_of(args->x + i * dim, dim));
        defect += term > -5e29f ? 0 : __builtin_nanf("");
        args->out[i] = term + (args->addend ? args->addend[i] : 0);
      }
      break;
    case RV_ELU:
      elu_logs(count, (float)factor, args->x, args->out);
      for (int64_t i = 0; i < count; i++) defect += args->out[i] > -5e29f ? args->out[i] * 0 : __builtin_nanf("");
      break;
    case RV_RELU:
      for (int64_t i = 0; i < count; i++) {
        const float s = args->x[i] * (float)factor;
        defect += s * 0;
        args->out[i] = s > 0 && s < __builtin_inff() ? (float)log_of(s) : -__builtin_inff();
      }
      break;
    case RV_SCALED:
      for (int64_t i = 0; i < count; i++) args->out[i] = args->x[i] * (float)factor, defect += args->out[i] * 0;
      break;
    default: return RV_BAD_ARGUMENT;
  }
  return defect == 0 ? RV_OK : RV_NON_FINITE;
}

/* Gram-Schmidt, twice over, which leaves what rounding leaves; the diagonal of the corner is positive by itself. */
static int32_t rv_orthogonal_rows(const rv_orthogonal_rows_args *args) {
  const int64_t dim = args->dim;
  if (args->count > dim) return RV_BAD_ARGUMENT;
  for (int64_t i = 0; i < args->count; i++) {
    double *row = args->scratch + i * dim, square = 0, length = 0;
    for (int64_t d = 0; d < dim; d++) row[d] = args->x[d * dim + i];
    for (int64_t again = 0; again < 2; again++)
      for (int64_t j = 0; j < i; j++) {
        const double *other = args->scratch + j * dim;
        double along = 0;
        for (int64_t d = 0; d < dim; d++) along += row[d] * other[d];
        for (int64_t d = 0; d < dim; d++) row[d] -= along * other[d];
      }
    for (int64_t d = 0; d < dim; d++) square += row[d] * row[d];
    for (int64_t d = 0; d < dim; d++) length += args->lengths[i * dim + d] * args->lengths[i * dim + d];
    const double inverse = 1 / __builtin_sqrt(square), stretch = __builtin_sqrt(length);
    for (int64_t d = 0; d < dim; d++) row[d] *= inverse;
    for (int64_t d = 0; d < dim; d++) args->out[i * dim + d] = (float)(row[d] * stretch);
  }
  return RV_OK;
}
