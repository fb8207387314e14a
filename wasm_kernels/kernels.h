/* What kernels.def means to a kernel: one argument struct each, filled from an rv_call. Sizes shared with the
 * buffer checks live here too. */
#ifndef RV_KERNELS_H
#define RV_KERNELS_H

#include "rv.h"

#define RV_GRADIENTS 1 /* every kernel has its struct, whether a table lists it or not */
#define RV_ROW_KERNELS 1 /* likewise */

/* Tile sizes. Every instruction set's tile fits these bounds. */
#define RV_QUERY_BLOCK 192 /* queries of one task: a multiple of every tile of queries */
#define RV_MAX_QUERIES 64  /* bound on a tile of queries */
#define RV_KEY_TILE 128    /* keys of a tile */
#define RV_SELECT_ROWS 16  /* queries whose scores are held at once to select the highest */
#define RV_GEMM_K 256      /* depth of a packed panel */
#define RV_MAX_PANEL 64    /* bound on its width */
#define RV_MAX_LANES 16    /* floats of the widest vector */

/* queries transposed, scores and another tile, outputs transposed, and per query a maximum, a sum and a correction */
#define RV_ATTENTION_SCRATCH(dim, dim_value) (RV_MAX_QUERIES * ((dim) + (dim_value) + 2.0 * RV_KEY_TILE + 8.0) + 64.0)
/* the same for gradients, rows padded to whole vectors, once more for every segment, and gradients of all keys and values */
#define RV_BACKWARD_SCRATCH(n_key, dim, dim_value, n_segments)                                           \
  (RV_MAX_QUERIES * (3.0 * (dim) + 2.0 * (dim_value) + 4.0 * RV_KEY_TILE + 48.0) +                        \
   (n_segments) * RV_MAX_QUERIES * ((dim) + 16.0) + (n_key) * ((dim) + (dim_value) + 32.0) + 64.0)
/* two tables, the map, two blocks of features, four of values, a triangle, lines of features padded to whole vectors */
#define RV_PREFIX_SCRATCH(dim, features, dim_value)                                                      \
  ((2.0 * (dim_value) + (dim) + 2.0 * RV_MAX_QUERIES + 8.0) * ((features) + RV_MAX_LANES) +              \
   RV_MAX_QUERIES * (4.0 * (dim_value) + (dim) + RV_MAX_QUERIES + 8.0))
/* a block of slopes and the peaks of every segment more */
#define RV_PREFIX_BACKWARD_SCRATCH(dim, features, dim_value, n_query)                                    \
  (RV_PREFIX_SCRATCH(dim, features, dim_value) +                                                         \
   (RV_MAX_QUERIES + (n_query) + 2.0) * ((features) + RV_MAX_LANES + 1.0))
#define RV_GEMM_SCRATCH (RV_GEMM_K * RV_MAX_PANEL + RV_MAX_PANEL * 16)

typedef float rv_F32;
typedef uint8_t rv_U8;
typedef int32_t rv_I32;
typedef int64_t rv_I64;
typedef double rv_F64;

#define RV_KERNEL(name) typedef struct {
#define RV_INT(name) int64_t name;
#define RV_FLOAT(name) double name;
#define RV_IN(dtype, name, count) const rv_##dtype *name;
#define RV_IN_OPTIONAL RV_IN
#define RV_OUT(dtype, name, count) rv_##dtype *name;
#define RV_OUT_OPTIONAL RV_OUT
#define RV_SCRATCH RV_OUT
#define RV_END(name) } rv_##name##_args;
#include "kernels.def"
#include "kernels_undef.h"

#define RV_KERNEL(name)                                                          \
  static inline rv_##name##_args rv_##name##_unpack(const rv_call *call) {       \
    rv_##name##_args args;                                                       \
    const rv_buffer *buffer = call->buffers;                                     \
    const int64_t *integer = call->ints;                                         \
    const double *real = call->floats;                                           \
    (void)real;
#define RV_INT(name) args.name = *integer++;
#define RV_FLOAT(name) args.name = *real++;
#define RV_IN(dtype, name, count) args.name = (const rv_##dtype *)(buffer++)->data;
#define RV_IN_OPTIONAL RV_IN
#define RV_OUT(dtype, name, count) args.name = (rv_##dtype *)(buffer++)->data;
#define RV_OUT_OPTIONAL RV_OUT
#define RV_SCRATCH RV_OUT
#define RV_END(name)                                                             \
    return args;                                                                 \
  }
#include "kernels.def"
#include "kernels_undef.h"

#if defined(RV_FORWARD_ONLY)
#undef RV_GRADIENTS
#define RV_GRADIENTS 0
#endif
#if defined(RV_WITHOUT_ROW_KERNELS)
#undef RV_ROW_KERNELS
#define RV_ROW_KERNELS 0
#endif

#endif
