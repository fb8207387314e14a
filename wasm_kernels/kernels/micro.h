/* The register block that every dense product is made of:
 *   c (mr, nv * VL)  =  [c +]  sum_k a(i, k) * b(k, :)
 * What c held is added last, so that a long sum is a sum of short ones and loses less to rounding.
 * Vectors of b meet scalars of a; the mr * nv partial sums stay in registers. A scalar of a is read where it lies,
 * so one factor is never packed: `by_rows` walks along a's rows (a(i, k) = a[i * a_row + k]), `by_columns` down its
 * columns (a(i, k) = a[k * a_step + i]). b's rows are b_step apart. */
#ifndef RV_MICRO_H
#define RV_MICRO_H

/* V8 unrolls a loop only inside of others of the same function, and not if that is long: full blocks get a copy of their
 * own there. Its sixteen registers hold 2 x 4 partial sums and what they are made of. */
#if defined(RV_ISA_WASM128) || defined(RV_ISA_WASM_RELAXED)
enum { RV_V8 = 1 };
#else
enum { RV_V8 = 0 };
#endif

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

/* The same in chains of `chain` terms, each added to c. */
RV_INLINE void micro_in_chains(const int mr, const int nv, int64_t depth, int64_t chain, const float *a, int64_t a_row,
                               const float *b, int64_t b_step, float *c, int64_t c_row, int accumulate) {
  int64_t k = 0;
  do {
    const int64_t n = depth - k < chain ? depth - k : chain;
    micro_by_rows(mr, nv, n, a + k, a_row, b + k * b_step, b_step, c, c_row, accumulate);
    k += n;
    accumulate = 1;
  } while (k < depth);
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

/* Rows of a block of nv vectors: RV_MR where there are RV_NV of them, and no fewer than four where there are less, for a
 * sum waits for its own last step. */
RV_INLINE int block_rows(int nv) { return RV_V8 && nv < RV_NV ? 4 : RV_MR; }

/* How many of `rows` go together. A module that is fetched has few blocks: last rows go one by one, and three vectors are
 * two and one. */
RV_INLINE int rows_at_once(int64_t rows, int nv) {
  const int most = block_rows(nv);
  return rows >= most ? most : RV_V8 ? 1 : (int)rows;
}
RV_INLINE int vectors_at_once(int nv) { return RV_V8 && nv == 3 ? 2 : nv; }

/* Every block from 1 x 1 on as straight code: a case each, absent ones folded away. */
#define RV_CASE(mr, nv, block)                                                                             \
  case (mr)*8 + (nv):                                                                                      \
    if ((nv) <= RV_NV && (mr) == rows_at_once(mr, nv) && (nv) == vectors_at_once(nv)) block;               \
    break;
#define RV_CASES(nv, BLOCK)                                                                                \
  RV_CASE(1, nv, BLOCK(1, nv)) RV_CASE(2, nv, BLOCK(2, nv)) RV_CASE(3, nv, BLOCK(3, nv)) RV_CASE(4, nv, BLOCK(4, nv)) \
  RV_CASE(5, nv, BLOCK(5, nv)) RV_CASE(6, nv, BLOCK(6, nv)) RV_CASE(7, nv, BLOCK(7, nv)) RV_CASE(8, nv, BLOCK(8, nv))
#define RV_BLOCKS(BLOCK) RV_CASES(1, BLOCK) RV_CASES(2, BLOCK) RV_CASES(3, BLOCK) RV_CASES(4, BLOCK)

/* `chain` is for V8, which unrolls the loop over a chain inside of the one over chains; elsewhere it is the depth. */
static void block_by_rows(int mr, int nv, int64_t depth, int64_t chain, const float *a, int64_t a_row, const float *b,
                          int64_t b_step, float *c, int64_t c_row, int accumulate) {
#define RV_BY_ROWS(mr, nv) micro_by_rows(mr, nv, depth, a, a_row, b, b_step, c, c_row, accumulate)
#define RV_IN_CHAINS(mr, nv) micro_in_chains(mr, nv, depth, chain, a, a_row, b, b_step, c, c_row, accumulate)
  if (!RV_V8) switch (mr * 8 + nv) { RV_BLOCKS(RV_BY_ROWS) }
  for (int n; RV_V8 && nv > 0; nv -= n, b += n * VL, c += n * VL) {
    n = vectors_at_once(nv);
    switch (mr * 8 + n) { RV_BLOCKS(RV_IN_CHAINS) }
  }
#undef RV_IN_CHAINS
#undef RV_BY_ROWS
}

static void block_by_columns(int mr, int nv, int64_t depth, const float *a, int64_t a_step, const float *b,
                             int64_t b_step, float *c, int64_t c_row, int accumulate) {
#define RV_BY_COLUMNS(mr, nv) micro_by_columns(mr, nv, depth, a, a_step, b, b_step, c, c_row, accumulate)
  if (!RV_V8) switch (mr * 8 + nv) { RV_BLOCKS(RV_BY_COLUMNS) }
  for (int n; RV_V8 && nv > 0; nv -= n, b += n * VL, c += n * VL) {
    n = vectors_at_once(nv);
    switch (mr * 8 + n) { RV_BLOCKS(RV_BY_COLUMNS) }
  }
#undef RV_BY_COLUMNS
}
#undef RV_BLOCKS
#undef RV_CASES
#undef RV_CASE

RV_INLINE int rv_min_int(int64_t a, int64_t b) { return (int)(a < b ? a : b); }

/* All of c (rows, nv * VL), block by block. */
RV_INLINE void panel_by_rows(int64_t rows, int nv, int64_t depth, const float *a, int64_t a_row, const float *b,
                             int64_t b_step, float *c, int64_t c_row, int accumulate) {
  for (int64_t i = 0, n; i < rows; i += n) {
    n = rows_at_once(rows - i, nv);
    block_by_rows((int)n, nv, depth, depth, a + i * a_row, a_row, b, b_step, c + i * c_row, c_row, accumulate);
  }
}

/* The copy for V8, once for all callers. */
static void full_by_columns(int64_t rows, int64_t depth, const float *a, int64_t a_step, const float *b, int64_t b_step,
                            float *c, int64_t c_row, int accumulate) {
  for (int64_t i = 0; i < rows; i += RV_MR)
    micro_by_columns(RV_MR, RV_NV, depth, a + i, a_step, b, b_step, c + i * c_row, c_row, accumulate);
}

RV_INLINE void panel_by_columns(int64_t rows, int nv, int64_t depth, const float *a, int64_t a_step, const float *b,
                                int64_t b_step, float *c, int64_t c_row, int accumulate) {
  int64_t i = 0;
  if (RV_V8 && nv == RV_NV)
    full_by_columns(i = rows / RV_MR * RV_MR, depth, a, a_step, b, b_step, c, c_row, accumulate);
  for (int64_t n; i < rows; i += n) {
    n = rows_at_once(rows - i, nv);
    block_by_columns((int)n, nv, depth, a + i, a_step, b, b_step, c + i * c_row, c_row, accumulate);
  }
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
    micro_in_chains(RV_MR, RV_NV, depth, RV_CHAIN, a + i * a_row, a_row, b, RV_LANES, c + i * RV_LANES, RV_LANES, 0);
  const int64_t part = RV_V8 ? depth : RV_CHAIN;
  for (int64_t n; i < rows; i += n) {
    n = rows_at_once(rows - i, nv);
    for (int64_t k = 0; k < depth; k += part)
      block_by_rows((int)n, nv, rv_min_int(part, depth - k), RV_CHAIN, a + i * a_row + k, a_row, b + k * RV_LANES, RV_LANES,
                    c + i * RV_LANES, RV_LANES, k > 0);
  }
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
