/* The Node-API binding, generic: the kernels of kernels.def by their index, none named here.
 *
 *   kernels()      [{name, buffers: [{name, dtype, role}], integers: [name], floats: [name]}]
 *   targets()      the instruction sets that this machine can run, best first
 *   open(target)   {call, callAsync} over the kernels of one of them
 *   call(kernel, block, ...buffers)   the kernel's status
 *   callAsync([[kernel, block, ...buffers], ...])
 *                  makes the calls one after the other on a thread of libuv's, up to the first status that is not 0,
 *                  and gives a promise of that
 *
 * buffers: a typed array each, anything else for none, scratch memory left out. block: a BigInt64Array; of each buffer
 * the element at which it begins and how many there are, then the integers, then the bits of the floats.
 * Every buffer is checked for dtype, length, detachment and overlap before C runs. An asynchronous call keeps its arrays
 * alive, but nobody can keep them from being detached: the caller gives it arrays that no one else can transfer. */
#define NAPI_VERSION 8
#include <node_api.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rv.h"

enum { ALIGNMENT = 64, KEPT_SCRATCH = 4 << 20, MOST_ARGUMENTS = 2 + RV_MAX_BUFFERS };

/* One for each thread of JavaScript. */
typedef struct {
  void *scratch; /* for synchronous calls, kept for the next */
  size_t scratch_bytes;
} instance;

static void *aligned(void *base) { return (void *)(((uintptr_t)base + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1)); }

/* ---- errors ---- */

enum fault { TYPE_FAULT, RANGE_FAULT, MEMORY_FAULT };

static int refuse(napi_env env, enum fault kind, const char *format, ...) {
  char message[256];
  va_list list;
  va_start(list, format);
  vsnprintf(message, sizeof message, format, list);
  va_end(list);
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (pending) return -1;
  if (kind == TYPE_FAULT)
    napi_throw_type_error(env, "RV_TYPE", message);
  else
    napi_throw_range_error(env, kind == RANGE_FAULT ? "RV_RANGE" : "RV_NO_MEMORY", message);
  return -1;
}

/* ---- checks ---- */

static const char *const dtype_names[] = {"Float32Array", "Uint8Array", "Int32Array", "BigInt64Array", "Float64Array"};
static const napi_typedarray_type dtype_types[] = {napi_float32_array, napi_uint8_array, napi_int32_array,
                                                   napi_bigint64_array, napi_float64_array};
static const size_t dtype_sizes[] = {4, 1, 4, 8, 8};

static int is_output(int role) { return role == RV_ROLE_OUT || role == RV_ROLE_OUT_OPTIONAL; }
static int is_optional(int role) { return role == RV_ROLE_IN_OPTIONAL || role == RV_ROLE_OUT_OPTIONAL; }

static int buffers_of(const rv_kernel_spec *kernel) {
  return kernel->n_buffers - (kernel->buffers[kernel->n_buffers - 1].role == RV_ROLE_SCRATCH);
}

/* A kernel's arguments, checked. */
typedef struct {
  int32_t index;
  size_t scratch_bytes;
  rv_call call;
  const void *arrays[RV_MAX_BUFFERS]; /* where the typed arrays' own memory begins */
} prepared;

static int is_detached(napi_env env, napi_value array) {
  napi_value buffer;
  bool detached = false;
  if (napi_get_typedarray_info(env, array, NULL, NULL, NULL, &buffer, NULL) != napi_ok) return 0;
  napi_is_detached_arraybuffer(env, buffer, &detached);
  return detached;
}

static int take_buffer(napi_env env, const rv_kernel_spec *kernel, int index, napi_value value, double least,
                       const int64_t *span, prepared *to) {
  const rv_buffer_spec *spec = &kernel->buffers[index];
  rv_buffer *buffer = &to->call.buffers[index];
  *buffer = (rv_buffer){NULL, 0};
  to->arrays[index] = NULL;
  napi_typedarray_type type;
  size_t length;
  void *data;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, NULL, NULL) != napi_ok) {
    if (is_optional(spec->role)) return 0;
    return refuse(env, TYPE_FAULT, "%s: %s is missing; expected a %s", kernel->name, spec->name,
                  dtype_names[spec->dtype]);
  }
  if (type != dtype_types[spec->dtype])
    return refuse(env, TYPE_FAULT, "%s: %s is a typed array of another type; expected a %s", kernel->name, spec->name,
                  dtype_names[spec->dtype]);
  const int64_t begin = span[0], count = span[1];
  if (begin < 0 || count < 0 || (uint64_t)begin > length || (uint64_t)count > length - (uint64_t)begin)
    return refuse(env, RANGE_FAULT, "%s: %s holds %zu elements%s; expected at least %lld from %lld on", kernel->name,
                  spec->name, length, !length && is_detached(env, value) ? " (it is detached)" : "", (long long)count,
                  (long long)begin);
  if (!((double)count >= least))
    return refuse(env, RANGE_FAULT, "%s: %s has %lld elements; expected at least %.0f", kernel->name, spec->name,
                  (long long)count, least);
  const size_t size = dtype_sizes[spec->dtype];
  to->arrays[index] = data;
  *buffer = (rv_buffer){(char *)data + (size_t)begin * size, count};
  if ((uintptr_t)data & (size - 1))
    return refuse(env, RANGE_FAULT, "%s: %s is not aligned to its elements", kernel->name, spec->name);
  return 0;
}

static int overlap(napi_env env, const rv_kernel_spec *kernel, const rv_buffer *buffers, int count) {
  for (int i = 0; i < count; i++) {
    if (!is_output(kernel->buffers[i].role) || !buffers[i].count) continue;
    const char *begin = buffers[i].data,
               *end = begin + (size_t)buffers[i].count * dtype_sizes[kernel->buffers[i].dtype];
    for (int j = 0; j < count; j++) {
      const char *other = buffers[j].data;
      if (j == i || !buffers[j].count || other >= end) continue;
      if (other + (size_t)buffers[j].count * dtype_sizes[kernel->buffers[j].dtype] <= begin) continue;
      return refuse(env, RANGE_FAULT, "%s: output %s overlaps %s", kernel->name, kernel->buffers[i].name,
                    kernel->buffers[j].name);
    }
  }
  return 0;
}

/* A kernel's index, its block and its buffers; arrays that it uses are appended to `kept`, where there is one. */
static int prepare(napi_env env, const napi_value *arguments, prepared *to, napi_value kept, uint32_t *n_kept) {
  if (napi_get_value_int32(env, arguments[0], &to->index) != napi_ok || to->index < 0 || to->index >= rv_kernel_count)
    return refuse(env, RANGE_FAULT, "there is no such kernel; expected an index from 0 to %d", rv_kernel_count - 1);
  const rv_kernel_spec *kernel = &rv_kernel_specs[to->index];
  const int n_buffers = buffers_of(kernel), n_ints = kernel->n_ints, n_floats = kernel->n_floats;
  const size_t wanted = (size_t)(2 * n_buffers + n_ints + n_floats);
  napi_typedarray_type type;
  size_t length;
  void *block;
  if (napi_get_typedarray_info(env, arguments[1], &type, &length, &block, NULL, NULL) != napi_ok ||
      type != napi_bigint64_array || length != wanted)
    return refuse(env, TYPE_FAULT, "%s: its block is no BigInt64Array of %zu elements", kernel->name, wanted);
  const int64_t *spans = block, *ints = spans + 2 * n_buffers;
  for (int i = 0; i < n_ints; i++) {
    to->call.ints[i] = ints[i];
    if (ints[i] < 0)
      return refuse(env, RANGE_FAULT, "%s: %s is %lld; expected at least 0", kernel->name, kernel->ints[i],
                    (long long)ints[i]);
  }
  memcpy(to->call.floats, ints + n_ints, sizeof(double) * (size_t)n_floats);
  double least[RV_MAX_BUFFERS];
  kernel->counts(to->call.ints, least);
  for (int i = 0; i < n_buffers; i++) {
    if (take_buffer(env, kernel, i, arguments[2 + i], least[i], spans + 2 * i, to) < 0) return -1;
    if (kept && to->arrays[i] && napi_set_element(env, kept, (*n_kept)++, arguments[2 + i]) != napi_ok) return -1;
  }
  to->scratch_bytes = 0;
  if (n_buffers < kernel->n_buffers) {
    const double bytes = least[n_buffers] * (double)dtype_sizes[kernel->buffers[n_buffers].dtype];
    if (!(bytes < (double)(SIZE_MAX / 4)))
      return refuse(env, MEMORY_FAULT, "%s: there is no memory for %.0f bytes of scratch", kernel->name, bytes);
    to->scratch_bytes = (size_t)bytes;
    to->call.buffers[n_buffers].count = (int64_t)least[n_buffers];
  }
  return overlap(env, kernel, to->call.buffers, n_buffers);
}

static int32_t run(const rv_target *target, prepared *what, void *scratch) {
  const rv_kernel_spec *kernel = &rv_kernel_specs[what->index];
  if (what->scratch_bytes) what->call.buffers[kernel->n_buffers - 1].data = aligned(scratch);
  return target->kernels[what->index](&what->call);
}

/* ---- the synchronous call ---- */

static void *lend_scratch(instance *own, size_t bytes) {
  if (bytes <= own->scratch_bytes) return own->scratch;
  free(own->scratch);
  own->scratch = malloc(bytes + ALIGNMENT);
  own->scratch_bytes = own->scratch ? bytes : 0;
  return own->scratch;
}

static void trim_scratch(instance *own) {
  if (own->scratch_bytes <= KEPT_SCRATCH) return;
  free(own->scratch);
  *own = (instance){NULL, 0};
}

static napi_value call(napi_env env, napi_callback_info info) {
  napi_value arguments[MOST_ARGUMENTS], result = NULL;
  size_t count = MOST_ARGUMENTS; /* those that are missing come as undefined */
  void *target;
  instance *own;
  prepared what;
  napi_get_cb_info(env, info, &count, arguments, NULL, &target);
  if (prepare(env, arguments, &what, NULL, NULL) < 0) return NULL;
  void *scratch = NULL;
  if (what.scratch_bytes &&
      (napi_get_instance_data(env, (void **)&own) != napi_ok || !(scratch = lend_scratch(own, what.scratch_bytes)))) {
    refuse(env, MEMORY_FAULT, "%s: there is no memory for scratch", rv_kernel_specs[what.index].name);
    return NULL;
  }
  const int32_t status = run(target, &what, scratch);
  if (what.scratch_bytes) trim_scratch(own);
  napi_create_int32(env, status, &result);
  return result;
}

/* ---- the asynchronous call ---- */

typedef struct {
  napi_async_work work;
  napi_deferred deferred;
  napi_ref kept; /* the typed arrays, in an array of JavaScript's */
  const rv_target *target;
  int32_t status;
  int out_of_memory;
  uint32_t n_calls;
  prepared calls[];
} job;

static void execute(napi_env env, void *data) {
  job *work = data;
  (void)env;
  size_t bytes = 0;
  for (uint32_t i = 0; i < work->n_calls; i++)
    if (work->calls[i].scratch_bytes > bytes) bytes = work->calls[i].scratch_bytes;
  void *scratch = bytes ? malloc(bytes + ALIGNMENT) : NULL;
  work->out_of_memory = bytes && !scratch;
  for (uint32_t i = 0; i < work->n_calls && !work->status && !work->out_of_memory; i++)
    work->status = run(work->target, &work->calls[i], scratch);
  free(scratch);
}

/* Whether every array is where it was: what was detached meanwhile may have been overwritten. */
static int unmoved(napi_env env, const job *work) {
  napi_value kept, value;
  uint32_t position = 0;
  if (napi_get_reference_value(env, work->kept, &kept) != napi_ok || !kept) return 0;
  for (uint32_t i = 0; i < work->n_calls; i++) {
    const prepared *one = &work->calls[i];
    for (int b = 0; b < buffers_of(&rv_kernel_specs[one->index]); b++) {
      void *data;
      if (!one->arrays[b]) continue;
      if (napi_get_element(env, kept, position++, &value) != napi_ok) return 0;
      if (napi_get_typedarray_info(env, value, NULL, NULL, &data, NULL, NULL) != napi_ok) return 0;
      if (data != one->arrays[b]) return 0;
    }
  }
  return 1;
}

static void complete(napi_env env, napi_status status, void *data) {
  job *work = data;
  napi_value result = NULL, code, message;
  const char *problem = NULL, *name = "RV_RANGE";
  if (status != napi_ok)
    problem = "the call was cancelled";
  else if (work->out_of_memory)
    problem = "there is no memory for scratch", name = "RV_NO_MEMORY";
  else if (!unmoved(env, work))
    problem = "an array was detached while a kernel used it";
  if (!problem) {
    napi_create_int32(env, work->status, &result);
    napi_resolve_deferred(env, work->deferred, result);
  } else if (napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &code) == napi_ok &&
             napi_create_string_utf8(env, problem, NAPI_AUTO_LENGTH, &message) == napi_ok &&
             napi_create_range_error(env, code, message, &result) == napi_ok) {
    napi_reject_deferred(env, work->deferred, result);
  }
  napi_delete_reference(env, work->kept);
  napi_delete_async_work(env, work->work);
  free(work);
}

static int prepare_all(napi_env env, napi_value list, job *work, napi_value kept) {
  uint32_t n_kept = 0;
  for (uint32_t i = 0; i < work->n_calls; i++) {
    napi_handle_scope scope;
    napi_value one, arguments[MOST_ARGUMENTS];
    if (napi_open_handle_scope(env, &scope) != napi_ok) return -1;
    int failed = napi_get_element(env, list, i, &one) != napi_ok;
    for (uint32_t a = 0; a < MOST_ARGUMENTS && !failed; a++)
      failed = napi_get_element(env, one, a, &arguments[a]) != napi_ok;
    if (failed) refuse(env, TYPE_FAULT, "call %u is no array of arguments", i);
    failed = failed || prepare(env, arguments, &work->calls[i], kept, &n_kept) < 0;
    napi_close_handle_scope(env, scope);
    if (failed) return -1;
  }
  return 0;
}

static napi_value call_async(napi_env env, napi_callback_info info) {
  napi_value list, kept, name, promise = NULL;
  size_t count = 1;
  uint32_t n_calls = 0;
  void *target;
  napi_get_cb_info(env, info, &count, &list, NULL, &target);
  if (napi_get_array_length(env, list, &n_calls) != napi_ok) {
    refuse(env, TYPE_FAULT, "callAsync takes an array of calls");
    return NULL;
  }
  job *work = calloc(1, sizeof *work + n_calls * sizeof(prepared));
  if (!work) {
    refuse(env, MEMORY_FAULT, "there is no memory for %u calls", n_calls);
    return NULL;
  }
  work->target = target;
  work->n_calls = n_calls;
  if (napi_create_array(env, &kept) != napi_ok || prepare_all(env, list, work, kept) < 0 ||
      napi_create_string_utf8(env, "ruvector-attention", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_async_work(env, NULL, name, execute, complete, work, &work->work) != napi_ok) {
    free(work);
    return NULL;
  }
  if (napi_create_reference(env, kept, 1, &work->kept) != napi_ok || !unmoved(env, work) ||
      napi_create_promise(env, &work->deferred, &promise) != napi_ok ||
      napi_queue_async_work(env, work->work) != napi_ok) {
    if (work->kept) napi_delete_reference(env, work->kept);
    napi_delete_async_work(env, work->work);
    free(work);
    refuse(env, MEMORY_FAULT, "the call cannot be queued");
    return NULL;
  }
  return promise;
}

/* ---- the module ---- */

static napi_value text(napi_env env, const char *from) {
  napi_value value = NULL;
  napi_create_string_utf8(env, from, NAPI_AUTO_LENGTH, &value);
  return value;
}

static napi_value texts(napi_env env, const char *const *from, int count) {
  napi_value list = NULL;
  napi_create_array(env, &list);
  for (int i = 0; i < count; i++) napi_set_element(env, list, (uint32_t)i, text(env, from[i]));
  return list;
}

static napi_value kernels(napi_env env, napi_callback_info info) {
  static const char *const roles[] = {"in", "in?", "out", "out?", "scratch"};
  napi_value table = NULL;
  (void)info;
  napi_create_array(env, &table);
  for (int k = 0; k < rv_kernel_count; k++) {
    const rv_kernel_spec *kernel = &rv_kernel_specs[k];
    napi_value entry, buffers;
    napi_create_object(env, &entry);
    napi_create_array(env, &buffers);
    for (int i = 0; i < kernel->n_buffers; i++) {
      const rv_buffer_spec *spec = &kernel->buffers[i];
      napi_value buffer;
      napi_create_object(env, &buffer);
      napi_set_named_property(env, buffer, "name", text(env, spec->name));
      napi_set_named_property(env, buffer, "dtype", text(env, dtype_names[spec->dtype]));
      napi_set_named_property(env, buffer, "role", text(env, roles[spec->role]));
      napi_set_element(env, buffers, (uint32_t)i, buffer);
    }
    napi_set_named_property(env, entry, "name", text(env, kernel->name));
    napi_set_named_property(env, entry, "buffers", buffers);
    napi_set_named_property(env, entry, "integers", texts(env, kernel->ints, kernel->n_ints));
    napi_set_named_property(env, entry, "floats", texts(env, kernel->floats, kernel->n_floats));
    napi_set_element(env, table, (uint32_t)k, entry);
  }
  return table;
}

static napi_value targets(napi_env env, napi_callback_info info) {
  napi_value list = NULL;
  uint32_t found = 0;
  (void)info;
  napi_create_array(env, &list);
  for (int i = 0; i < rv_target_count; i++)
    if (rv_target_supported(rv_targets[i])) napi_set_element(env, list, found++, text(env, rv_targets[i]->name));
  return list;
}

static void define(napi_env env, napi_value object, const char *name, napi_callback body, const void *data) {
  napi_value function;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, body, (void *)(uintptr_t)data, &function) == napi_ok)
    napi_set_named_property(env, object, name, function);
}

static napi_value open_target(napi_env env, napi_callback_info info) {
  napi_value name, result;
  size_t count = 1, length = 0;
  char wanted[32] = "";
  napi_get_cb_info(env, info, &count, &name, NULL, NULL);
  napi_get_value_string_utf8(env, name, wanted, sizeof wanted, &length);
  for (int i = 0; i < rv_target_count; i++) {
    if (strcmp(rv_targets[i]->name, wanted) != 0 || !rv_target_supported(rv_targets[i])) continue;
    napi_create_object(env, &result);
    define(env, result, "call", call, rv_targets[i]);
    define(env, result, "callAsync", call_async, rv_targets[i]);
    return result;
  }
  refuse(env, RANGE_FAULT, "instruction set '%s' is not compiled in or not on this machine", wanted);
  return NULL;
}

static void forget(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  free(((instance *)data)->scratch);
  free(data);
}

NAPI_MODULE_INIT() {
  instance *own = calloc(1, sizeof *own);
  if (!own || napi_set_instance_data(env, own, forget, NULL) != napi_ok) {
    free(own);
    refuse(env, MEMORY_FAULT, "there is no memory for the addon");
    return NULL;
  }
  define(env, exports, "kernels", kernels, NULL);
  define(env, exports, "targets", targets, NULL);
  define(env, exports, "open", open_target, NULL);
  return exports;
}
