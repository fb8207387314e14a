/* The kernel table as data (for the bindings), the compiled instruction sets, and whether this machine has them. */
#include "kernels.h"

static inline double rv_span4(double n1, double s1, double n2, double s2, double n3, double s3, double n4, double s4) {
  if (n1 == 0 || n2 == 0 || n3 == 0 || n4 == 0) return 0;
  return (n1 - 1) * s1 + (n2 - 1) * s2 + (n3 - 1) * s3 + (n4 - 1) * s4 + 1;
}

static inline double rv_span(double n1, double s1, double n2, double s2, double n3, double s3, double n4) {
  return rv_span4(n1, s1, n2, s2, n3, s3, n4, 1);
}

/* counts() of every kernel: its integers by name, then one expression for each buffer. */
#define RV_KERNEL(name) static void rv_counts_##name(const int64_t *integer, double *counts) {
#define RV_INT(name) const double name = (double)*integer++; (void)name;
#define RV_FLOAT(name)
#define RV_IN(dtype, name, count) *counts++ = (double)(count);
#define RV_IN_OPTIONAL RV_IN
#define RV_OUT RV_IN
#define RV_OUT_OPTIONAL RV_IN
#define RV_SCRATCH RV_IN
#define RV_END(name) }
#include "kernels.def"
#include "kernels_undef.h"

#define RV_KERNEL(name) static const rv_buffer_spec rv_buffers_##name[] = {
#define RV_INT(name)
#define RV_FLOAT(name)
#define RV_IN(dtype, name, count) {#name, RV_##dtype, RV_ROLE_IN},
#define RV_IN_OPTIONAL(dtype, name, count) {#name, RV_##dtype, RV_ROLE_IN_OPTIONAL},
#define RV_OUT(dtype, name, count) {#name, RV_##dtype, RV_ROLE_OUT},
#define RV_OUT_OPTIONAL(dtype, name, count) {#name, RV_##dtype, RV_ROLE_OUT_OPTIONAL},
#define RV_SCRATCH(dtype, name, count) {#name, RV_##dtype, RV_ROLE_SCRATCH},
#define RV_END(name) };
#include "kernels.def"
#include "kernels_undef.h"

/* The names of the integers and of the floats: two readings that differ in which macro speaks. */
#define RV_IN(dtype, name, count)
#define RV_IN_OPTIONAL RV_IN
#define RV_OUT RV_IN
#define RV_OUT_OPTIONAL RV_IN
#define RV_SCRATCH RV_IN
#define RV_END(name) NULL};
#define RV_KERNEL(name) static const char *const rv_ints_##name[] = {
#define RV_INT(name) #name,
#define RV_FLOAT(name)
#include "kernels.def"
#undef RV_KERNEL
#undef RV_INT
#undef RV_FLOAT
#define RV_KERNEL(name) static const char *const rv_floats_##name[] = {
#define RV_INT(name)
#define RV_FLOAT(name) #name,
#include "kernels.def"
#include "kernels_undef.h"

#define RV_LENGTH(array) ((int32_t)(sizeof(array) / sizeof((array)[0])))
#define RV_KERNEL(name)                                                                                              \
  {#name, RV_LENGTH(rv_buffers_##name), RV_LENGTH(rv_ints_##name) - 1, RV_LENGTH(rv_floats_##name) - 1,              \
   rv_buffers_##name, rv_ints_##name, rv_floats_##name, rv_counts_##name},
#define RV_INT(name)
#define RV_FLOAT(name)
#define RV_IN(dtype, name, count)
#define RV_IN_OPTIONAL RV_IN
#define RV_OUT RV_IN
#define RV_OUT_OPTIONAL RV_IN
#define RV_SCRATCH RV_IN
#define RV_END(name)
const rv_kernel_spec rv_kernel_specs[] = {
#include "kernels.def"
};
#include "kernels_undef.h"
const int32_t rv_kernel_count = RV_LENGTH(rv_kernel_specs);

/* Compiled targets, best first; the build defines RV_<SET> for those it links. */
#if defined(RV_AVX512)
extern const rv_target rv_target_avx512;
#endif
#if defined(RV_AVX2)
extern const rv_target rv_target_avx2;
#endif
#if defined(RV_SSE4)
extern const rv_target rv_target_sse4;
#endif
#if defined(RV_NEON)
extern const rv_target rv_target_neon;
#endif
#if defined(RV_WASM_RELAXED)
extern const rv_target rv_target_wasm_relaxed;
#endif
#if defined(RV_WASM128)
extern const rv_target rv_target_wasm128;
#endif
#if defined(RV_SCALAR)
extern const rv_target rv_target_scalar;
#endif

const rv_target *const rv_targets[] = {
#if defined(RV_AVX512)
    &rv_target_avx512,
#endif
#if defined(RV_AVX2)
    &rv_target_avx2,
#endif
#if defined(RV_SSE4)
    &rv_target_sse4,
#endif
#if defined(RV_NEON)
    &rv_target_neon,
#endif
#if defined(RV_WASM_RELAXED)
    &rv_target_wasm_relaxed,
#endif
#if defined(RV_WASM128)
    &rv_target_wasm128,
#endif
#if defined(RV_SCALAR)
    &rv_target_scalar,
#endif
};
const int32_t rv_target_count = RV_LENGTH(rv_targets);

/* cpuid says what the processor has, xgetbv what the operating system saves on a switch; both are needed, and
 * compilers' own tests are not reliable in cross builds. */
#if defined(__x86_64__)
#include <cpuid.h>

enum { CPU_SSE4 = 1, CPU_AVX2 = 2, CPU_AVX512 = 4 };

static __attribute__((unused)) uint64_t saved_state(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return ((uint64_t)high << 32) | low;
}

static __attribute__((unused)) int cpu_features(void) {
  unsigned a, b, c, d;
  int features = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  if (c & bit_SSE4_1) features |= CPU_SSE4;
  const int fma = (c & bit_FMA) != 0;
  if (!(c & bit_OSXSAVE) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return features;
  const uint64_t state = saved_state();
  const uint64_t ymm = 0x6, zmm = 0xe6;
  if (fma && (b & bit_AVX2) && (state & ymm) == ymm) features |= CPU_AVX2;
  const unsigned avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
  if ((features & CPU_AVX2) && (b & avx512) == avx512 && (state & zmm) == zmm) features |= CPU_AVX512;
  return features;
}
#endif

int rv_target_supported(const rv_target *target) {
#if defined(RV_AVX512)
  if (target == &rv_target_avx512) return (cpu_features() & CPU_AVX512) != 0;
#endif
#if defined(RV_AVX2)
  if (target == &rv_target_avx2) return (cpu_features() & CPU_AVX2) != 0;
#endif
#if defined(RV_SSE4)
  if (target == &rv_target_sse4) return (cpu_features() & CPU_SSE4) != 0;
#endif
  (void)target;
  return 1;
}
