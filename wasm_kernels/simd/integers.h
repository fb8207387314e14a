/* Unsigned 32-bit lanes beside the floats. They are the compilers' own vectors, so + - * & | ^ << >> work on them.
 *   vi_set  vi_iota  vi_load     vi_of_bits, vf_of_bits: the same bits     vf_of_int: the same number, below 2^31 */
#ifndef RV_INTEGERS_H
#define RV_INTEGERS_H

#if defined(RV_ISA_SCALAR)
typedef uint32_t vi;
RV_INLINE vi vi_set(uint32_t x) { return x; }
RV_INLINE vi vi_iota(void) { return 0; }
RV_INLINE vi vi_of_bits(vf v) {
  vi bits;
  memcpy(&bits, &v, sizeof bits);
  return bits;
}
RV_INLINE vf vf_of_bits(vi bits) {
  vf v;
  memcpy(&v, &bits, sizeof v);
  return v;
}
RV_INLINE vf vf_of_int(vi x) { return (float)(int32_t)x; }
RV_INLINE vf v_where_bits(uint32_t bits, vf x, vf y) { return bits & 1 ? x : y; }
#else
typedef uint32_t vi __attribute__((vector_size(4 * VL)));
typedef int32_t rv_signed_lanes __attribute__((vector_size(4 * VL)));
typedef float rv_float_lanes __attribute__((vector_size(4 * VL)));
RV_INLINE vi vi_set(uint32_t x) { return x - (vi){0}; }
RV_INLINE vi vi_iota(void) {
  uint32_t lanes[VL];
  for (uint32_t i = 0; i < VL; i++) lanes[i] = i;
  vi v;
  memcpy(&v, lanes, sizeof v);
  return v;
}
RV_INLINE vi vi_of_bits(vf v) { return (vi)v; }
RV_INLINE vf vf_of_bits(vi bits) { return (vf)bits; }
RV_INLINE vf vf_of_int(vi x) { return (vf) __builtin_convertvector((rv_signed_lanes)x, rv_float_lanes); }
#if defined(RV_ISA_AVX512)
RV_INLINE vf v_where_bits(uint32_t bits, vf x, vf y) { return _mm512_mask_blend_ps((__mmask16)bits, y, x); }
#else
RV_INLINE vf v_where_bits(uint32_t bits, vf x, vf y) {
  uint32_t lanes[VL];
  for (uint32_t i = 0; i < VL; i++) lanes[i] = 1u << i;
  vi powers;
  memcpy(&powers, lanes, sizeof powers);
  const vi chosen = (vi)((vi_set(bits) & powers) == powers);
  return vf_of_bits((vi_of_bits(x) & chosen) | (vi_of_bits(y) & ~chosen));
}
#endif
#endif

RV_INLINE vi vi_load(const uint32_t *p) {
  vi v;
  memcpy(&v, p, sizeof v);
  return v;
}

#endif
