#include <arm_neon.h>

#define RV_ISA neon
#define RV_ISA_NAME "neon"
enum { VL = 4, RV_MR = 8, RV_NV = 2 };
typedef float32x4_t vf;

RV_INLINE vf v_load(const float *p) { return vld1q_f32(p); }
RV_INLINE void v_store(float *p, vf v) { vst1q_f32(p, v); }
RV_INLINE vf v_zero(void) { return vdupq_n_f32(0); }
RV_INLINE vf v_set(float x) { return vdupq_n_f32(x); }
RV_INLINE vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
RV_INLINE vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
RV_INLINE vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
RV_INLINE vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
RV_INLINE vf v_max(vf a, vf b) { return vmaxq_f32(a, b); }
RV_INLINE vf v_min(vf a, vf b) { return vminq_f32(a, b); }
RV_INLINE vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
RV_INLINE vf v_sqrt(vf v) { return vsqrtq_f32(v); }
RV_INLINE float v_hsum(vf v) { return vaddvq_f32(v); }
RV_INLINE float v_hmax(vf v) { return vmaxvq_f32(v); }
RV_INLINE vf v_where_lt(vf a, vf b, vf x, vf y) { return vbslq_f32(vcltq_f32(a, b), x, y); }
RV_INLINE int v_any_lt(vf a, vf b) { return vmaxvq_u32(vcltq_f32(a, b)) != 0; }
RV_INLINE vf v_iota(void) {
  const float lanes[4] = {0, 1, 2, 3};
  return vld1q_f32(lanes);
}
RV_INLINE vf v_pow2(vf p, vf t) {
  const int32x4_t n = vshlq_n_s32(vreinterpretq_s32_f32(t), 23);
  return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p), n));
}
RV_INLINE void v_hsum4(float *p, vf a, vf b, vf c, vf d) {
  vst1q_f32(p, vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d)));
}

RV_INLINE void v_transpose4(const float *x, int64_t x_row, float *out, int64_t out_row) {
  const float32x4_t a = vld1q_f32(x), b = vld1q_f32(x + x_row), c = vld1q_f32(x + 2 * x_row),
                    d = vld1q_f32(x + 3 * x_row);
  const float32x4_t ab_low = vzip1q_f32(a, c), ab_high = vzip2q_f32(a, c);
  const float32x4_t cd_low = vzip1q_f32(b, d), cd_high = vzip2q_f32(b, d);
  vst1q_f32(out, vzip1q_f32(ab_low, cd_low));
  vst1q_f32(out + out_row, vzip2q_f32(ab_low, cd_low));
  vst1q_f32(out + 2 * out_row, vzip1q_f32(ab_high, cd_high));
  vst1q_f32(out + 3 * out_row, vzip2q_f32(ab_high, cd_high));
}

#include "tails.h"
