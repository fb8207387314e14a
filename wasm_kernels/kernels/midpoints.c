/* Midpoints in the Poincaré ball by weights that are known, in double, where sums in float do not tell them from the boundary.
 *   weights (n_query, n_key)  values (n_key, dim) inside  ->  out (n_query, dim), inside by eps */

static int32_t rv_ball_midpoints(const rv_ball_midpoints_args *args) {
  const int64_t dim = args->dim;
  const double c = args->curvature;
  double *factors = args->scratch, *sums = factors + args->n_key;
  if (!(c > 0)) return RV_BAD_ARGUMENT;
  for (int64_t j = 0; j < args->n_key; j++) factors[j] = 2 / (1 - c * square_of(args->values + j * dim, dim));
  for (int64_t i = 0; i < args->n_query; i++) {
    const float *weights = args->weights + i * args->n_key;
    for (int64_t d = 0; d <= dim; d++) sums[d] = 0;
    for (int64_t j = 0; j < args->n_key; j++) {
      const double weight = (double)weights[j];
      if (weight == 0) continue; /* a key that is not seen may hold anything */
      for (int64_t d = 0; d < dim; d++) sums[d] += weight * factors[j] * (double)args->values[j * dim + d];
      sums[dim] += weight * (factors[j] - 1);
    }
    double square = 0;
    for (int64_t d = 0; d < dim; d++) square += sums[d] * sums[d];
    const double factor = midpoint_factor(square, sums[dim], c, 1, args->eps);
    for (int64_t d = 0; d < dim; d++) args->out[i * dim + d] = (float)(factor * sums[d]);
  }
  return RV_OK;
}
