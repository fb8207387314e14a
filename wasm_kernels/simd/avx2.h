#include <immintrin.h>

#define RV_ISA avx2
#define RV_ISA_NAME "avx2"
enum { VL = 8, RV_MR = 6, RV_NV = 2 };
typedef __m256 vf;

RV_INLINE __m256i v_first(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
RV_INLINE vf v_load(const float *p) { return _mm256_loadu_ps(p); }
RV_INLINE void v_store(float *p, vf v) { _mm256_storeu_ps(p, v); }
RV_INLINE vf v_load_n(const float *p, int64_t n) { return _mm256_maskload_ps(p, v_first(n)); }
RV_INLINE void v_store_n(float *p, vf v, int64_t n) { _mm256_maskstore_ps(p, v_first(n), v); }
RV_INLINE vf v_zero(void) { return _mm256_setzero_ps(); }
RV_INLINE vf v_set(float x) { return _mm256_set1_ps(x); }
RV_INLINE vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
RV_INLINE vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
RV_INLINE vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
RV_INLINE vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
RV_INLINE vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
RV_INLINE vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
RV_INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
RV_INLINE __m128 v_halves(vf v) { return _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)); }
RV_INLINE vf v_sqrt(vf v) { return _mm256_sqrt_ps(v); }
RV_INLINE float v_hsum(vf v) {
  __m128 h = v_halves(v);
  h = _mm_hadd_ps(h, h);
  return _mm_cvtss_f32(_mm_hadd_ps(h, h));
}
RV_INLINE float v_hmax(vf v) {
  __m128 h = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  h = _mm_max_ps(h, _mm_movehl_ps(h, h));
  return _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
}
RV_INLINE vf v_where_lt(vf a, vf b, vf x, vf y) { return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
RV_INLINE int v_any_lt(vf a, vf b) { return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ)) != 0; }
RV_INLINE vf v_iota(void) { return _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7); }
#define RV_TURN
RV_INLINE vf v_turn(vf v, int64_t step) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_permutevar8x32_ps(v, _mm256_add_epi32(lanes, _mm256_set1_epi32((int)step)));
}
RV_INLINE vf v_pow2(vf p, vf t) {
  const __m256i n = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), n));
}
RV_INLINE void v_hsum4(float *p, vf a, vf b, vf c, vf d) {
  const __m256 sums = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  _mm_storeu_ps(p, v_halves(sums));
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
