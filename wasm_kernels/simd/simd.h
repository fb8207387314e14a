/* The vector vocabulary: one set of words over every instruction set.
 *
 *   vf            VL floats                     v_load v_store v_zero v_set      memory and constants
 *   v_load_n      the first n lanes, 0 behind   v_add v_sub v_mul v_div v_max v_min
 *   v_store_n     the first n lanes             v_fma(a, b, c) = a*b + c, fused where the set has it
 *   v_hsum v_hmax over the lanes                v_where_lt(a, b, x, y) = a < b ? x : y, lane by lane
 *   v_hsum4(p, a, b, c, d)  four sums to p      v_pow2(p, t): p * 2^n, n in the low bits of t (see exp2.h)
 *   v_iota        0, 1, 2, ...                  v_any_lt(a, b): whether any lane has a < b
 *   v_sqrt                                      v_where_bits(b, x, y) = bit of b ? x : y, lane by lane
 *   v_turn(v, step): lane l is lane l + step of v, cyclically
 *   v_transpose4(x, x_row, out, out_row)        out[j, i] = x[i, j], 4 x 4
 *
 *   vi            VL unsigned integers: see integers.h
 *
 *   RV_MR x RV_NV: the register block, rows by vectors. */
#ifndef RV_SIMD_H
#define RV_SIMD_H

#include <string.h>

#define RV_INLINE static inline __attribute__((always_inline, unused))
#define RV_UNROLL _Pragma("GCC unroll 16")

#if defined(RV_ISA_AVX512)
#include "avx512.h"
#elif defined(RV_ISA_AVX2)
#include "avx2.h"
#elif defined(RV_ISA_SSE4)
#include "sse4.h"
#elif defined(RV_ISA_NEON)
#include "neon.h"
#elif defined(RV_ISA_WASM128) || defined(RV_ISA_WASM_RELAXED)
#include "wasm128.h"
#elif defined(RV_ISA_SCALAR)
#include "scalar.h"
#else
#error "no instruction set chosen: define RV_ISA_<set>"
#endif

#if !defined(RV_TURN)
RV_INLINE vf v_turn(vf v, int64_t step) {
  float lanes[2 * VL];
  v_store(lanes, v);
  v_store(lanes + VL, v);
  return v_load(lanes + step);
}
#endif

#include "integers.h"

#include "exp2.h"
#include "log1p.h"

#endif
