/* log(1 + z) for z >= 0, below 2 ulp, and asin(x) for 0 <= x <= 1.
 * u = 1 + z = 2^e m with m in [sqrt(1/2), sqrt 2); log m by its series in s = (m - 1) / (m + 1), as in fdlibm; what
 * rounding u lost is added as (z - (u - 1)) / u. */
#ifndef RV_LOG1P_H
#define RV_LOG1P_H

RV_INLINE vf v_log1p(vf z) {
  const vf one = v_set(1.0f), u = v_add(one, z), lost = v_div(v_sub(z, v_sub(u, one)), u);
  const vi shifted = vi_of_bits(u) - vi_set(0x3f3504f3); /* sqrt(1/2) */
  const vf e = vf_of_int(shifted >> 23);
  const vf m = vf_of_bits((shifted & vi_set(0x007fffff)) + vi_set(0x3f3504f3));
  const vf f = v_sub(m, one), s = v_div(f, v_add(v_set(2.0f), f)), s2 = v_mul(s, s);
  vf r = v_fma(s2, v_set(0.24279078841f), v_set(0.28498786688f));
  r = v_fma(s2, r, v_set(0.40000972152f));
  r = v_mul(s2, v_fma(s2, r, v_set(0.66666662693f)));
  const vf half = v_mul(v_set(0.5f), v_mul(f, f));
  /* log m = f - (f^2 / 2 - s (f^2 / 2 + r)), e ln 2 in two parts */
  const vf low = v_fma(e, v_set(9.0580006145e-06f), lost);
  const vf log_m = v_sub(f, v_sub(half, v_fma(s, v_add(half, r), low)));
  return v_fma(e, v_set(6.9313812256e-01f), log_m);
}

/* x + x^3 p(x^2) up to 1/2; beyond, pi / 2 - 2 asin(sqrt((1 - x) / 2)). */
RV_INLINE vf v_asin(vf x) {
  const vf half = v_set(0.5f), folded = v_sqrt(v_mul(half, v_max(v_sub(v_set(1.0f), x), v_zero())));
  const vf t = v_where_lt(half, x, folded, x), t2 = v_mul(t, t);
  vf p = v_fma(t2, v_set(4.2163199048e-2f), v_set(2.4181311049e-2f));
  p = v_fma(p, t2, v_set(4.5470025998e-2f));
  p = v_fma(p, t2, v_set(7.4953002686e-2f));
  p = v_fma(p, t2, v_set(1.6666752422e-1f));
  const vf a = v_fma(v_mul(t, t2), p, t);
  return v_where_lt(half, x, v_sub(v_set(1.57079632679f), v_add(a, a)), a);
}

#endif
