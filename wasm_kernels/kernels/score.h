/* From raw tiles to scores: the epilogue, in units where weights are powers of two.
 *   score = scale * tile + bias + decay(|query time - key time|), and -inf where the lane's bit is 0
 * A tile is lines x lanes. With many queries a line is a key and a lane a query, with few queries the reverse. */
#ifndef RV_SCORE_H
#define RV_SCORE_H

#define RV_LOG2E 1.4426950408889634
#define RV_LN2 0.6931471805599453
#define RV_LOWEST (-3.402823466e38f) /* the running maximum before any key: finite, so that differences are */

typedef struct {
  float scale; /* with log2(e) inside */
  const float *bias;
  int64_t bias_line, bias_lane;
  const uint64_t *words; /* bit of a lane: it may be seen; NULL: all may */
  int64_t word_line;
  float decay, rate; /* with log2(e) inside */
  const float *line_time, *lane_time;
} rv_scoring;

/* The first n lanes of a bias. */
RV_INLINE vf bias_lanes(const float *bias, int64_t stride, int64_t n) {
  if (stride == 0) return v_set(*bias);
  if (stride == 1) return n >= VL ? v_load(bias) : v_load_n(bias, n > 0 ? n : 0);
  float lanes[VL];
  for (int64_t i = 0; i < VL; i++) lanes[i] = i < n ? bias[i * stride] : 0.0f;
  return v_load(lanes);
}

RV_INLINE vf decay_of(const rv_scoring *with, int64_t line, int64_t lane) {
  const vf gap = v_sub(v_set(with->line_time[line]), v_load(with->lane_time + lane));
  const vf distance = v_max(gap, v_sub(v_zero(), gap));
  return v_exp2(v_mul(distance, v_set(-with->rate)));
}

RV_INLINE vf score_of(const rv_scoring *with, vf raw, int64_t line, int64_t lane, int64_t n) {
  vf score = v_mul(raw, v_set(with->scale));
  if (with->bias) {
    const float *bias = with->bias + line * with->bias_line + lane * with->bias_lane;
    score = v_fma(bias_lanes(bias, with->bias_lane, n - lane), v_set((float)RV_LOG2E), score);
  }
  if (with->line_time) score = v_fma(decay_of(with, line, lane), v_set(with->decay), score);
  if (with->words) {
    const uint64_t word = with->words[line * with->word_line + lane / 64];
    score = v_where_bits((uint32_t)(word >> (lane % 64)), score, v_set(-__builtin_inff()));
  }
  return score;
}

/* Scores of a tile in place, n lanes of nv * VL; the maximum of each lane, where asked for. */
static void score_tile(const rv_scoring *with, float *tile, int64_t tile_row, int64_t lines, int64_t n, int nv,
                       float *maximum) {
  for (int v = 0; v < nv; v++) {
    vf best = v_set(RV_LOWEST);
    for (int64_t line = 0; line < lines; line++) {
      float *p = tile + line * tile_row + v * VL;
      const vf score = score_of(with, v_load(p), line, v * VL, n);
      best = v_max(best, score);
      v_store(p, score);
    }
    if (maximum) v_store(maximum + v * VL, best);
  }
}

/* ---- bits: which lanes of a line may be seen; RV_LINE_WORDS words a line where lanes are keys, one where they are
 * queries ---- */

enum { RV_LINE_WORDS = RV_KEY_TILE / 64 };

RV_INLINE uint64_t bits_below(int64_t n) { return n <= 0 ? 0 : n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1; }

/* The lanes lo .. hi of the word that begins at lane `from`. */
RV_INLINE uint64_t bits_between(int64_t lo, int64_t hi, int64_t from) {
  return bits_below(hi + 1 - from) & ~bits_below(lo - from);
}

/* 8 bytes -> 8 bits: whether each is not zero. */
RV_INLINE uint64_t bits_of_bytes(const uint8_t *bytes) {
  uint64_t x;
  memcpy(&x, bytes, 8);
  x = ((((x & 0x7f7f7f7f7f7f7f7fULL) + 0x7f7f7f7f7f7f7f7fULL) | x) >> 7) & 0x0101010101010101ULL;
  return (x * 0x0102040810204080ULL) >> 56;
}

/* Lanes are keys: the words of one line, from its row of a mask. */
RV_INLINE void allow_row(uint64_t *words, const uint8_t *mask, int64_t step, int64_t n) {
  if (step == 0) {
    for (int64_t w = 0; w * 64 < n; w++) words[w] &= *mask ? ~(uint64_t)0 : 0;
    return;
  }
  for (int64_t w = 0; w * 64 < n; w++) {
    uint64_t word = 0;
    int64_t i = w * 64;
    const int64_t end = rv_min_int(i + 64, n);
    for (; i + 8 <= end && step == 1; i += 8) word |= bits_of_bytes(mask + i) << (i % 64);
    for (; i < end; i++) word |= (uint64_t)(mask[i * step] != 0) << (i % 64);
    words[w] &= word;
  }
}

/* Lanes are queries: a word for each key, from the rows of a mask; key by key along the row, which compilers vectorise. */
static void allow_columns(uint64_t *words, const uint8_t *mask, int64_t row, int64_t col, int64_t n, int64_t keys) {
  if (row == 0) {
    for (int64_t j = 0; j < keys; j++) words[j] &= mask[j * col] ? ~(uint64_t)0 : 0;
    return;
  }
  uint64_t allowed[RV_KEY_TILE];
  memset(allowed, 0, sizeof allowed);
  for (int64_t i = 0; i < n; i++) {
    const uint8_t *line = mask + i * row;
    if (col == 1)
      for (int64_t j = 0; j < keys; j++) allowed[j] |= (uint64_t)(line[j] != 0) << i;
    else
      for (int64_t j = 0; j < keys; j++) allowed[j] |= (uint64_t)(line[j * col] != 0) << i;
  }
  for (int64_t j = 0; j < keys; j++) words[j] &= allowed[j];
}

/* 0, or NaN if any lane of the line, times scale, is not finite. */
RV_INLINE float line_defect(const float *line, int nv, float scale) {
  vf defect = v_zero();
  for (int v = 0; v < nv; v++) defect = v_fma(v_mul(v_load(line + v * VL), v_set(scale)), v_zero(), defect);
  return v_hsum(defect);
}

/* From a maximum in powers of two and the sum beside it; -inf where no key was seen. */
RV_INLINE float log_sum_exp(float top, float sum) {
  return sum > 0 ? (float)(RV_LN2 * (top + rv_log2(sum))) : -__builtin_inff();
}

#endif
