/* out (m, n) = a (m, k) b (k, n) + bias (n).
 * b is packed in panels of RV_GEMM_K x (RV_NV * VL), a is read in place along its contiguous axis. With few rows
 * packing would cost more than it saves, and b is read in place too where its rows are contiguous. */
RV_INLINE void gemm_pack(int64_t depth, int64_t n, const float *b, int64_t b_row, int64_t b_col, float *packed) {
  const int64_t width = RV_NV * VL;
  if (b_col == 1 && n == width) {
    for (int64_t k = 0; k < depth; k++) RV_UNROLL for (int v = 0; v < RV_NV; v++) v_store(packed + k * width + v * VL, v_load(b + k * b_row + v * VL));
    return;
  }
  for (int64_t k = 0; k < depth; k++)
    for (int64_t j = n; j < width; j++) packed[k * width + j] = 0.0f;
  if (b_row == 1) transpose(n, depth, b, b_col, packed, width);
  else if (b_col == 1)
    for (int64_t k = 0; k < depth; k++) memcpy(packed + k * width, b + k * b_row, sizeof(float) * (size_t)n);
  else
    for (int64_t j = 0; j < n; j++)
      for (int64_t k = 0; k < depth; k++) packed[k * width + j] = b[k * b_row + j * b_col];
}

/* One row of a: every vector of b is used once, so what counts is to have many loads under way. It is summed as
 * gemm_panel sums it, to the bit: how the rows of a product are split must not show. */
static void gemm_row(const rv_gemm_args *args, int64_t i) {
  const int64_t wide = 8 * VL, n = args->n, b_row = args->b_row;
  float *out = args->out + i * n;
  if (args->bias) memcpy(out, args->bias, sizeof(float) * (size_t)n);
  else memset(out, 0, sizeof(float) * (size_t)n);
  for (int64_t k = 0; k < args->k; k += RV_GEMM_K) {
    const int64_t depth = rv_min_int(RV_GEMM_K, args->k - k);
    const float *a = args->a + i * args->a_row + k, *b = args->b + k * b_row;
    int64_t j = 0;
    for (; j + wide <= n; j += wide) micro_by_rows(1, 8, depth, a, depth, b + j, b_row, out + j, n, 1);
    for (; j + VL <= n; j += VL) micro_by_rows(1, 1, depth, a, depth, b + j, b_row, out + j, n, 1);
    if (j == n) continue;
    vf sum = v_zero();
    for (int64_t t = 0; t < depth; t++) sum = v_fma(v_set(a[t]), v_load_n(b + t * b_row + j, n - j), sum);
    v_store_n(out + j, v_add(sum, v_load_n(out + j, n - j)), n - j);
  }
}

/* Rows start..stop of out's columns j.. += a's columns k.. times a panel of b. */
RV_INLINE void gemm_panel(const rv_gemm_args *args, int64_t j, int64_t columns, int64_t k, int64_t depth,
                          const float *panel, int64_t panel_row, float *tile) {
  const int64_t n = args->n, width = RV_NV * VL;
  const int nv = (int)((columns + VL - 1) / VL), whole = columns == nv * VL;
  for (int64_t i = args->start, rows; i < args->stop; i += rows) {
    rows = rows_at_once(args->stop - i, nv);
    float *out = args->out + i * n + j, *target = whole ? out : tile;
    const int64_t target_row = whole ? n : width;
    const float *a = args->a + i * args->a_row + k * args->a_col, *bias = k == 0 ? args->bias : NULL;
    for (int64_t r = 0; r < rows; r++) {
      const float *begin = bias ? bias + j : out + r * n;
      if (bias || (k > 0 && !whole)) memcpy(target + r * target_row, begin, sizeof(float) * (size_t)columns);
    }
    const int accumulate = k > 0 || bias;
    if (args->a_col == 1)
      block_by_rows((int)rows, nv, depth, depth, a, args->a_row, panel, panel_row, target, target_row, accumulate);
    else
      block_by_columns((int)rows, nv, depth, a, args->a_col, panel, panel_row, target, target_row, accumulate);
    if (!whole)
      for (int64_t r = 0; r < rows; r++) memcpy(out + r * n, tile + r * width, sizeof(float) * (size_t)columns);
  }
}

static int32_t rv_gemm(const rv_gemm_args *args) {
  const int64_t width = RV_NV * VL, n = args->n;
  if (args->stop > args->m || (args->a_col != 1 && args->a_row != 1)) return RV_BAD_ARGUMENT;
  if (args->k == 0 || (args->stop - args->start == 1 && args->a_col == 1 && args->b_col == 1)) {
    for (int64_t i = args->start; i < args->stop; i++) gemm_row(args, i);
    return RV_OK;
  }
  float *packed = args->scratch, *tile = packed + RV_GEMM_K * width;
  const int in_place = args->b_col == 1 && args->stop - args->start <= 2 * block_rows(1);
  for (int64_t j = 0; j < n; j += width) {
    const int64_t columns = rv_min_int(width, n - j);
    for (int64_t k = 0; k < args->k; k += RV_GEMM_K) {
      const int64_t depth = rv_min_int(RV_GEMM_K, args->k - k);
      const float *panel = args->b + k * args->b_row + j * args->b_col;
      if (in_place && columns % VL == 0) {
        gemm_panel(args, j, columns, k, depth, panel, args->b_row, tile);
        continue;
      }
      gemm_pack(depth, columns, panel, args->b_row, args->b_col, packed);
      gemm_panel(args, j, columns, k, depth, packed, width, tile);
    }
  }
  return RV_OK;
}
