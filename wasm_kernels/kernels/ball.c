/* Hyperbolic attention of a few queries in one pass over keys and values: gyromidpoints of the values by
 * softmax(-scale * distance), all rows being points of the Poincaré ball of curvature -c.
 *   query (n_query, dim)   keys (n_key, dim)   values (n_key, dim_value)   out (n_query, dim_value)
 * With few queries the time is that of reading rows: so each is read once, and its distance, its conformal factor
 * lambda = 2 / (1 - c |x|^2) and its share of A = sum w lambda v and B = sum w (lambda - 1) come of that one reading.
 * The midpoint is A / (B + sqrt(B^2 - c |A|^2)), and the sum of the weights a lower bound of the root. */

#define RV_BALL_EPS 1e-6 /* rows nearer to the boundary than this, of the radius, are the host's to bring inside */

/* squares[i] = |x_i|^2 of n rows and, with `both`, differences[i] = |query - x_i|^2; room for a multiple of four. */
RV_INLINE void ball_squares(const int both, int64_t n, int64_t dim, const float *query, const float *x, float *squares,
                            float *differences) {
  for (int64_t j = 0; j < n; j += 4) {
    vf own[4], apart[4];
    const float *row[4];
    for (int i = 0; i < 4; i++) row[i] = x + (j + i < n ? j + i : n - 1) * dim, own[i] = apart[i] = v_zero();
    for (int64_t d = 0; d < dim; d += VL) {
      const int whole = d + VL <= dim;
      const vf q = !both ? v_zero() : whole ? v_load(query + d) : v_load_n(query + d, dim - d);
  RV_UNROLL for (int i = 0; i < 4; i++) {
        const vf point = whole ? v_load(row[i] + d) : v_load_n(row[i] + d, dim - d);
        __builtin_prefetch(row[i] + d + 8 * dim);
        own[i] = v_fma(point, point, own[i]);
        if (both) apart[i] = v_fma(v_sub(q, point), v_sub(q, point), apart[i]);
      }
    }
    v_hsum4(squares + j, own[0], own[1], own[2], own[3]);
    if (both) v_hsum4(differences + j, apart[0], apart[1], apart[2], apart[3]);
  }
}

/* Squares of n rows to 1 / (1 - c |x|^2), zeros behind them; 0 if one of them is not inside of the ball. What half of
 * the radius squared leaves room for is exact enough in float; beyond, a row is summed again in double. */
static int ball_halves(int64_t n, int64_t dim, const float *x, double c, float *squares) {
  const double least = RV_BALL_EPS * (2 - RV_BALL_EPS);
  const vf one = v_set(1.0f), half = v_set(0.5f);
  vf defect = v_zero();
  zero_behind(squares, n);
  for (int64_t j = 0; j < n; j += VL) {
    const vf taken = v_mul(v_set((float)c), v_load(squares + j));
    defect = v_fma(taken, v_zero(), defect);
    if (v_any_lt(half, taken)) {
      for (int64_t i = j; i < j + VL && i < n; i++) {
        const double gap = 1 - c * square_of(x + i * dim, dim);
        if (gap < least) return 0;
        squares[i] = (float)(1 / gap);
      }
    } else {
      v_store(squares + j, v_div(one, v_sub(one, taken)));
    }
  }
  return v_hsum(defect) == 0;
}

/* Lambdas into the weights of one line; what they add to B. */
RV_INLINE float ball_shares(int64_t n, float *line, const float *halves) {
  vf sum = v_zero();
  for (int64_t j = 0; j < n; j += VL) {
    const vf weight = v_load(line + j), factor = v_add(v_load(halves + j), v_load(halves + j));
    sum = v_fma(weight, v_sub(factor, v_set(1.0f)), sum);
    v_store(line + j, v_mul(weight, factor));
  }
  return v_hsum(sum);
}

/* out (dim) of one query; 0 where the midpoint is so far out that float sums do not tell it from the boundary. */
static int ball_midpoint(int64_t dim, const float *a, double b, double weights, double c, float *out) {
  const double left = b * b - c * square_of(a, dim);
  if (!(left >= 2.5e-3 * b * b)) return 0;
  const double root = __builtin_sqrt(left), inverse = 1 / (b + (root > weights ? root : weights));
  for (int64_t d = 0; d < dim; d++) out[d] = (float)((double)a[d] * inverse);
  return 1;
}

static int32_t ball_group(const rv_ball_attention_args *args, int64_t first, int64_t group) {
  const int64_t dim = args->dim, dim_value = args->dim_value;
  const rv_segment segment = {0, dim, RV_POINCARE, 1};
  const rv_space space = {1.0, args->curvature};
  const float *query = args->query + first * dim;
  float *lines = args->scratch, *acc = lines + RV_FEW * RV_KEY_TILE,
        *part = acc + RV_FEW * dim_value;
  float of_query[RV_KEY_TILE], of_keys[RV_KEY_TILE], of_values[RV_KEY_TILE], apart[RV_KEY_TILE], unused[RV_KEY_TILE];
  float top[RV_FEW], sum[RV_FEW];
  double time[RV_FEW];
  memset(acc, 0, sizeof(float) * (size_t)(group * dim_value));
  memset(unused, 0, sizeof unused);
  for (int64_t q = 0; q < group; q++) top[q] = RV_LOWEST, sum[q] = 0, time[q] = 0;
  ball_squares(0, group, dim, NULL, query, of_query, NULL);
  if (!ball_halves(group, dim, query, args->curvature, of_query)) return RV_NON_FINITE;
  for (int64_t key = 0; key < args->n_key; key += RV_KEY_TILE) {
    const int64_t n = rv_min_int(RV_KEY_TILE, args->n_key - key);
    const int nv = (int)((n + VL - 1) / VL);
    const float *keys = args->keys + key * dim, *values = args->values + key * dim_value, *halves = of_keys;
    ball_squares(1, n, dim, query, keys, of_keys, apart);
    if (!ball_halves(n, dim, keys, args->curvature, of_keys)) return RV_NON_FINITE;
    if (args->values != args->keys || dim != dim_value) {
      ball_squares(0, n, dim_value, NULL, values, of_values, NULL);
      if (!ball_halves(n, dim_value, values, args->curvature, of_values)) return RV_NON_FINITE;
      halves = of_values;
    }
    for (int64_t q = 0; q < group; q++) {
      float *line = lines + q * RV_KEY_TILE, lanes[VL];
      const float before = top[q];
      if (q > 0) few_differences(n, dim, query + q * dim, keys, dim, apart);
      space_line(&segment, &space, (float)(args->scale * RV_LOG2E), zero_behind(apart, n), nv, of_query[q], of_keys,
                 line, 1, unused);
      for (int64_t j = n; j < nv * VL; j++) line[j] = -__builtin_inff();
      few_softmax(line, top + q, sum + q, acc + q * dim_value, dim_value, nv);
      v_store(lanes, v_exp2(v_set(before - top[q])));
      time[q] = time[q] * (double)lanes[0] + (double)ball_shares(n, line, halves);
    }
    few_values(group, n, dim_value, lines, values, dim_value, acc, part);
  }
  for (int64_t q = 0; q < group; q++)
    if (!ball_midpoint(dim_value, acc + q * dim_value, time[q], (double)sum[q], args->curvature,
                       args->out + (first + q) * dim_value))
      return RV_NON_FINITE;
  return RV_OK;
}

static int32_t rv_ball_attention(const rv_ball_attention_args *args) {
  if (!(args->curvature > 0) || args->n_key == 0) return RV_BAD_ARGUMENT;
  int32_t status = RV_OK;
  for (int64_t q = 0; q < args->n_query && status == RV_OK; q += RV_FEW)
    status = ball_group(args, q, rv_min_int(RV_FEW, args->n_query - q));
  return status;
}
