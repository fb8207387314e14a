/* 2^x for x <= 128, below 2 ulp; 0 below -126, so that exp2(-inf) = 0 exactly.
 * x = n + f with |f| <= 1/2; 2^f is a minimax polynomial of degree 5 with constant term 1 (relative error 9e-8).
 * Adding 1.5 * 2^23 leaves n in the low bits of the sum: no conversion instruction is needed. */
#ifndef RV_EXP2_H
#define RV_EXP2_H

RV_INLINE vf v_exp2(vf x) {
  const vf magic = v_set(12582912.0f), lowest = v_set(-126.0f);
  const vf t = v_add(x, magic);
  const vf f = v_sub(x, v_sub(t, magic));
  vf p = v_fma(v_set(0x1.5bba14p-10f), f, v_set(0x1.3cea88p-7f));
  p = v_fma(p, f, v_set(0x1.c6b752p-5f));
  p = v_fma(p, f, v_set(0x1.ebf9bcp-3f));
  p = v_fma(p, f, v_set(0x1.62e42ap-1f));
  p = v_fma(p, f, v_set(1.0f));
  return v_where_lt(x, lowest, v_zero(), v_pow2(p, t));
}

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
