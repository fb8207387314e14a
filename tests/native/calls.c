/* Runs recorded kernel calls, so that every instruction set can be tested without Python: under sanitizers, and for
 * other processors under an emulator. It knows no kernel: names, buffers and sizes come from kernels.def.
 *
 *   calls --kernels                  one line a kernel: name; buffers as name:dtype:role; integers; floats
 *   calls --targets                  the instruction sets that this machine can run
 *   calls TARGET CALLS RESULTS       run the file CALLS (see calls.py), write what it gave to RESULTS
 *
 * Every call runs three times on buffers of exactly the promised length: in heap blocks, for the address sanitizer;
 * then each ending where memory ends; then each beginning where memory begins, for what the sanitizer cannot see
 * (masked and gathered loads). The three must agree in every bit, no input may change, nothing beside a buffer may be
 * written, and scratch memory begins as NaN. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rv.h"

enum { HEAP, AT_END, AT_START, PLACEMENTS };
enum { SCRATCH_ALIGNMENT = 64, CANARY = 0xA5, CANARY_BYTES = 4096, NAN_BYTE = 0xFF };

static const char *const placement_names[] = {"heap", "at the end of memory", "at the start of memory"};
static const char *const dtype_names[] = {"f32", "u8", "i32", "i64", "f64"};
static const size_t dtype_sizes[] = {4, 1, 4, 8, 8};
static const char *const role_names[] = {"in", "in?", "out", "out?", "scratch"};

static char doing[256] = "nothing yet";

static _Noreturn void fail(const char *problem, const char *name) {
  fprintf(stderr, "%s: %s (%s)\n", doing, problem, name);
  exit(3);
}

/* ---- where it was when it crashed: said before the sanitizer's own report ends the process ---- */

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));
static struct sigaction previous[NSIG];

static void say_doing(void) {
  if (write(2, "while running ", 14) < 0 || write(2, doing, strlen(doing)) < 0 || write(2, "\n", 1) < 0) return;
}

static void crashed(int signal_number, siginfo_t *info, void *context) {
  const struct sigaction *before = &previous[signal_number];
  say_doing();
  if (before->sa_flags & SA_SIGINFO && before->sa_sigaction) before->sa_sigaction(signal_number, info, context);
  _exit(128 + signal_number);
}

static void watch_for_crashes(void) {
  const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
  struct sigaction action = {.sa_sigaction = crashed, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, &previous[signals[i]]);
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(say_doing);
}

/* ---- memory: one region a buffer slot, with a page before and one behind that nobody may touch ---- */

typedef struct {
  unsigned char *begin, *end;
} region;
static region regions[RV_MAX_BUFFERS];

static void reserve(region *place, size_t bytes) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  const size_t wanted = (bytes + CANARY_BYTES + 2 * page) / page * page;
  if ((size_t)(place->end - place->begin) >= wanted) return;
  if (place->begin) munmap(place->begin - page, (size_t)(place->end - place->begin) + 2 * page);
  unsigned char *base = mmap(NULL, wanted + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED || mprotect(base + page, wanted, PROT_READ | PROT_WRITE)) fail("no memory", "mmap");
  *place = (region){base + page, base + page + wanted};
}

/* One buffer of one call in one placement. `before` and `behind` are canaries: bytes beside it that must survive. */
typedef struct {
  unsigned char *data;
  size_t bytes, before, behind;
  void *heap;
} placed;

static placed place(int placement, int slot, size_t bytes, int is_scratch) {
  if (placement == HEAP) {
    void *block = NULL;
    if (is_scratch ? posix_memalign(&block, SCRATCH_ALIGNMENT, bytes) : !(block = malloc(bytes ? bytes : 1)))
      fail("no memory", "malloc");
    return (placed){block, bytes, 0, 0, block};
  }
  region *room = &regions[slot];
  reserve(room, bytes + SCRATCH_ALIGNMENT);
  if (placement == AT_START) {
    memset(room->begin + bytes, CANARY, CANARY_BYTES);
    return (placed){room->begin, bytes, 0, CANARY_BYTES, NULL};
  }
  const size_t rounded = (bytes + SCRATCH_ALIGNMENT - 1) / SCRATCH_ALIGNMENT * SCRATCH_ALIGNMENT;
  const size_t behind = is_scratch ? rounded - bytes : 0; /* scratch is lent at a multiple of 64 */
  unsigned char *data = room->end - behind - bytes;
  const size_t before = (size_t)(data - room->begin) < CANARY_BYTES ? (size_t)(data - room->begin) : CANARY_BYTES;
  memset(data - before, CANARY, before);
  memset(data + bytes, CANARY, behind);
  return (placed){data, bytes, before, behind, NULL};
}

static int survived(const unsigned char *canary, size_t bytes) {
  for (size_t i = 0; i < bytes; i++)
    if (canary[i] != CANARY) return 0;
  return 1;
}

/* ---- the files: numbers of 8 bytes, and buffers padded to a multiple of 8 ---- */

typedef struct {
  unsigned char *next, *end;
} reader;

static const unsigned char *take(reader *file, size_t bytes) {
  const size_t padded = (bytes + 7) / 8 * 8;
  if (bytes > padded || padded > (size_t)(file->end - file->next)) fail("the file of calls ends too early", "take");
  const unsigned char *data = file->next;
  file->next += padded;
  return data;
}

static int64_t take_int(reader *file) {
  int64_t value;
  memcpy(&value, take(file, sizeof value), sizeof value);
  return value;
}

static reader read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) fail("cannot read", path);
  const long size = ftell(file);
  unsigned char *data = malloc((size_t)size + 1);
  rewind(file);
  if (!data || fread(data, 1, (size_t)size, file) != (size_t)size) fail("cannot read", path);
  fclose(file);
  return (reader){data, data + size};
}

static void put(FILE *file, const void *data, size_t bytes) {
  static const char zeros[8];
  if (fwrite(data, 1, bytes, file) != bytes || fwrite(zeros, 1, -bytes % 8, file) != -bytes % 8)
    fail("cannot write", "results");
}

/* ---- a call ---- */

typedef struct {
  int kernel;
  rv_call call;
  const unsigned char *contents[RV_MAX_BUFFERS]; /* NULL: not given, or scratch */
  size_t bytes[RV_MAX_BUFFERS];
} recorded;

static int is_output(int role) { return role == RV_ROLE_OUT || role == RV_ROLE_OUT_OPTIONAL; }

/* A buffer is cut to the length that kernels.def promises: nothing behind it may matter. */
static recorded take_call(reader *file, int number) {
  recorded found = {.kernel = (int)take_int(file)};
  if (found.kernel < 0 || found.kernel >= rv_kernel_count) fail("no such kernel", "take_call");
  const rv_kernel_spec *spec = &rv_kernel_specs[found.kernel];
  snprintf(doing, sizeof doing, "call %d, %s", number, spec->name);
  for (int i = 0; i < spec->n_ints; i++) found.call.ints[i] = take_int(file);
  memcpy(found.call.floats, take(file, 8 * (size_t)spec->n_floats), 8 * (size_t)spec->n_floats);
  double least[RV_MAX_BUFFERS];
  spec->counts(found.call.ints, least);
  for (int i = 0; i < spec->n_buffers; i++) {
    const size_t item = dtype_sizes[spec->buffers[i].dtype];
    const size_t promised = (size_t)least[i];
    found.bytes[i] = (promised + ((double)promised < least[i])) * item; /* a count may be a fraction: rounded up */
    if (spec->buffers[i].role == RV_ROLE_SCRATCH) continue;
    const int64_t count = take_int(file);
    if (count < 0) continue;
    if ((double)count < least[i]) fail("a buffer is shorter than kernels.def says", spec->buffers[i].name);
    found.contents[i] = take(file, (size_t)count * item);
  }
  return found;
}

static int32_t run(const recorded *wanted, const rv_target *target, int placement, placed *at) {
  const rv_kernel_spec *spec = &rv_kernel_specs[wanted->kernel];
  rv_call call = wanted->call;
  for (int i = 0; i < spec->n_buffers; i++) {
    const int is_scratch = spec->buffers[i].role == RV_ROLE_SCRATCH;
    at[i] = (placed){0};
    call.buffers[i] = (rv_buffer){NULL, 0};
    if (!wanted->contents[i] && !is_scratch) continue;
    at[i] = place(placement, i, wanted->bytes[i], is_scratch);
    if (is_scratch)
      memset(at[i].data, NAN_BYTE, at[i].bytes);
    else
      memcpy(at[i].data, wanted->contents[i], at[i].bytes);
    call.buffers[i] = (rv_buffer){at[i].data, (int64_t)(at[i].bytes / dtype_sizes[spec->buffers[i].dtype])};
  }
  return target->kernels[wanted->kernel](&call);
}

static void check(const recorded *wanted, const placed *at) {
  const rv_kernel_spec *spec = &rv_kernel_specs[wanted->kernel];
  for (int i = 0; i < spec->n_buffers; i++) {
    if (!at[i].data) continue;
    if (!survived(at[i].data - at[i].before, at[i].before)) fail("written before a buffer", spec->buffers[i].name);
    if (!survived(at[i].data + at[i].bytes, at[i].behind)) fail("written behind a buffer", spec->buffers[i].name);
    const int is_input = spec->buffers[i].role == RV_ROLE_IN || spec->buffers[i].role == RV_ROLE_IN_OPTIONAL;
    if (is_input && memcmp(at[i].data, wanted->contents[i], at[i].bytes)) fail("input changed", spec->buffers[i].name);
  }
}

/* The status and the outputs of the first placement are the result; the others must equal it. */
static void run_everywhere(const recorded *wanted, const rv_target *target, FILE *results) {
  const rv_kernel_spec *spec = &rv_kernel_specs[wanted->kernel];
  placed first[RV_MAX_BUFFERS], other[RV_MAX_BUFFERS];
  const size_t length = strlen(doing);
  int64_t status = 0;
  for (int placement = HEAP; placement < PLACEMENTS; placement++) {
    snprintf(doing + length, sizeof doing - length, " on %s, buffers %s", target->name, placement_names[placement]);
    placed *at = placement == HEAP ? first : other;
    const int32_t answer = run(wanted, target, placement, at);
    check(wanted, at);
    if (placement == HEAP) status = answer;
    if (answer != status) fail("the status depends on where the buffers lie", "status");
    for (int i = 0; i < spec->n_buffers; i++)
      if (status == RV_OK && is_output(spec->buffers[i].role) && at[i].bytes &&
          memcmp(at[i].data, first[i].data, at[i].bytes))
        fail("the result depends on where the buffers lie", spec->buffers[i].name);
  }
  put(results, &status, sizeof status);
  for (int i = 0; i < spec->n_buffers; i++) {
    if (is_output(spec->buffers[i].role) && first[i].data) {
      const int64_t elements = (int64_t)(first[i].bytes / dtype_sizes[spec->buffers[i].dtype]);
      put(results, &elements, sizeof elements);
      put(results, first[i].data, first[i].bytes);
    }
    free(first[i].heap);
  }
}

static int run_file(const rv_target *target, const char *calls, const char *results) {
  reader file = read_file(calls);
  unsigned char *contents = file.next;
  FILE *out = fopen(results, "wb");
  if (!out) fail("cannot write", results);
  const int count = (int)take_int(&file);
  for (int i = 0; i < count; i++) {
    const recorded wanted = take_call(&file, i);
    run_everywhere(&wanted, target, out);
  }
  if (file.next != file.end) fail("the file of calls goes on behind the last one", calls);
  if (fclose(out)) fail("cannot write", results);
  free(contents);
  return 0;
}

/* ---- what there is ---- */

static void print_kernels(void) {
  for (int k = 0; k < rv_kernel_count; k++) {
    const rv_kernel_spec *spec = &rv_kernel_specs[k];
    printf("%s;", spec->name);
    for (int i = 0; i < spec->n_buffers; i++)
      printf("%s%s:%s:%s", i ? " " : "", spec->buffers[i].name, dtype_names[spec->buffers[i].dtype],
             role_names[spec->buffers[i].role]);
    printf(";");
    for (int i = 0; i < spec->n_ints; i++) printf("%s%s", i ? " " : "", spec->ints[i]);
    printf(";");
    for (int i = 0; i < spec->n_floats; i++) printf("%s%s", i ? " " : "", spec->floats[i]);
    printf("\n");
  }
}

int main(int count, char **words) {
  if (count == 2 && !strcmp(words[1], "--kernels")) {
    print_kernels();
    return 0;
  }
  if (count == 2 && !strcmp(words[1], "--targets")) {
    for (int i = 0; i < rv_target_count; i++)
      if (rv_target_supported(rv_targets[i])) puts(rv_targets[i]->name);
    return 0;
  }
  watch_for_crashes();
  for (int i = 0; count == 4 && i < rv_target_count; i++)
    if (!strcmp(rv_targets[i]->name, words[1]) && rv_target_supported(rv_targets[i]))
      return run_file(rv_targets[i], words[2], words[3]);
  fprintf(stderr, "expected --kernels, --targets, or TARGET CALLS RESULTS with a target of --targets\n");
  return 2;
}
