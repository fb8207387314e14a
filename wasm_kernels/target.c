/* All kernels for one instruction set: compiled once per set, with its flags and RV_ISA_<set>. */
#include "kernels.h"
#include "simd/simd.h"

#include "kernels/attention.c"
#include "kernels/attention_backward.c"
#include "kernels/attention_sparse.c"
#include "kernels/edge_attention.c"
#include "kernels/gemm.c"
#include "kernels/measure.c"
#include "kernels/rows.c"
#include "kernels/ball.c"
#include "kernels/prefix.c"
#include "kernels/prefix_backward.c"
#if RV_ROW_KERNELS
#include "kernels/attention_best.c"
#include "kernels/points.c"
/* The rest of these is little work beside the attention that follows; for speed it would weigh three times as much. */
#if defined(__GNUC__) && !defined(__clang__) /* whose code grows when it is asked for this */
#pragma GCC push_options
#pragma GCC optimize("Os")
#endif
#include "kernels/dual.c"
#include "kernels/edge_weights.c"
#include "kernels/features.c"
#include "kernels/midpoints.c"
#include "kernels/positions.c"
#include "kernels/routes.c"
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
#endif

/* Each kernel is a static function of its argument struct; here it meets the calling convention. */
#define RV_KERNEL(name)                                          \
  static int32_t rv_call_##name(const rv_call *call) {           \
    const rv_##name##_args args = rv_##name##_unpack(call);      \
    return rv_##name(&args);                                     \
  }
#define RV_INT(name)
#define RV_FLOAT(name)
#define RV_IN(dtype, name, count)
#define RV_IN_OPTIONAL RV_IN
#define RV_OUT RV_IN
#define RV_OUT_OPTIONAL RV_IN
#define RV_SCRATCH RV_IN
#define RV_END(name)
#include "kernels.def"
#undef RV_KERNEL
#define RV_KERNEL(name) rv_call_##name,

static const rv_kernel kernels[] = {
#include "kernels.def"
};
#include "kernels_undef.h"

#define RV_TARGET_VARIABLE_(isa) rv_target_##isa
#define RV_TARGET_VARIABLE(isa) RV_TARGET_VARIABLE_(isa)
extern const rv_target RV_TARGET_VARIABLE(RV_ISA);
const rv_target RV_TARGET_VARIABLE(RV_ISA) = {RV_ISA_NAME, kernels};
