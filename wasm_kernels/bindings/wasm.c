/* The WebAssembly binding, generic: a module of its own without libc, imports or a host language.
 *
 *   rv_describe()               the kernel table, this module's instruction set, and how an rv_call is laid out
 *   rv_alloc(bytes), rv_free    memory, 64-byte aligned; 0 where there is none left. Growth detaches the host's views
 *   rv_call_kernel(index, call) the kernel's status, or a fault: -(kind * 64 + index of the integer or buffer)
 *
 * Where several threads have an instance each on one shared memory, one of them alone allocates and checks; the others run:
 *
 *   rv_check_call(index, call)  0 or a fault; scratch is written into the call, with its count
 *   rv_run_kernel(index, call)  the status of a call that was checked, on the scratch that it names
 *
 * Every buffer is checked for length, place, alignment and overlap before C runs; scratch memory is lent here. */
#include "rv.h"

#define RV_EXPORT(name) __attribute__((export_name(#name), used, visibility("default"))) name

enum rv_fault {
  RV_NO_KERNEL = 1,
  RV_NEGATIVE,   /* an integer */
  RV_MISSING,    /* a buffer that is not optional, from here on */
  RV_SHORT,      /* fewer elements than the integers ask for */
  RV_OUTSIDE,    /* not inside the heap */
  RV_MISALIGNED, /* to its elements */
  RV_OVERLAP,    /* an output with another buffer */
  RV_NO_MEMORY,  /* for scratch */
};

static int32_t fault(enum rv_fault kind, int index) { return -((int32_t)kind * 64 + index); }

/* ---- memory: free blocks in the order of their addresses, first fit, neighbours joined ---- */

enum { ALIGNMENT = 64, PAGE = 65536, LEAST_PAGES = 16 };

typedef struct block {
  size_t bytes; /* with this header, which takes ALIGNMENT bytes */
  struct block *next;
} block;

extern unsigned char __heap_base;
static block *free_blocks;
static size_t heap_end, bytes_used;

static size_t rounded(size_t bytes) { return (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1); }
static size_t heap_begin(void) { return rounded((size_t)&__heap_base); }
/* Of a full 4 GB the last page stays unused, so that every end fits 32 bits. */
static size_t memory_bytes(void) {
  const size_t pages = __builtin_wasm_memory_size(0);
  return (pages < PAGE ? pages : PAGE - 1) * PAGE;
}

static void give_back(block *given) {
  block **link = &free_blocks, *before = NULL;
  while (*link && *link < given) before = *link, link = &(*link)->next;
  given->next = *link;
  *link = given;
  if (given->next && (char *)given + given->bytes == (char *)given->next) {
    given->bytes += given->next->bytes;
    given->next = given->next->next;
  }
  if (before && (char *)before + before->bytes == (char *)given) {
    before->bytes += given->bytes;
    before->next = given->next;
  }
}

/* New pages at the end, as one free block that joins a free one before it. */
static int grow(size_t bytes) {
  if (!heap_end) heap_end = heap_begin();
  size_t end = memory_bytes();
  if (end - heap_end < bytes) {
    const size_t pages = (bytes - (end - heap_end) + PAGE - 1) / PAGE;
    if (__builtin_wasm_memory_grow(0, pages < LEAST_PAGES ? LEAST_PAGES : pages) == (size_t)-1 &&
        __builtin_wasm_memory_grow(0, pages) == (size_t)-1)
      return 0;
    end = memory_bytes();
  }
  block *fresh = (block *)heap_end;
  fresh->bytes = end - heap_end;
  heap_end = end;
  give_back(fresh);
  return 1;
}

static block *first_fit(size_t bytes) {
  for (block **link = &free_blocks; *link; link = &(*link)->next) {
    block *found = *link;
    if (found->bytes < bytes) continue;
    if (found->bytes - bytes >= 2 * ALIGNMENT) {
      block *rest = (block *)((char *)found + bytes);
      rest->bytes = found->bytes - bytes;
      rest->next = found->next;
      found->bytes = bytes;
      *link = rest;
    } else {
      *link = found->next;
    }
    return found;
  }
  return NULL;
}

void *RV_EXPORT(rv_alloc)(size_t bytes) {
  if (bytes > (size_t)0xfffe0000u) return NULL;
  bytes = rounded(bytes) + ALIGNMENT;
  block *found = first_fit(bytes);
  if (!found && grow(bytes)) found = first_fit(bytes);
  if (!found) return NULL;
  bytes_used += found->bytes;
  return (char *)found + ALIGNMENT;
}

void RV_EXPORT(rv_free)(void *data) {
  if (!data) return;
  block *given = (block *)((char *)data - ALIGNMENT);
  bytes_used -= given->bytes;
  give_back(given);
}

/* Bytes that rv_alloc gave out and rv_free has not got back, scratch memory included. */
size_t RV_EXPORT(rv_bytes_used)(void) { return bytes_used; }

static void *scratch;
static size_t scratch_bytes;

static void *lend_scratch(double bytes) {
  if (bytes <= (double)scratch_bytes) return scratch;
  if (bytes > 4e9) return NULL;
  rv_free(scratch);
  scratch = rv_alloc((size_t)bytes);
  scratch_bytes = scratch ? (size_t)bytes : 0;
  return scratch;
}

/* ---- the call ---- */

static const uint32_t dtype_sizes[] = {4, 1, 4, 8, 8};

static int is_output(int role) { return role == RV_ROLE_OUT || role == RV_ROLE_OUT_OPTIONAL; }
static int is_optional(int role) { return role == RV_ROLE_IN_OPTIONAL || role == RV_ROLE_OUT_OPTIONAL; }

static int32_t check(const rv_kernel_spec *kernel, rv_call *call) {
  double least[RV_MAX_BUFFERS];
  uint64_t begin[RV_MAX_BUFFERS], end[RV_MAX_BUFFERS];
  for (int i = 0; i < kernel->n_ints; i++)
    if (call->ints[i] < 0) return fault(RV_NEGATIVE, i);
  kernel->counts(call->ints, least);
  for (int i = 0; i < kernel->n_buffers; i++) {
    const int role = kernel->buffers[i].role;
    const uint64_t size = dtype_sizes[kernel->buffers[i].dtype];
    rv_buffer *buffer = &call->buffers[i];
    if (role == RV_ROLE_SCRATCH) {
      buffer->data = lend_scratch(least[i] * (double)size);
      buffer->count = (int64_t)least[i];
      if (!buffer->data) return fault(RV_NO_MEMORY, i);
    }
    if (!buffer->data) {
      if (!is_optional(role)) return fault(RV_MISSING, i);
      begin[i] = end[i] = 0;
      continue;
    }
    if (!((double)buffer->count >= least[i])) return fault(RV_SHORT, i);
    begin[i] = (uint64_t)(size_t)buffer->data;
    if (begin[i] % size) return fault(RV_MISALIGNED, i);
    if (begin[i] < heap_begin() || begin[i] > heap_end || (uint64_t)buffer->count > (heap_end - begin[i]) / size)
      return fault(RV_OUTSIDE, i);
    end[i] = begin[i] + (uint64_t)buffer->count * size;
  }
  for (int i = 0; i < kernel->n_buffers; i++) {
    if (!is_output(kernel->buffers[i].role)) continue;
    for (int j = 0; j < kernel->n_buffers; j++)
      if (j != i && begin[j] < end[i] && begin[i] < end[j]) return fault(RV_OVERLAP, i);
  }
  return RV_OK;
}

int32_t RV_EXPORT(rv_call_kernel)(int32_t index, rv_call *call) {
  if (index < 0 || index >= rv_kernel_count) return fault(RV_NO_KERNEL, 0);
  const int32_t refused = check(&rv_kernel_specs[index], call);
  return refused ? refused : rv_targets[0]->kernels[index](call);
}

#ifdef __wasm_atomics__
int32_t RV_EXPORT(rv_check_call)(int32_t index, rv_call *call) {
  return index < 0 || index >= rv_kernel_count ? fault(RV_NO_KERNEL, 0) : check(&rv_kernel_specs[index], call);
}

int32_t RV_EXPORT(rv_run_kernel)(int32_t index, const rv_call *call) { return rv_targets[0]->kernels[index](call); }
#endif

/* ---- what the host needs to know ---- */

typedef struct {
  const char *target;
  const rv_kernel_spec *kernels;
  int32_t n_kernels, kernel_bytes, buffer_bytes, call_bytes, ints_at, floats_at;
} description;

const description *RV_EXPORT(rv_describe)(void) {
  static description described;
  described = (description){.target = rv_targets[0]->name,
                            .kernels = rv_kernel_specs,
                            .n_kernels = rv_kernel_count,
                            .kernel_bytes = sizeof(rv_kernel_spec),
                            .buffer_bytes = sizeof(rv_buffer_spec),
                            .call_bytes = sizeof(rv_call),
                            .ints_at = offsetof(rv_call, ints),
                            .floats_at = offsetof(rv_call, floats)};
  return &described;
}
