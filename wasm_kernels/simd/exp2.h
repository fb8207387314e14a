/* 2^x for x <= 128, below 2 ulp. x = n + f with |f| <= 1/2; 2^f is a minimax polynomial of degree 5 with constant term
 * 1 (relative error 9e-8).
 *   v_exp2(x)          0 below -126, so that exp2(-inf) = 0 exactly
 *   v_exp2_floored(x)  never below 2^-126: one instruction less, for finite x */
#ifndef RV_EXP2_H
#define RV_EXP2_H

RV_INLINE vf v_exp2_fraction(vf f) {
  vf p = v_fma(v_set(0x1.5bba14p-10f), f, v_set(0x1.3cea88p-7f));
  p = v_fma(p, f, v_set(0x1.c6b752p-5f));
  p = v_fma(p, f, v_set(0x1.ebf9bcp-3f));
  p = v_fma(p, f, v_set(0x1.62e42ap-1f));
  return v_fma(p, f, v_set(1.0f));
}

#if defined(RV_ISA_AVX512)
/* reduce gives f (0 for -inf), scalef multiplies by a power of two that may be 0 */
RV_INLINE vf v_exp2(vf x) {
  const vf p = v_exp2_fraction(_mm512_reduce_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  return _mm512_scalef_ps(p, _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
RV_INLINE vf v_exp2_floored(vf x) { return v_exp2(x); }
#else
/* Adding 1.5 * 2^23 leaves n in the low bits of the sum: no conversion instruction is needed. */
RV_INLINE vf v_exp2_any(vf x) {
  const vf magic = v_set(12582912.0f), t = v_add(x, magic);
  return v_pow2(v_exp2_fraction(v_sub(x, v_sub(t, magic))), t);
}
RV_INLINE vf v_exp2(vf x) { return v_where_lt(x, v_set(-126.0f), v_zero(), v_exp2_any(x)); }
RV_INLINE vf v_exp2_floored(vf x) { return v_exp2_any(v_max(v_set(-126.0f), x)); }
#endif

/* log2 of a positive finite number, in double: once per query, so scalar. */
RV_INLINE double rv_log2(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  int64_t exponent = (int64_t)(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffffULL) | 0x3ff0000000000000ULL;
  double m;
  memcpy(&m, &bits, sizeof m);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    exponent++;
  }
  const double s = (m - 1) / (m + 1), z = s * s;
  const double series =
      1 + z * (1.0 / 3 + z * (1.0 / 5 + z * (1.0 / 7 + z * (1.0 / 9 + z * (1.0 / 11 + z * (1.0 / 13 + z / 15))))));
  return (double)exponent + 2.8853900817779268 * s * series; /* 2 / ln 2 */
}

#endif
