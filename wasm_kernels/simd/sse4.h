#include <smmintrin.h>

#define RV_ISA sse4
#define RV_ISA_NAME "sse4"
enum { VL = 4, RV_MR = 4, RV_NV = 2 };
typedef __m128 vf;

RV_INLINE vf v_load(const float *p) { return _mm_loadu_ps(p); }
RV_INLINE void v_store(float *p, vf v) { _mm_storeu_ps(p, v); }
RV_INLINE vf v_zero(void) { return _mm_setzero_ps(); }
RV_INLINE vf v_set(float x) { return _mm_set1_ps(x); }
RV_INLINE vf v_add(vf a, vf b) { return _mm_add_ps(a, b); }
RV_INLINE vf v_sub(vf a, vf b) { return _mm_sub_ps(a, b); }
RV_INLINE vf v_mul(vf a, vf b) { return _mm_mul_ps(a, b); }
RV_INLINE vf v_div(vf a, vf b) { return _mm_div_ps(a, b); }
RV_INLINE vf v_max(vf a, vf b) { return _mm_max_ps(a, b); }
RV_INLINE vf v_min(vf a, vf b) { return _mm_min_ps(a, b); }
RV_INLINE vf v_fma(vf a, vf b, vf c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
RV_INLINE vf v_sqrt(vf v) { return _mm_sqrt_ps(v); }
RV_INLINE float v_hsum(vf v) {
  vf h = _mm_add_ps(v, _mm_movehl_ps(v, v));
  return _mm_cvtss_f32(_mm_add_ss(h, _mm_shuffle_ps(h, h, 1)));
}
RV_INLINE float v_hmax(vf v) {
  vf h = _mm_max_ps(v, _mm_movehl_ps(v, v));
  return _mm_cvtss_f32(_mm_max_ss(h, _mm_shuffle_ps(h, h, 1)));
}
RV_INLINE vf v_where_lt(vf a, vf b, vf x, vf y) { return _mm_blendv_ps(y, x, _mm_cmplt_ps(a, b)); }
RV_INLINE int v_any_lt(vf a, vf b) { return _mm_movemask_ps(_mm_cmplt_ps(a, b)) != 0; }
RV_INLINE vf v_iota(void) { return _mm_setr_ps(0, 1, 2, 3); }
RV_INLINE vf v_pow2(vf p, vf t) {
  const __m128i n = _mm_slli_epi32(_mm_castps_si128(t), 23);
  return _mm_castsi128_ps(_mm_add_epi32(_mm_castps_si128(p), n));
}
RV_INLINE void v_hsum4(float *p, vf a, vf b, vf c, vf d) {
  _mm_storeu_ps(p, _mm_hadd_ps(_mm_hadd_ps(a, b), _mm_hadd_ps(c, d)));
}

RV_INLINE void v_transpose4(const float *x, int64_t x_row, float *out, int64_t out_row) {
  __m128 a = _mm_loadu_ps(x), b = _mm_loadu_ps(x + x_row), c = _mm_loadu_ps(x + 2 * x_row);
  __m128 d = _mm_loadu_ps(x + 3 * x_row);
  _MM_TRANSPOSE4_PS(a, b, c, d);
  _mm_storeu_ps(out, a);
  _mm_storeu_ps(out + out_row, b);
  _mm_storeu_ps(out + 2 * out_row, c);
  _mm_storeu_ps(out + 3 * out_row, d);
}

#include "tails.h"
