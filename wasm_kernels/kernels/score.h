/* From dot products to scores: the epilogue of a tile, in units where weights are powers of two.
 *   score = scale * dot + bias, and -inf where the mask or the band forbids.
 * A tile is lines x lanes. With many queries a line is a key and a lane a query, with few queries the reverse, so
 * masks and biases come with a stride for each. The band of a line is the lanes lo + line .. hi + line: the causal
 * triangle in either orientation. */
#ifndef RV_SCORE_H
#define RV_SCORE_H

#define RV_LOG2E 1.4426950408889634
#define RV_LN2 0.6931471805599453
#define RV_LOWEST (-3.402823466e38f) /* the running maximum before any key: finite, so that differences are */

typedef struct {
  float scale; /* with log2(e) inside */
  const uint8_t *mask;
  int64_t mask_line, mask_lane;
  const float *bias;
  int64_t bias_line, bias_lane;
  int has_band;
  int64_t lo, hi;
} rv_scoring;

RV_INLINE vf mask_lanes(const uint8_t *mask, int64_t stride, int64_t n) {
  float lanes[VL];
  for (int64_t i = 0; i < VL; i++) lanes[i] = i < n && mask[i * stride] ? 0.0f : -__builtin_inff();
  return v_load(lanes);
}

RV_INLINE vf bias_lanes(const float *bias, int64_t stride, int64_t n) {
  if (stride == 1 && n >= VL) return v_load(bias);
  float lanes[VL];
  for (int64_t i = 0; i < VL; i++) lanes[i] = i < n ? bias[i * stride] : 0.0f;
  return v_load(lanes);
}

/* Scores of one line in place, n lanes of nv * VL; lanes behind n become -inf. */
RV_INLINE void score_line(const rv_scoring *with, float *line, int64_t index, int64_t n, int nv) {
  const vf forbidden = v_set(-__builtin_inff());
  for (int v = 0; v < nv; v++) {
    const int64_t lane = v * VL, left = n - lane;
    vf score = v_mul(v_load(line + lane), v_set(with->scale));
    if (with->bias) {
      const float *bias = with->bias + index * with->bias_line + lane * with->bias_lane;
      score = v_fma(bias_lanes(bias, with->bias_lane, left), v_set((float)RV_LOG2E), score);
    }
    if (with->mask) {
      const uint8_t *mask = with->mask + index * with->mask_line + lane * with->mask_lane;
      score = v_add(score, mask_lanes(mask, with->mask_lane, left));
    }
    const vf position = v_add(v_iota(), v_set((float)lane));
    if (with->has_band) {
      score = v_where_lt(position, v_set((float)(with->lo + index)), forbidden, score);
      score = v_where_lt(v_set((float)(with->hi + index)), position, forbidden, score);
    }
    if (left < VL) score = v_where_lt(position, v_set((float)n), score, forbidden);
    v_store(line + lane, score);
  }
}

/* 0, or NaN if any dot product of the line is not finite. */
RV_INLINE float line_defect(const float *line, int nv) {
  vf defect = v_zero();
  for (int v = 0; v < nv; v++) defect = v_fma(v_load(line + v * VL), v_zero(), defect);
  return v_hsum(defect);
}

/* From a maximum in powers of two and the sum beside it; -inf where no key was seen. */
RV_INLINE float log_sum_exp(float top, float sum) {
  return sum > 0 ? (float)(RV_LN2 * (top + rv_log2(sum))) : -__builtin_inff();
}

#endif
