/* out (m, n) = a (m, k) b (k, n) + bias (n).
 * b is packed in panels of RV_GEMM_K x (RV_NV * VL), a is read in place along its contiguous axis. With few rows
 * packing would cost more than it saves, and b is read in place too where its rows are contiguous. */
RV_INLINE void gemm_pack(int64_t depth, int64_t n, const float *b, int64_t b_row, int64_t b_col, float *packed) {
  const int64_t width = RV_NV * VL;
  for (int64_t k = 0; k < depth; k++)
    for (int64_t j = 0; j < width; j++) packed[k * width + j] = j < n ? b[k * b_row + j * b_col] : 0.0f;
}

static int32_t rv_gemm(const rv_gemm_args *args) {
  const int64_t width = RV_NV * VL, n = args->n;
  if (args->stop > args->m || (args->a_col != 1 && args->a_row != 1)) return RV_BAD_ARGUMENT;
  float *packed = args->scratch, *tile = packed + RV_GEMM_K * width;
  const int in_place = args->b_col == 1 && args->stop - args->start <= 2 * RV_MR;
  for (int64_t j = 0; j < n; j += width) {
    const int64_t columns = rv_min_int(width, n - j);
    for (int64_t k = 0; k < args->k; k += RV_GEMM_K) {
      const int64_t depth = rv_min_int(RV_GEMM_K, args->k - k);
      const float *panel = args->b + k * args->b_row + j * args->b_col;
      int64_t panel_row = args->b_row;
      if (!in_place || columns < width) {
        gemm_pack(depth, columns, panel, args->b_row, args->b_col, packed);
        panel = packed;
        panel_row = width;
      }
      for (int64_t i = args->start; i < args->stop; i += RV_MR) {
        const int rows = rv_min_int(RV_MR, args->stop - i);
        float *out = args->out + i * n + j, *target = columns < width ? tile : out;
        const int64_t target_row = columns < width ? width : n;
        if (target == tile && k > 0)
          for (int64_t r = 0; r < rows; r++) memcpy(tile + r * width, out + r * n, sizeof(float) * (size_t)columns);
        const float *a = args->a + i * args->a_row + k * args->a_col;
        if (args->a_col == 1)
          block_by_rows(rows, RV_NV, depth, a, args->a_row, panel, panel_row, target, target_row, k > 0);
        else
          block_by_columns(rows, RV_NV, depth, a, args->a_col, panel, panel_row, target, target_row, k > 0);
        if (target == tile)
          for (int64_t r = 0; r < rows; r++) memcpy(out + r * n, tile + r * width, sizeof(float) * (size_t)columns);
      }
    }
  }
  for (int64_t i = args->start; i < args->stop; i++) {
    float *row = args->out + i * n;
    if (args->k == 0) memset(row, 0, sizeof(float) * (size_t)n);
    if (args->bias)
      for (int64_t j = 0; j < n; j++) row[j] += args->bias[j];
  }
  return RV_OK;
}
