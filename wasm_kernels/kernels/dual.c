/* Rows of two spaces at once: Euclidean channels as they are, hyperbolic ones taken into the ball by exp_0, head by head.
 *   dual_points  flat (rows, heads, flat_dim), curved (rows, heads, curved_dim)
 *                -> points (rows, heads, flat_dim + curved_dim), aux (rows, heads, 2): 0 and 1 / (1 - c |x|^2)
 *   dual_scores  of rows of queries and keys in that form -> dots and distances of all pairs (heads, n_query, n_key) */

/* cosh^2 r = (cosh 2r + 1) / 2, by the series up to a quarter and cosh 2y = 2 cosh^2 y - 1 from there: near the boundary
 * the difference 1 - c |x|^2 of the point itself would have few digits. */
static double square_of_cosh(double r) {
  int doublings = 0;
  for (r *= 2; r > 0.5; r *= 0.5) doublings++;
  double cosine = 1;
  for (int k = 12; k > 0; k -= 2) cosine = 1 + cosine * r * r / (k * (k - 1));
  for (; doublings; doublings--) cosine = 2 * cosine * cosine - 1;
  return 0.5 * (cosine + 1);
}

/* What takes a row into the ball, inside by eps, as a factor; and 1 / (1 - c |x|^2) of where it comes to lie. */
static double into_ball(const float *x, int64_t dim, double c, double eps, double *aux) {
  const double square = square_of(x, dim), r = __builtin_sqrt(c * square), t = tanh_of(r);
  const double farthest = artanh_of(1 - eps);
  *aux = square_of_cosh(r < farthest ? r : farthest);
  return slope_of(t, r) * shrinking(t * t, 1, eps);
}

static int32_t rv_dual_points(const rv_dual_points_args *args) {
  const int64_t n_flat = args->flat_dim, n_curved = args->curved_dim;
  if (!(args->curvature > 0)) return RV_BAD_ARGUMENT;
  for (int64_t i = 0; i < args->rows * args->heads; i++) {
    const float *curved = args->curved + i * n_curved;
    float *point = args->points + i * (n_flat + n_curved);
    double aux;
    const double factor = into_ball(curved, n_curved, args->curvature, args->eps, &aux);
    memcpy(point, args->flat + i * n_flat, sizeof(float) * (size_t)n_flat);
    scaled_row(curved, n_curved, factor, point + n_flat);
    args->aux[2 * i] = 0;
    args->aux[2 * i + 1] = (float)aux;
  }
  return RV_OK;
}

/* A row in the ball in double, and behind it its 1 / (1 - c |x|^2). */
static void wide_point(const float *x, int64_t dim, double c, double eps, double *out) {
  const double factor = into_ball(x, dim, c, eps, out + dim);
  for (int64_t d = 0; d < dim; d++) out[d] = factor * (double)x[d];
}

static int32_t rv_dual_scores(const rv_dual_scores_args *args) {
  const int64_t heads = args->heads, n_flat = args->flat_dim, n_curved = args->curved_dim, n_key = args->n_key;
  const double c = args->curvature;
  double *keys = args->scratch, *query = keys + n_key * (n_curved + 1);
  if (!(c > 0)) return RV_BAD_ARGUMENT;
  for (int64_t h = 0; h < heads; h++) {
    for (int64_t j = 0; j < n_key; j++)
      wide_point(args->keys_curved + (j * heads + h) * n_curved, n_curved, c, args->eps, keys + j * (n_curved + 1));
    for (int64_t i = 0; i < args->n_query; i++) {
      const float *flat = args->query_flat + (i * heads + h) * n_flat;
      wide_point(args->query_curved + (i * heads + h) * n_curved, n_curved, c, args->eps, query);
      for (int64_t j = 0; j < n_key; j++) {
        const int64_t at = (h * args->n_query + i) * n_key + j;
        const double *key = keys + j * (n_curved + 1);
        double square = 0;
        for (int64_t d = 0; d < n_curved; d++) square += (query[d] - key[d]) * (query[d] - key[d]);
        const double sine = __builtin_sqrt(c * square * query[n_curved] * key[n_curved]);
        args->dots[at] =
            (float)(args->flat_weight * product_of(flat, args->keys_flat + (j * heads + h) * n_flat, n_flat));
        args->distances[at] = (float)(-args->curved_weight * 2 * arsinh_of(sine) / __builtin_sqrt(c));
      }
    }
  }
  return RV_OK;
}
