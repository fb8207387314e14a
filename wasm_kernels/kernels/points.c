/* Points of the Poincaré ball of curvature -c, row by row: what hyperbolic attention does before and behind its sums.
 * x, y (rows, dim). Lengths and radial functions are in double, a few of them for each row; there is no libm here: tanh,
 * artanh and arsinh come of their formulas for half an argument, until it is small. */

enum { RV_INSIDE, RV_STRETCHED, RV_EXTENDED, RV_LOG_0, RV_EXP_0, RV_MIDPOINT, RV_DISTANCE, RV_SUM, RV_BALL_OPERATIONS };

/* By the continued fraction up to 1, then tanh 2r = 2 t / (1 + t^2). */
static double tanh_of(double r) {
  int doublings = 0;
  if (!(r < 20)) return r - r == 0 || r > 0 ? 1 : r; /* NaN stays */
  for (; r > 0.5; r *= 0.5) doublings++;
  double fraction = 15;
  for (int odd = 13; odd > 0; odd -= 2) fraction = odd + r * r / fraction;
  double t = r / fraction;
  for (; doublings; doublings--) t = 2 * t / (1 + t * t);
  return t;
}

/* By the series, of r brought below 1/8: artanh r = 2 artanh(r / (1 + sqrt(1 - r^2))). */
static double artanh_of(double r) {
  double factor = 1;
  for (; r > 0.125 && r < 1; factor *= 2) r = r / (1 + __builtin_sqrt((1 - r) * (1 + r)));
  const double square = r * r;
  double series = 0;
  for (int odd = 17; odd > 0; odd -= 2) series = series * square + 1.0 / odd;
  return factor * r * series;
}

/* arsinh s = 2 arsinh(s / sqrt(2 (1 + sqrt(1 + s^2)))), and artanh(s / sqrt(1 + s^2)) where that loses nothing. */
static double arsinh_of(double s) {
  double factor = 1;
  for (; s > 0.125 && s < 1e300; factor *= 2) s = s / __builtin_sqrt(2 * (1 + __builtin_sqrt(1 + s * s)));
  return factor * artanh_of(s / __builtin_sqrt(1 + s * s));
}

static double product_of(const float *x, const float *y, int64_t dim) {
  double sum = 0;
  for (int64_t d = 0; d < dim; d++) sum += (double)x[d] * (double)y[d];
  return sum;
}

/* What brings a row whose length squared is `square` to (1 - eps) of the radius, or 1 where it is inside. */
static double shrinking(double square, double c, double eps) {
  const double limit = (1 - eps) * (1 - eps);
  return c * square > limit ? (1 - eps) / __builtin_sqrt(c * square) : 1;
}

static void scaled_row(const float *x, int64_t dim, double factor, float *out) {
  for (int64_t d = 0; d < dim; d++) out[d] = (float)((double)x[d] * factor);
}

/* phi(r) / r of a radial function, 1 where both vanish. */
RV_INLINE double slope_of(double phi, double r) { return r < 1e-8 ? 1 : phi / r; }

/* A / (B + sqrt(B^2 - c |A|^2)) as a factor of A, brought inside; `least` is the least that the root may be. */
static double midpoint_factor(double square, double b, double c, double least, double eps) {
  const double left = b * b - c * square, root = left > least * least ? __builtin_sqrt(left) : least;
  const double factor = 1 / (b + root);
  return factor * shrinking(square * factor * factor, c, eps);
}

static double distance_of(const float *x, const float *y, int64_t dim, double c) {
  double square = 0;
  for (int64_t d = 0; d < dim; d++) square += ((double)x[d] - (double)y[d]) * ((double)x[d] - (double)y[d]);
  const double gaps = (1 - c * square_of(x, dim)) * (1 - c * square_of(y, dim));
  return 2 * arsinh_of(__builtin_sqrt(c * square / gaps)) / __builtin_sqrt(c);
}

static void mobius_sum(const float *x, const float *y, int64_t dim, double c, double eps, float *out) {
  const double xx = square_of(x, dim), yy = square_of(y, dim), xy = product_of(x, y, dim);
  const double whole = 1 + 2 * c * xy + c * c * xx * yy;
  const double of_x = (1 + 2 * c * xy + c * yy) / whole, of_y = (1 - c * xx) / whole;
  double square = 0;
  for (int64_t d = 0; d < dim; d++) {
    const double sum = of_x * (double)x[d] + of_y * (double)y[d];
    square += sum * sum;
  }
  const double inside = shrinking(square, c, eps);
  for (int64_t d = 0; d < dim; d++) out[d] = (float)(inside * (of_x * (double)x[d] + of_y * (double)y[d]));
}

/* One row; 0 where a midpoint is not told from the boundary. */
static int ball_row(int64_t operation, const float *x, const float *y, int64_t dim, double c, double eps, float *out) {
  if (operation == RV_SUM) return mobius_sum(x, y, dim, c, eps, out), 1;
  if (operation == RV_DISTANCE) return out[0] = (float)distance_of(x, y, dim, c), 1;
  const double square = square_of(x, dim), root_c = __builtin_sqrt(c);
  const double r = root_c * __builtin_sqrt(square), lambda = 2 / (1 - c * square);
  if (operation == RV_STRETCHED || operation == RV_EXTENDED) scaled_row(x, dim, lambda, out);
  if (operation == RV_EXTENDED) out[dim] = (float)(lambda - 1);
  if (operation == RV_INSIDE) scaled_row(x, dim, shrinking(square, c, eps), out);
  if (operation == RV_LOG_0) scaled_row(x, dim, slope_of(artanh_of(r), r), out);
  if (operation == RV_EXP_0) {
    const double t = tanh_of(r);
    scaled_row(x, dim, slope_of(t, r) * shrinking(t * t, 1, eps), out);
  }
  if (operation != RV_MIDPOINT) return 1;
  const double b = (double)x[dim], left = b * b - c * square;
  scaled_row(x, dim, midpoint_factor(square, b, c, 1, eps), out);
  return !(left < 2.5e-3 * b * b && b > 1e-3);
}

static int32_t rv_ball_rows(const rv_ball_rows_args *args) {
  const int64_t dim = args->dim, operation = args->operation, has_y = operation == RV_DISTANCE || operation == RV_SUM;
  if (!(args->curvature > 0) || operation >= RV_BALL_OPERATIONS || (has_y && !args->y)) return RV_BAD_ARGUMENT;
  const int64_t row = dim + (operation == RV_MIDPOINT),
                column = operation == RV_DISTANCE ? 1 : dim + (operation == RV_EXTENDED);
  int32_t status = RV_OK;
  for (int64_t i = 0; i < args->rows; i++)
    if (!ball_row(operation, args->x + i * row, has_y ? args->y + i * dim : NULL, dim, args->curvature, args->eps,
                  args->out + i * column))
      status = RV_NON_FINITE;
  return status;
}
