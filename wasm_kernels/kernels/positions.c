/* Positions and times as numbers that scores can use: sines of them, and which keys a time sees.
 *   waves       x (n), frequencies, phases (count) -> cosines, sines (n, count)
 *   seen_tiles  query_time (n_query), key_time (n_key), in order -> tiles of who sees whom (head.h)
 *   add_rows    x (batch, count) + y (count), or (batch, count) */

/* An angle as r + n pi/2, |r| < 0.8; answers n modulo 4. Every product is exact: n in halves of 26 bits, pi/2 in parts of
 * 24. The quotient of a large angle may be one off, which the second round makes good. */
static int64_t quadrant_of(double *angle) {
  static const double parts[] = {0x1.921fb4p+0, 0x1.4442d0p-24, 0x1.846988p-48, 0x1.8cc516p-72, 0x1.01b838p-96};
  int64_t turns = 0;
  for (int round = 0; round < 2; round++) {
    const double quarter = *angle * 0.63661977236758134308;
    const int64_t n = (int64_t)(quarter < 0 ? quarter - 0.5 : quarter + 0.5);
    const double low = (double)(n % (1 << 26)), high = (double)n - low;
    for (int i = 0; i < 5; i++) *angle = (*angle - high * parts[i]) - low * parts[i];
    turns += n;
  }
  return turns & 3;
}

/* By their series, in Horner's form. */
static void sine_and_cosine(double angle, float *sine, float *cosine) {
  const int64_t quadrant = quadrant_of(&angle);
  const double square = angle * angle;
  double s = 1, c = 1;
  for (int k = 16; k > 0; k -= 2) {
    s = 1 - s * square / (k * (k + 1));
    c = 1 - c * square / (k * (k - 1));
  }
  s *= angle;
  const double turned = quadrant & 1 ? c : s, other = quadrant & 1 ? s : c;
  *sine = (float)(quadrant & 2 ? -turned : turned);
  *cosine = (float)(quadrant == 1 || quadrant == 2 ? -other : other);
}

static int32_t rv_waves(const rv_waves_args *args) {
  int32_t status = RV_OK;
  for (int64_t i = 0; i < args->n; i++)
    for (int64_t c = 0; c < args->count; c++) {
      const double angle = args->x[i] * args->frequencies[c] + (args->phases ? args->phases[c] : 0);
      float sine = (float)angle, cosine = 1;
      if (!(angle < 0x1p52 && angle > -0x1p52))
        status = RV_NON_FINITE;
      else if (c >= args->lines)
        sine_and_cosine(angle, &sine, &cosine);
      args->sines[i * args->count + c] = sine;
      if (args->cosines) args->cosines[i * args->count + c] = cosine;
    }
  return status;
}

/* How many of the keys are of that time or before. */
static int64_t keys_until(const double *key_time, int64_t n_key, double time) {
  int64_t low = 0, high = n_key;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (key_time[middle] <= time)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static int in_order(const double *times, int64_t n) {
  for (int64_t i = 1; i < n; i++)
    if (!(times[i - 1] <= times[i])) return 0;
  return 1;
}

/* What the first query of a tile row sees all of its queries see; what only the last ones see beyond has its bits. */
static int32_t rv_seen_tiles(const rv_seen_tiles_args *args) {
  const int64_t n_query = args->n_query, rows = args->tile_rows;
  const double *times = args->query_time;
  if (rows < 1 || rows > 64 || args->n_tiles != (n_query + rows - 1) / rows) return RV_BAD_ARGUMENT;
  if (!in_order(times, n_query) || !in_order(args->key_time, args->n_key)) return RV_BAD_ARGUMENT;
  int64_t n_runs = 0, n_bits = 0;
  rv_run *runs = (rv_run *)args->runs;
  args->tile_indptr[0] = 0;
  for (int64_t tile = 0; tile < args->n_tiles; tile++) {
    const int64_t first = tile * rows, last = rv_min_int(first + rows, n_query) - 1;
    const int64_t low = keys_until(args->key_time, args->n_key, times[first]);
    const int64_t high = keys_until(args->key_time, args->n_key, times[last]);
    if (low > 0) runs[n_runs++] = (rv_run){0, low, -1};
    if (high > low) runs[n_runs++] = (rv_run){low, high, n_bits};
    for (int64_t key = low, from = first; key < high; key++) {
      while (from < last && times[from] < args->key_time[key]) from++;
      args->run_bits[n_bits++] = (int64_t)(bits_below(last + 1 - first) & ~bits_below(from - first));
    }
    args->tile_indptr[tile + 1] = n_runs;
  }
  for (; n_runs < 2 * args->n_tiles; n_runs++) runs[n_runs] = (rv_run){0, 0, 0};
  for (; n_bits < args->n_key; n_bits++) args->run_bits[n_bits] = 0;
  return RV_OK;
}

static int32_t rv_add_rows(const rv_add_rows_args *args) {
  for (int64_t b = 0; b < args->batch; b++)
    for (int64_t i = 0; i < args->count; i++)
      args->out[b * args->count + i] = args->x[b * args->count + i] + args->y[b * args->y_batch + i];
  return RV_OK;
}
