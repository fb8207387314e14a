/* Plain C: the set that every compiler has, and the one that a test can always force. */
#if defined(__wasm__)
#define RV_ISA_NAME "wasm-scalar"
#else
#define RV_ISA_NAME "scalar"
#endif
#define RV_ISA scalar
enum { VL = 1, RV_MR = 2, RV_NV = 4 };
typedef float vf;

RV_INLINE vf v_load(const float *p) { return *p; }
RV_INLINE void v_store(float *p, vf v) { *p = v; }
RV_INLINE vf v_load_n(const float *p, int64_t n) { return n > 0 ? *p : 0.0f; }
RV_INLINE void v_store_n(float *p, vf v, int64_t n) {
  if (n > 0) *p = v;
}
RV_INLINE vf v_zero(void) { return 0.0f; }
RV_INLINE vf v_set(float x) { return x; }
RV_INLINE vf v_add(vf a, vf b) { return a + b; }
RV_INLINE vf v_sub(vf a, vf b) { return a - b; }
RV_INLINE vf v_mul(vf a, vf b) { return a * b; }
RV_INLINE vf v_div(vf a, vf b) { return a / b; }
RV_INLINE vf v_max(vf a, vf b) { return a > b ? a : b; }
RV_INLINE vf v_min(vf a, vf b) { return a < b ? a : b; }
RV_INLINE vf v_fma(vf a, vf b, vf c) { return a * b + c; }
RV_INLINE vf v_sqrt(vf v) { return __builtin_sqrtf(v); }
RV_INLINE float v_hsum(vf v) { return v; }
RV_INLINE float v_hmax(vf v) { return v; }
RV_INLINE vf v_where_lt(vf a, vf b, vf x, vf y) { return a < b ? x : y; }
RV_INLINE int v_any_lt(vf a, vf b) { return a < b; }
RV_INLINE vf v_iota(void) { return 0.0f; }
RV_INLINE vf v_pow2(vf p, vf t) {
  uint32_t bits, n;
  memcpy(&bits, &p, sizeof bits);
  memcpy(&n, &t, sizeof n);
  bits += n << 23;
  memcpy(&p, &bits, sizeof p);
  return p;
}
RV_INLINE void v_hsum4(float *p, vf a, vf b, vf c, vf d) {
  p[0] = a;
  p[1] = b;
  p[2] = c;
  p[3] = d;
}
RV_INLINE void v_transpose4(const float *x, int64_t x_row, float *out, int64_t out_row) {
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) out[j * out_row + i] = x[i * x_row + j];
}
