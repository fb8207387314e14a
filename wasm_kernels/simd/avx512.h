#include <immintrin.h>

#define RV_ISA avx512
#define RV_ISA_NAME "avx512"
enum { VL = 16, RV_MR = 8, RV_NV = 3 };
typedef __m512 vf;

RV_INLINE __mmask16 v_first(int64_t n) { return (__mmask16)((1u << n) - 1u); }
RV_INLINE vf v_load(const float *p) { return _mm512_loadu_ps(p); }
RV_INLINE void v_store(float *p, vf v) { _mm512_storeu_ps(p, v); }
RV_INLINE vf v_load_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(v_first(n), p); }
RV_INLINE void v_store_n(float *p, vf v, int64_t n) { _mm512_mask_storeu_ps(p, v_first(n), v); }
RV_INLINE vf v_zero(void) { return _mm512_setzero_ps(); }
RV_INLINE vf v_set(float x) { return _mm512_set1_ps(x); }
RV_INLINE vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
RV_INLINE vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
RV_INLINE vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
RV_INLINE vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
RV_INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
RV_INLINE vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
RV_INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
RV_INLINE vf v_sqrt(vf v) { return _mm512_sqrt_ps(v); }
RV_INLINE float v_hsum(vf v) { return _mm512_reduce_add_ps(v); }
RV_INLINE float v_hmax(vf v) { return _mm512_reduce_max_ps(v); }
RV_INLINE vf v_where_lt(vf a, vf b, vf x, vf y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
RV_INLINE int v_any_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ) != 0; }
RV_INLINE vf v_iota(void) { return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
#define RV_TURN
RV_INLINE vf v_turn(vf v, int64_t step) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_permutexvar_ps(_mm512_add_epi32(lanes, _mm512_set1_epi32((int)step)), v);
}
RV_INLINE vf v_pow2(vf p, vf t) {
  const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), n));
}
RV_INLINE __m256 v_halves(vf v) { return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)); }
RV_INLINE void v_hsum4(float *p, vf a, vf b, vf c, vf d) {
  const __m256 ab = _mm256_hadd_ps(v_halves(a), v_halves(b));
  const __m256 cd = _mm256_hadd_ps(v_halves(c), v_halves(d));
  const __m256 sums = _mm256_hadd_ps(ab, cd);
  _mm_storeu_ps(p, _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1)));
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
