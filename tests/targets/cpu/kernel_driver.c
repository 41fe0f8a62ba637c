/* Calls the kernels it is linked with, as an input file says, under an emulator: no C library, so that it links for
 * any architecture at once and that only the kernels' instructions are counted between marks.
 *
 *   driver [INPUT OUTPUT]
 *
 * Without files it takes one batch after the other from standard input. A batch is int64 words: the numbers of buffers, of pointers to place and of calls; per buffer its bytes; per pointer
 * (buffer, offset, target buffer, target offset); per call (function, float bits, 14 x (buffer or -1, offset or value));
 * then the buffers. The answer is the calls' results as int64, then the buffers.
 *
 * Every buffer ends where a page ends that is followed by one without access, and canaries stand before it. */
#include "ew_kernels.h"

#include <stddef.h>

enum { SYS_openat = 56, SYS_close = 57, SYS_read = 63, SYS_write = 64, SYS_exit = 93 };
enum { SYS_munmap = 215, SYS_mmap = 222, SYS_mprotect = 226 };
enum { PAGE = 4096, CANARY = 0xa5, MARK = -1163000000, ARGUMENTS = 14 };

static int64_t ask(int64_t number, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f) {
  register int64_t x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
  register int64_t x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}

static _Noreturn void leave(int code) {
  for (;;) ask(SYS_exit, code, 0, 0, 0, 0, 0);
}

typedef int64_t __attribute__((aligned(1), may_alias)) word;

void *memcpy(void *restrict to, const void *restrict from, size_t n) {
  char *t = to;
  const char *f = from;
  for (; n >= 8; n -= 8, t += 8, f += 8) *(word *)t = *(const word *)f;
  for (; n; --n) *t++ = *f++;
  return to;
}

void *memset(void *to, int value, size_t n) {
  char *t = to;
  for (; n; --n) *t++ = (char)value;
  return to;
}

static void nothing(void) {}

#define EW_FUNCTION(name) (const void *)name,
static const void *const functions[] = {
    nothing,
#include "kernel_names.h"
};
typedef int64_t (*callee)(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                          int64_t, int64_t, int64_t, int64_t, float);

/* The whole of `bytes`, or 0 at the end of the file. */
static int64_t all(int64_t call, int64_t file, void *memory, int64_t bytes) {
  for (char *at = memory; bytes > 0;) {
    int64_t done = ask(call, file, (int64_t)at, bytes, 0, 0, 0);
    if (done < 0) leave(3);
    if (done == 0) return 0;
    at += done, bytes -= done;
  }
  return 1;
}

static int64_t rounded(int64_t bytes) { return (bytes + 2 * PAGE - 1) / PAGE * PAGE; }

static char *pages(int64_t bytes) {
  int64_t at = ask(SYS_mmap, 0, bytes + PAGE, 3, 0x22, -1, 0);
  if (at < 0 && at > -PAGE) leave(4);
  ask(SYS_mprotect, at + bytes, PAGE, 0, 0, 0, 0);
  return (char *)at;
}

static void drop(const void *at, int64_t bytes) { ask(SYS_munmap, (int64_t)at, bytes + PAGE, 0, 0, 0, 0); }

static void *words(int64_t file, int64_t count) {
  void *at = pages(rounded(8 * count));
  all(SYS_read, file, at, 8 * count);
  return at;
}

static int64_t batch(int64_t in, int64_t out) {
  int64_t head[3];
  if (!all(SYS_read, in, head, sizeof head)) return 0;
  const int64_t buffers = head[0], pointers = head[1], calls = head[2], width = 2 + 2 * ARGUMENTS;
  int64_t *size = words(in, buffers), *pointer = words(in, 4 * pointers), *call = words(in, calls * width);
  int64_t *result = (int64_t *)pages(rounded(8 * calls));
  char **buffer = (char **)pages(rounded(8 * buffers));
  for (int64_t i = 0; i < buffers; ++i) {
    int64_t whole = rounded(size[i]);
    char *first = pages(whole);
    buffer[i] = first + whole - size[i];
    memset(first, CANARY, whole - size[i]);
    all(SYS_read, in, buffer[i], size[i]);
  }
  for (int64_t i = 0; i < pointers; ++i) {
    const int64_t *p = pointer + 4 * i;
    *(char **)(buffer[p[0]] + p[1]) = buffer[p[2]] + p[3];
  }
  for (int64_t i = 0; i < calls; ++i) {
    const int64_t *given = call + i * width;
    int64_t x[ARGUMENTS];
    union {
      int32_t bits;
      float value;
    } f = {(int32_t)given[1]};
    for (int j = 0; j < ARGUMENTS; ++j)
      x[j] = given[2 + 2 * j] < 0 ? given[3 + 2 * j] : (int64_t)(buffer[given[2 + 2 * j]] + given[3 + 2 * j]);
    callee function = (callee)functions[given[0]];
    ask(SYS_close, MARK, 0, 0, 0, 0, 0);
    result[i] = function(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8], x[9], x[10], x[11], x[12], x[13],
                         f.value);
    ask(SYS_close, MARK - 1, 0, 0, 0, 0, 0);
  }
  all(SYS_write, out, result, 8 * calls);
  for (int64_t i = 0; i < buffers; ++i) {
    int64_t before = rounded(size[i]) - size[i];
    for (int64_t j = 1; j <= before; ++j)
      if ((uint8_t)buffer[i][-j] != CANARY) leave(5);
    all(SYS_write, out, buffer[i], size[i]);
    drop(buffer[i] - before, size[i] + before);
  }
  drop(size, rounded(8 * buffers)), drop(buffer, rounded(8 * buffers));
  drop(pointer, rounded(32 * pointers)), drop(call, rounded(8 * calls * width)), drop(result, rounded(8 * calls));
  return 1;
}

__attribute__((used)) static void start(int64_t *stack) {
  int64_t in = 0, out = 1;
  if (stack[0] == 3) {
    in = ask(SYS_openat, -100, stack[2], 0, 0, 0, 0);
    out = ask(SYS_openat, -100, stack[3], 01 | 0100 | 01000, 0600, 0, 0);
    if (in < 0 || out < 0) leave(3);
  }
  while (batch(in, out)) {}
  leave(0);
}

__asm__(".global _start\n_start:\n  mov x0, sp\n  b start\n");
