/* The CPython binding, generic: one callable for each kernel of kernels.def, none named here.
 *
 *   status = _kernels.<name>(*buffers, *integers, *floats)     scratch memory is lent by the binding
 *
 * Every buffer is checked for dtype, contiguity, length and overlap before C runs; then the GIL is released. */
#define PY_SSIZE_T_CLEAN
#if !defined(Py_LIMITED_API)
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>

#include <string.h>

#include "rv.h"

static const rv_target *current;

/* ---- scratch memory: blocks that calls borrow, kept for the next call; guarded by the GIL ---- */

enum { POOL_BLOCKS = 16, ALIGNMENT = 64 };
typedef struct {
  void *base;
  size_t bytes;
  int lent;
} pool_block;
static pool_block pool[POOL_BLOCKS];
static long long pool_calls, pool_allocations, lent_bytes, most_lent_bytes;

static void *aligned(void *base) { return (void *)(((uintptr_t)base + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1)); }

static pool_block *lend(pool_block *block) {
  block->lent = 1;
  pool_calls++;
  lent_bytes += (long long)block->bytes;
  if (lent_bytes > most_lent_bytes) most_lent_bytes = lent_bytes;
  return block;
}

/* A block of at least `bytes`: a free one that is large enough, else the slot of a free or empty one grows; where more
 * calls run at once than there are slots, one for this call alone. */
static pool_block *borrow(size_t bytes) {
  pool_block *slot = NULL;
  for (int i = 0; i < POOL_BLOCKS; i++) {
    if (pool[i].lent) continue;
    if (pool[i].bytes >= bytes) return lend(&pool[i]);
    if (!slot || pool[i].bytes < slot->bytes) slot = &pool[i];
  }
  void *base = slot ? PyMem_Realloc(slot->base, bytes + ALIGNMENT) : PyMem_Malloc(sizeof *slot + bytes + ALIGNMENT);
  if (!base) return NULL;
  pool_allocations++;
  if (!slot) {
    slot = base;
    base = slot + 1;
  }
  *slot = (pool_block){base, bytes, 0};
  return lend(slot);
}

static void give_back(pool_block *block) {
  lent_bytes -= (long long)block->bytes;
  block->lent = 0;
  if (block < pool || block >= pool + POOL_BLOCKS) PyMem_Free(block);
}

/* ---- checks ---- */

static const char *const dtype_names[] = {"float32", "bool or uint8", "int32", "int64", "float64"};
static const int dtype_sizes[] = {4, 1, 4, 8, 8};

static int dtype_matches(const Py_buffer *view, int dtype) {
  static const char *const codes[] = {"f", "B?b", "il", "lq", "d"};
  const char *format = view->format ? view->format : "B";
  if (*format == '@' || *format == '=') format++;
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  if (*format == '<') format++;
#endif
  return format[0] && !format[1] && strchr(codes[dtype], format[0]) && view->itemsize == dtype_sizes[dtype];
}

static int is_output(const rv_buffer_spec *spec) {
  return spec->role == RV_ROLE_OUT || spec->role == RV_ROLE_OUT_OPTIONAL;
}

static int take_buffer(const rv_kernel_spec *kernel, int index, PyObject *object, double least, Py_buffer *view) {
  const rv_buffer_spec *spec = &kernel->buffers[index];
  const int optional = spec->role == RV_ROLE_IN_OPTIONAL || spec->role == RV_ROLE_OUT_OPTIONAL;
  view->obj = NULL;
  if (object == Py_None) {
    if (optional) return 0;
    PyErr_Format(PyExc_TypeError, "%s: %s is None; expected a %s buffer", kernel->name, spec->name,
                 dtype_names[spec->dtype]);
    return -1;
  }
  const int flags = PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | (is_output(spec) ? PyBUF_WRITABLE : 0);
  if (PyObject_GetBuffer(object, view, flags) < 0) {
    PyErr_Clear();
    PyErr_Format(PyExc_BufferError, "%s: %s is not a C-contiguous%s buffer", kernel->name, spec->name,
                 is_output(spec) ? ", writable" : "");
    return -1;
  }
  if (!dtype_matches(view, spec->dtype)) {
    PyErr_Format(PyExc_TypeError, "%s: %s holds items of format '%s'; expected %s", kernel->name, spec->name,
                 view->format ? view->format : "B", dtype_names[spec->dtype]);
    return -1;
  }
  const long long count = view->len / view->itemsize;
  if ((double)count < least) {
    PyErr_Format(PyExc_ValueError, "%s: %s holds %lld elements; expected at least %lld", kernel->name, spec->name,
                 count, least < 9e18 ? (long long)least : (long long)INT64_MAX);
    return -1;
  }
  if ((uintptr_t)view->buf % (size_t)dtype_sizes[spec->dtype]) {
    PyErr_Format(PyExc_BufferError, "%s: %s is not aligned to its %d-byte items", kernel->name, spec->name,
                 dtype_sizes[spec->dtype]);
    return -1;
  }
  return 0;
}

static int overlap(const rv_kernel_spec *kernel, const Py_buffer *views, int count) {
  for (int i = 0; i < count; i++) {
    if (!is_output(&kernel->buffers[i]) || !views[i].obj || !views[i].len) continue;
    const char *begin = views[i].buf, *end = begin + views[i].len;
    for (int j = 0; j < count; j++) {
      const char *other = views[j].buf;
      if (j == i || !views[j].obj || other >= end || other + views[j].len <= begin) continue;
      PyErr_Format(PyExc_ValueError, "%s: output %s overlaps %s", kernel->name, kernel->buffers[i].name,
                   kernel->buffers[j].name);
      return -1;
    }
  }
  return 0;
}

/* ---- the call ---- */

static int lend_scratch(const rv_kernel_spec *kernel, const double *least, rv_call *call, pool_block **block) {
  const int last = kernel->n_buffers - 1;
  *block = NULL;
  if (kernel->buffers[last].role != RV_ROLE_SCRATCH) return 0;
  const double bytes = least[last] * dtype_sizes[kernel->buffers[last].dtype];
  if (bytes > (double)(SIZE_MAX / 4) || !(*block = borrow((size_t)bytes))) {
    PyErr_NoMemory();
    return -1;
  }
  call->buffers[last].data = aligned((*block)->base);
  call->buffers[last].count = (int64_t)least[last];
  return 0;
}

static PyObject *run(const rv_kernel_spec *kernel, int index, int n_views, PyObject *const *args) {
  rv_call call;
  double least[RV_MAX_BUFFERS];
  Py_buffer views[RV_MAX_BUFFERS];
  PyObject *const *integers = args + n_views, *const *floats = integers + kernel->n_ints;
  for (int i = 0; i < kernel->n_ints; i++) {
    call.ints[i] = PyLong_AsLongLong(integers[i]);
    if (call.ints[i] == -1 && PyErr_Occurred()) return NULL;
    if (call.ints[i] < 0)
      return PyErr_Format(PyExc_ValueError, "%s: %s is %lld; expected at least 0", kernel->name, kernel->ints[i],
                          (long long)call.ints[i]);
  }
  for (int i = 0; i < kernel->n_floats; i++) {
    call.floats[i] = PyFloat_AsDouble(floats[i]);
    if (call.floats[i] == -1.0 && PyErr_Occurred()) return NULL;
  }
  kernel->counts(call.ints, least);

  int taken = 0, failed = 0;
  pool_block *block = NULL;
  for (; taken < n_views && !failed; taken++) {
    failed = take_buffer(kernel, taken, args[taken], least[taken], &views[taken]) < 0;
    const int given = views[taken].obj != NULL;
    call.buffers[taken].data = given ? views[taken].buf : NULL;
    call.buffers[taken].count = given ? (int64_t)(views[taken].len / views[taken].itemsize) : 0;
  }
  int32_t status = RV_OK;
  if (!failed && overlap(kernel, views, taken) == 0 && lend_scratch(kernel, least, &call, &block) == 0) {
    const rv_kernel body = current->kernels[index];
    Py_BEGIN_ALLOW_THREADS;
    status = body(&call);
    Py_END_ALLOW_THREADS;
  }
  if (block) give_back(block);
  for (int i = 0; i < taken; i++)
    if (views[i].obj) PyBuffer_Release(&views[i]);
  return PyErr_Occurred() ? NULL : PyLong_FromLong(status);
}

static PyObject *call_kernel(PyObject *self, PyObject *const *args, Py_ssize_t n_args) {
  const long index = PyLong_AsLong(self);
  const rv_kernel_spec *kernel = &rv_kernel_specs[index];
  const int scratch = kernel->buffers[kernel->n_buffers - 1].role == RV_ROLE_SCRATCH;
  const int n_views = kernel->n_buffers - scratch, expected = n_views + kernel->n_ints + kernel->n_floats;
  if (n_args != expected)
    return PyErr_Format(PyExc_TypeError, "%s takes %d arguments (%d buffers, %d integers, %d floats); got %zd",
                        kernel->name, expected, n_views, kernel->n_ints, kernel->n_floats, n_args);
  return run(kernel, (int)index, n_views, args);
}

/* ---- the module ---- */

static PyObject *names(const char *const *list, int count) {
  PyObject *tuple = PyTuple_New(count);
  for (int i = 0; tuple && i < count; i++) PyTuple_SetItem(tuple, i, PyUnicode_FromString(list[i]));
  return tuple;
}

static PyObject *kernels(PyObject *module, PyObject *unused) {
  static const char *const roles[] = {"in", "in?", "out", "out?", "scratch"};
  (void)module, (void)unused;
  PyObject *table = PyDict_New();
  for (int k = 0; table && k < rv_kernel_count; k++) {
    const rv_kernel_spec *kernel = &rv_kernel_specs[k];
    PyObject *buffers = PyTuple_New(kernel->n_buffers);
    for (int i = 0; buffers && i < kernel->n_buffers; i++) {
      const rv_buffer_spec *spec = &kernel->buffers[i];
      PyTuple_SetItem(buffers, i, Py_BuildValue("(sss)", spec->name, dtype_names[spec->dtype], roles[spec->role]));
    }
    PyObject *entry =
        Py_BuildValue("(NNN)", buffers, names(kernel->ints, kernel->n_ints), names(kernel->floats, kernel->n_floats));
    if (!entry || PyDict_SetItemString(table, kernel->name, entry) < 0) Py_CLEAR(table);
    Py_XDECREF(entry);
  }
  return table;
}

static PyObject *targets(PyObject *module, PyObject *unused) {
  (void)module, (void)unused;
  PyObject *list = PyList_New(0);
  for (int i = 0; list && i < rv_target_count; i++) {
    if (!rv_target_supported(rv_targets[i])) continue;
    PyObject *name = PyUnicode_FromString(rv_targets[i]->name);
    if (!name || PyList_Append(list, name) < 0) Py_CLEAR(list);
    Py_XDECREF(name);
  }
  return list;
}

static PyObject *use(PyObject *module, PyObject *name) {
  (void)module;
  Py_ssize_t length;
  const char *wanted = PyUnicode_AsUTF8AndSize(name, &length);
  if (!wanted) return NULL;
  for (int i = 0; i < rv_target_count; i++)
    if (!strcmp(rv_targets[i]->name, wanted) && rv_target_supported(rv_targets[i])) {
      current = rv_targets[i];
      Py_RETURN_NONE;
    }
  return PyErr_Format(PyExc_ValueError, "instruction set '%s' is not compiled in or not on this machine", wanted);
}

static PyObject *scratch_stats(PyObject *module, PyObject *unused) {
  (void)module, (void)unused;
  long long blocks = 0, bytes = 0, lent = 0;
  for (int i = 0; i < POOL_BLOCKS; i++) {
    blocks += pool[i].base != NULL;
    bytes += (long long)pool[i].bytes;
    lent += pool[i].lent;
  }
  return Py_BuildValue("{sLsLsLsLsLsLsL}", "calls", pool_calls, "hits", pool_calls - pool_allocations, "allocations",
                       pool_allocations, "blocks", blocks, "bytes", bytes, "lent", lent, "most_lent", most_lent_bytes);
}

static PyMethodDef functions[] = {
    {"kernels", kernels, METH_NOARGS, "kernels() -> {name: (buffers, integers, floats)}, from kernels.def"},
    {"targets", targets, METH_NOARGS, "targets() -> instruction sets that this machine can run, best first"},
    {"use", use, METH_O, "use(target): run the kernels of this instruction set from now on"},
    {"scratch_stats", scratch_stats, METH_NOARGS, "scratch_stats() -> figures of the pool of scratch memory"},
    {NULL, NULL, 0, NULL},
};

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define INIT_(name) PyInit_##name
#define INIT(name) INIT_(name)

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    STRING(RV_MODULE),
    "The C kernels, called by name with flat arguments.",
    -1,
    functions,
    NULL,
    NULL,
    NULL,
    NULL,
};

PyMODINIT_FUNC INIT(RV_MODULE)(void) {
  static PyMethodDef *methods;
  PyObject *module = PyModule_Create(&definition);
  if (!module) return NULL;
  for (int i = rv_target_count - 1; i >= 0; i--)
    if (rv_target_supported(rv_targets[i])) current = rv_targets[i];
  if (!methods) methods = PyMem_Calloc((size_t)rv_kernel_count, sizeof *methods);
  if (!methods) return PyErr_NoMemory();
  for (int i = 0; i < rv_kernel_count; i++) {
    methods[i] = (PyMethodDef){rv_kernel_specs[i].name, (PyCFunction)(void (*)(void))call_kernel, METH_FASTCALL,
                               "status = kernel(*buffers, *integers, *floats); see kernels()"};
    PyObject *index = PyLong_FromLong(i);
    PyObject *callable = index ? PyCFunction_NewEx(&methods[i], index, NULL) : NULL;
    Py_XDECREF(index);
    if (!callable || PyModule_AddObject(module, rv_kernel_specs[i].name, callable) < 0) {
      Py_XDECREF(callable);
      Py_DECREF(module);
      return NULL;
    }
  }
  return module;
}
