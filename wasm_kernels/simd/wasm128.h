/* 128-bit WebAssembly; with relaxed SIMD a multiply-add is one instruction where the machine has it. */
#include <wasm_simd128.h>

#if defined(RV_ISA_WASM_RELAXED)
#define RV_ISA wasm_relaxed
#define RV_ISA_NAME "wasm-relaxed-simd"
#else
#define RV_ISA wasm128
#define RV_ISA_NAME "wasm-simd128"
#endif
enum { VL = 4, RV_MR = 2, RV_NV = 4 };
typedef v128_t vf;

RV_INLINE vf v_load(const float *p) { return wasm_v128_load(p); }
RV_INLINE void v_store(float *p, vf v) { wasm_v128_store(p, v); }
RV_INLINE vf v_zero(void) { return wasm_f32x4_const_splat(0); }
RV_INLINE vf v_set(float x) { return wasm_f32x4_splat(x); }
RV_INLINE vf v_add(vf a, vf b) { return wasm_f32x4_add(a, b); }
RV_INLINE vf v_sub(vf a, vf b) { return wasm_f32x4_sub(a, b); }
RV_INLINE vf v_mul(vf a, vf b) { return wasm_f32x4_mul(a, b); }
RV_INLINE vf v_div(vf a, vf b) { return wasm_f32x4_div(a, b); }
/* pmax is a < b ? b : a, one machine instruction; max proper orders NaN and zeros and takes seven. */
RV_INLINE vf v_max(vf a, vf b) { return wasm_f32x4_pmax(a, b); }
RV_INLINE vf v_min(vf a, vf b) { return wasm_f32x4_pmin(a, b); }
#if defined(RV_ISA_WASM_RELAXED)
RV_INLINE vf v_fma(vf a, vf b, vf c) { return wasm_f32x4_relaxed_madd(a, b, c); }
#else
RV_INLINE vf v_fma(vf a, vf b, vf c) { return wasm_f32x4_add(wasm_f32x4_mul(a, b), c); }
#endif
RV_INLINE vf v_sqrt(vf v) { return wasm_f32x4_sqrt(v); }
RV_INLINE float v_hsum(vf v) {
  const vf h = wasm_f32x4_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 2, 3));
  return wasm_f32x4_extract_lane(h, 0) + wasm_f32x4_extract_lane(h, 1);
}
RV_INLINE float v_hmax(vf v) {
  vf h = v_max(v, wasm_i32x4_shuffle(v, v, 2, 3, 2, 3));
  h = v_max(h, wasm_i32x4_shuffle(h, h, 1, 1, 1, 1));
  return wasm_f32x4_extract_lane(h, 0);
}
RV_INLINE vf v_where_lt(vf a, vf b, vf x, vf y) { return wasm_v128_bitselect(x, y, wasm_f32x4_lt(a, b)); }
RV_INLINE int v_any_lt(vf a, vf b) { return wasm_v128_any_true(wasm_f32x4_lt(a, b)); }
RV_INLINE vf v_iota(void) { return wasm_f32x4_const(0, 1, 2, 3); }
RV_INLINE vf v_pow2(vf p, vf t) { return wasm_i32x4_add(p, wasm_i32x4_shl(t, 23)); }
RV_INLINE void v_hsum4(float *p, vf a, vf b, vf c, vf d) {
  const vf ab_low = wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), ab_high = wasm_i32x4_shuffle(a, b, 2, 6, 3, 7);
  const vf cd_low = wasm_i32x4_shuffle(c, d, 0, 4, 1, 5), cd_high = wasm_i32x4_shuffle(c, d, 2, 6, 3, 7);
  const vf ab = wasm_f32x4_add(ab_low, ab_high), cd = wasm_f32x4_add(cd_low, cd_high);
  const vf even = wasm_i32x4_shuffle(ab, cd, 0, 1, 4, 5), odd = wasm_i32x4_shuffle(ab, cd, 2, 3, 6, 7);
  wasm_v128_store(p, wasm_f32x4_add(even, odd));
}

RV_INLINE void v_transpose4(const float *x, int64_t x_row, float *out, int64_t out_row) {
  const vf a = v_load(x), b = v_load(x + x_row), c = v_load(x + 2 * x_row), d = v_load(x + 3 * x_row);
  const vf ac_low = wasm_i32x4_shuffle(a, c, 0, 4, 1, 5), ac_high = wasm_i32x4_shuffle(a, c, 2, 6, 3, 7);
  const vf bd_low = wasm_i32x4_shuffle(b, d, 0, 4, 1, 5), bd_high = wasm_i32x4_shuffle(b, d, 2, 6, 3, 7);
  v_store(out, wasm_i32x4_shuffle(ac_low, bd_low, 0, 4, 1, 5));
  v_store(out + out_row, wasm_i32x4_shuffle(ac_low, bd_low, 2, 6, 3, 7));
  v_store(out + 2 * out_row, wasm_i32x4_shuffle(ac_high, bd_high, 0, 4, 1, 5));
  v_store(out + 3 * out_row, wasm_i32x4_shuffle(ac_high, bd_high, 2, 6, 3, 7));
}

#include "tails.h"
