/* The register block that every dense product is made of:
 *   c (mr, nv * VL)  =  [c +]  sum_k a(i, k) * b(k, :)
 * What c held is added last, so that a long sum is a sum of short ones and loses less to rounding.
 * Vectors of b meet scalars of a; the mr * nv partial sums stay in registers. A scalar of a is read where it lies,
 * so one factor is never packed: `by_rows` walks along a's rows (a(i, k) = a[i * a_row + k]), `by_columns` down its
 * columns (a(i, k) = a[k * a_step + i]). b's rows are b_step apart. */
#ifndef RV_MICRO_H
#define RV_MICRO_H

RV_INLINE void micro_zero(const int mr, const int nv, vf acc[8][8]) {
  RV_UNROLL for (int i = 0; i < mr; i++)
    RV_UNROLL for (int v = 0; v < nv; v++) acc[i][v] = v_zero();
}

RV_INLINE void micro_store(const int mr, const int nv, vf acc[8][8], float *c, int64_t c_row, int accumulate) {
  if (accumulate)
    RV_UNROLL for (int i = 0; i < mr; i++)
      RV_UNROLL for (int v = 0; v < nv; v++) acc[i][v] = v_add(acc[i][v], v_load(c + i * c_row + v * VL));
  RV_UNROLL for (int i = 0; i < mr; i++)
    RV_UNROLL for (int v = 0; v < nv; v++) v_store(c + i * c_row + v * VL, acc[i][v]);
}

RV_INLINE void micro_by_rows(const int mr, const int nv, int64_t depth, const float *a, int64_t a_row, const float *b,
                             int64_t b_step, float *c, int64_t c_row, int accumulate) {
  vf acc[8][8], vectors[8];
  const float *row[8];
  micro_zero(mr, nv, acc);
  RV_UNROLL for (int i = 0; i < mr; i++) row[i] = a + i * a_row;
  for (int64_t k = 0; k < depth; k++, b += b_step) {
    RV_UNROLL for (int v = 0; v < nv; v++) vectors[v] = v_load(b + v * VL);
    RV_UNROLL for (int i = 0; i < mr; i++) {
      const vf scalar = v_set(row[i][k]);
      RV_UNROLL for (int v = 0; v < nv; v++) acc[i][v] = v_fma(scalar, vectors[v], acc[i][v]);
    }
  }
  micro_store(mr, nv, acc, c, c_row, accumulate);
}

RV_INLINE void micro_by_columns(const int mr, const int nv, int64_t depth, const float *a, int64_t a_step,
                                const float *b, int64_t b_step, float *c, int64_t c_row, int accumulate) {
  vf acc[8][8], vectors[8];
  micro_zero(mr, nv, acc);
  for (int64_t k = 0; k < depth; k++, a += a_step, b += b_step) {
    RV_UNROLL for (int v = 0; v < nv; v++) vectors[v] = v_load(b + v * VL);
    RV_UNROLL for (int i = 0; i < mr; i++) {
      const vf scalar = v_set(a[i]);
      RV_UNROLL for (int v = 0; v < nv; v++) acc[i][v] = v_fma(scalar, vectors[v], acc[i][v]);
    }
  }
  micro_store(mr, nv, acc, c, c_row, accumulate);
}

/* Rows of a block of nv vectors: RV_MR where there are RV_NV of them, and no fewer than four sums where there are less,
 * for one would wait for its own last step. */
RV_INLINE int block_rows(int nv) { return VL > 1 && RV_MR < 4 && nv <= 2 ? 4 : RV_MR; }

/* Every block from 1 x 1 on as straight code: a case each, absent ones folded away. */
#define RV_CASE(kind, mr, nv)                                                                 \
  case (mr)*8 + (nv):                                                                         \
    if ((mr) <= block_rows(nv) && (nv) <= RV_NV)                                                       \
      micro_##kind(mr, nv, depth, a, a_stride, b, b_step, c, c_row, accumulate);              \
    break;
#define RV_CASES(kind, nv)                                                                    \
  RV_CASE(kind, 1, nv) RV_CASE(kind, 2, nv) RV_CASE(kind, 3, nv) RV_CASE(kind, 4, nv)         \
  RV_CASE(kind, 5, nv) RV_CASE(kind, 6, nv) RV_CASE(kind, 7, nv) RV_CASE(kind, 8, nv)
#define RV_BLOCK(kind)                                                                        \
  static void block_##kind(int mr, int nv, int64_t depth, const float *a, int64_t a_stride,   \
                           const float *b, int64_t b_step, float *c, int64_t c_row, int accumulate) { \
    switch (mr * 8 + nv) {                                                                    \
      RV_CASES(kind, 1) RV_CASES(kind, 2) RV_CASES(kind, 3) RV_CASES(kind, 4)                 \
    }                                                                                         \
  }
RV_BLOCK(by_rows)
RV_BLOCK(by_columns)
#undef RV_BLOCK
#undef RV_CASES
#undef RV_CASE

/* V8 unrolls a loop inside of others, and one in a function of its own not: full blocks get a copy there. */
#if defined(RV_ISA_WASM128) || defined(RV_ISA_WASM_RELAXED)
enum { RV_NESTED = 1 };
#else
enum { RV_NESTED = 0 };
#endif

RV_INLINE int rv_min_int(int64_t a, int64_t b) { return (int)(a < b ? a : b); }

/* All of c (rows, nv * VL), a block of rows at a time. */
RV_INLINE void panel_by_rows(int64_t rows, int nv, int64_t depth, const float *a, int64_t a_row, const float *b,
                             int64_t b_step, float *c, int64_t c_row, int accumulate) {
  const int most = block_rows(nv);
  for (int64_t i = 0; i < rows; i += most)
    block_by_rows(rv_min_int(most, rows - i), nv, depth, a + i * a_row, a_row, b, b_step, c + i * c_row, c_row,
                  accumulate);
}

/* c (rows, nv * VL), its rows RV_LANES apart: dot products of rows of a with columns of b (depth, RV_LANES). Sums of
 * RV_CHAIN terms at most, since a score's error is every weight's (docs/decisions/0005). */
enum { RV_CHAIN = 16, RV_LANES = RV_NV * VL };

/* For mr rows whose sums of chains stay in registers, too. */
RV_INLINE void dots_in_registers(const int mr, const int nv, int64_t depth, const float *a, int64_t a_row,
                                 const float *b, float *c) {
  vf total[8][8], acc[8][8], vectors[8];
  const float *row[8];
  RV_UNROLL for (int i = 0; i < mr; i++) row[i] = a + i * a_row;
  micro_zero(mr, nv, total);
  for (int64_t k = 0; k < depth; k += RV_CHAIN) {
    micro_zero(mr, nv, acc);
    for (int64_t end = k + rv_min_int(RV_CHAIN, depth - k), t = k; t < end; t++) {
      RV_UNROLL for (int v = 0; v < nv; v++) vectors[v] = v_load(b + t * RV_LANES + v * VL);
      RV_UNROLL for (int i = 0; i < mr; i++) {
        const vf scalar = v_set(row[i][t]);
        RV_UNROLL for (int v = 0; v < nv; v++) acc[i][v] = v_fma(scalar, vectors[v], acc[i][v]);
      }
    }
    RV_UNROLL for (int i = 0; i < mr; i++)
      RV_UNROLL for (int v = 0; v < nv; v++) total[i][v] = v_add(total[i][v], acc[i][v]);
  }
  micro_store(mr, nv, total, c, RV_LANES, 0);
}

/* Nearly all of the work is done by a copy of the block of its own with constants in it: with 32 registers a smaller one
 * that has room for the totals, elsewhere the full one, whose totals pass through memory. */
static void dots_by_rows(int64_t rows, int nv, int64_t depth, const float *a, int64_t a_row, const float *b, float *c) {
  int64_t i = 0;
  for (; RV_NV == 3 && nv == 3 && i + 4 <= rows; i += 4)
    dots_in_registers(4, 3, depth, a + i * a_row, a_row, b, c + i * RV_LANES);
  for (; RV_NV == 3 && nv == 2 && i + 6 <= rows; i += 6)
    dots_in_registers(6, 2, depth, a + i * a_row, a_row, b, c + i * RV_LANES);
  for (; RV_NV != 3 && nv == RV_NV && i + RV_MR <= rows; i += RV_MR)
    for (int64_t k = 0; k < depth; k += RV_CHAIN)
      micro_by_rows(RV_MR, RV_NV, rv_min_int(RV_CHAIN, depth - k), a + i * a_row + k, a_row, b + k * RV_LANES, RV_LANES,
                    c + i * RV_LANES, RV_LANES, k > 0);
  const int most = block_rows(nv);
  for (; i < rows; i += most)
    for (int64_t k = 0; k < depth; k += RV_CHAIN)
      block_by_rows(rv_min_int(most, rows - i), nv, rv_min_int(RV_CHAIN, depth - k), a + i * a_row + k, a_row,
                    b + k * RV_LANES, RV_LANES, c + i * RV_LANES, RV_LANES, k > 0);
}

static void panel_by_columns(int64_t rows, int nv, int64_t depth, const float *a, int64_t a_step, const float *b,
                             int64_t b_step, float *c, int64_t c_row, int accumulate) {
  int64_t i = 0;
  for (; RV_NESTED && nv == RV_NV && i + RV_MR <= rows; i += RV_MR)
    micro_by_columns(RV_MR, RV_NV, depth, a + i, a_step, b, b_step, c + i * c_row, c_row, accumulate);
  const int most = block_rows(nv);
  for (; i < rows; i += most)
    block_by_columns(rv_min_int(most, rows - i), nv, depth, a + i, a_step, b, b_step, c + i * c_row, c_row,
                     accumulate);
}

/* out (columns, rows) from x (rows, columns), four by four. */
static void transpose(int64_t rows, int64_t columns, const float *x, int64_t x_row, float *out, int64_t out_row) {
  int64_t i = 0;
  for (; i + 4 <= rows; i += 4) {
    int64_t k = 0;
    for (; k + 4 <= columns; k += 4) v_transpose4(x + i * x_row + k, x_row, out + k * out_row + i, out_row);
    for (; k < columns; k++)
      for (int64_t r = i; r < i + 4; r++) out[k * out_row + r] = x[r * x_row + k];
  }
  for (; i < rows; i++)
    for (int64_t k = 0; k < columns; k++) out[k * out_row + i] = x[i * x_row + k];
}

/* packed (depth, RV_LANES) from x (n, depth) with rows x_row apart; lanes n.. are zero. */
RV_INLINE void pack_transposed(int64_t n, int64_t depth, const float *x, int64_t x_row, float *packed) {
  transpose(n, depth, x, x_row, packed, RV_LANES);
  for (int64_t k = 0; k < depth && n < RV_LANES; k++)
    for (int64_t i = n; i < RV_LANES; i++) packed[k * RV_LANES + i] = 0.0f;
}

/* c (rows, RV_LANES): squared distances of rows of a to columns of b, in chains as above. They are summed from the
 * differences: from norms and dot products, those of close points would be noise. */
static void differences_by_rows(int64_t rows, int64_t depth, const float *a, int64_t a_row, const float *b, float *c) {
  enum { ROWS = RV_MR < 4 ? RV_MR : 4 };
  for (int64_t i = 0; i < rows; i += ROWS) {
    const float *row[ROWS];
    vf total[ROWS][RV_NV];
    for (int r = 0; r < ROWS; r++) row[r] = a + (i + r < rows ? i + r : rows - 1) * a_row;
    RV_UNROLL for (int r = 0; r < ROWS; r++) RV_UNROLL for (int v = 0; v < RV_NV; v++) total[r][v] = v_zero();
    for (int64_t k = 0; k < depth; k += RV_CHAIN) {
      vf acc[ROWS][RV_NV];
      RV_UNROLL for (int r = 0; r < ROWS; r++) RV_UNROLL for (int v = 0; v < RV_NV; v++) acc[r][v] = v_zero();
      for (int64_t end = k + rv_min_int(RV_CHAIN, depth - k), t = k; t < end; t++) {
        RV_UNROLL for (int r = 0; r < ROWS; r++) {
          const vf scalar = v_set(row[r][t]);
          RV_UNROLL for (int v = 0; v < RV_NV; v++) {
            const vf difference = v_sub(scalar, v_load(b + t * RV_LANES + v * VL));
            acc[r][v] = v_fma(difference, difference, acc[r][v]);
          }
        }
      }
      RV_UNROLL for (int r = 0; r < ROWS; r++) RV_UNROLL for (int v = 0; v < RV_NV; v++)
        total[r][v] = v_add(total[r][v], acc[r][v]);
    }
    for (int64_t r = 0; r < ROWS && i + r < rows; r++)
      RV_UNROLL for (int v = 0; v < RV_NV; v++) v_store(c + (i + r) * RV_LANES + v * VL, total[r][v]);
  }
}

#endif
