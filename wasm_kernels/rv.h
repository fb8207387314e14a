/* The one calling convention, shared by every kernel and every host binding.
 *
 * A kernel is `int32_t rv_<name>(const rv_call *call)`: a pure function of buffers, 64-bit integers and
 * doubles, in the order that kernels.def lists them. It has no globals, allocates nothing and calls nothing
 * beyond memcpy; the host passes scratch memory and checks every buffer before the call. */
#ifndef RV_H
#define RV_H

#include <stddef.h>
#include <stdint.h>

enum { RV_MAX_BUFFERS = 32, RV_MAX_INTS = 64, RV_MAX_FLOATS = 8 };

typedef struct {
  void *data;     /* NULL for an optional buffer that was not given */
  int64_t count;  /* elements, not bytes */
} rv_buffer;

typedef struct {
  rv_buffer buffers[RV_MAX_BUFFERS];
  int64_t ints[RV_MAX_INTS];
  double floats[RV_MAX_FLOATS];
} rv_call;

enum rv_status {
  RV_OK = 0,
  RV_NON_FINITE = 1,   /* a NaN or Inf was met in the data; outputs are undefined */
  RV_BAD_ARGUMENT = 2, /* the integers contradict one another */
};

enum rv_dtype { RV_F32, RV_U8, RV_I32, RV_I64, RV_F64 };
enum rv_role { RV_ROLE_IN, RV_ROLE_IN_OPTIONAL, RV_ROLE_OUT, RV_ROLE_OUT_OPTIONAL, RV_ROLE_SCRATCH };

typedef int32_t (*rv_kernel)(const rv_call *call);

typedef struct {
  const char *name;
  uint8_t dtype, role;
} rv_buffer_spec;

typedef struct {
  const char *name;
  int32_t n_buffers, n_ints, n_floats;
  const rv_buffer_spec *buffers;
  const char *const *ints, *const *floats;
  /* The least element count of every buffer for these integers, in doubles so that nothing overflows. */
  void (*counts)(const int64_t *ints, double *counts);
} rv_kernel_spec;

extern const rv_kernel_spec rv_kernel_specs[];
extern const int32_t rv_kernel_count;

/* Instruction sets: `rv_targets` lists those compiled in, best first; a target may still be absent from the
 * machine. `rv_target_supported` asks the processor and the operating system. */
typedef struct {
  const char *name;
  const rv_kernel *kernels;
} rv_target;

extern const rv_target *const rv_targets[];
extern const int32_t rv_target_count;
int rv_target_supported(const rv_target *target);

#endif
