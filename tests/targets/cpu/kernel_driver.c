/* Calls the kernels it is linked with, as an input file says, under an emulator: no C library, so that it links for
 * any architecture at once and that only the kernels' instructions are counted between marks.
 *
 *   driver INPUT OUTPUT
 *
 * INPUT is int64 words: the numbers of buffers, of pointers to place and of calls; per buffer its bytes; per pointer
 * (buffer, offset, target buffer, target offset); per call (function, float bits, 12 x (buffer or -1, offset or value));
 * then the buffers. OUTPUT is the calls' results as int64, then the buffers.
 *
 * Every buffer ends where a page ends that is followed by one without access, and canaries stand before it. */
#include "ew_kernels.h"

#include <stddef.h>

enum { SYS_openat = 56, SYS_close = 57, SYS_read = 63, SYS_write = 64, SYS_exit = 93, SYS_mmap = 222, SYS_mprotect = 226 };
enum { PAGE = 4096, CANARY = 0xa5, MARK = -1163000000, ARGUMENTS = 12 };

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
                          int64_t, int64_t, float);

static void all(int64_t call, int64_t file, void *memory, int64_t bytes) {
  for (char *at = memory; bytes > 0;) {
    int64_t done = ask(call, file, (int64_t)at, bytes, 0, 0, 0);
    if (done <= 0) leave(3);
    at += done, bytes -= done;
  }
}

static char *pages(int64_t bytes) {
  int64_t at = ask(SYS_mmap, 0, bytes + PAGE, 3, 0x22, -1, 0);
  if (at < 0 && at > -PAGE) leave(4);
  ask(SYS_mprotect, at + bytes, PAGE, 0, 0, 0, 0);
  return (char *)at;
}

static int64_t rounded(int64_t bytes) { return (bytes + 2 * PAGE - 1) / PAGE * PAGE; }

__attribute__((used)) static void start(int64_t *stack) {
  if (stack[0] != 3) leave(2);
  int64_t in = ask(SYS_openat, -100, stack[2], 0, 0, 0, 0), head[3];
  if (in < 0) leave(3);
  all(SYS_read, in, head, sizeof head);
  const int64_t buffers = head[0], pointers = head[1], calls = head[2], width = 2 + 2 * ARGUMENTS;
  int64_t *size = (int64_t *)pages(rounded(8 * buffers)), *pointer = (int64_t *)pages(rounded(32 * pointers));
  int64_t *call = (int64_t *)pages(rounded(8 * calls * width)), *result = (int64_t *)pages(rounded(8 * calls));
  char **buffer = (char **)pages(rounded(8 * buffers));
  all(SYS_read, in, size, 8 * buffers);
  all(SYS_read, in, pointer, 32 * pointers);
  all(SYS_read, in, call, 8 * calls * width);
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
  for (int64_t i = 0; i < calls; ++i, call += width) {
    int64_t x[ARGUMENTS];
    union {
      int32_t bits;
      float value;
    } f = {(int32_t)call[1]};
    for (int j = 0; j < ARGUMENTS; ++j)
      x[j] = call[2 + 2 * j] < 0 ? call[3 + 2 * j] : (int64_t)(buffer[call[2 + 2 * j]] + call[3 + 2 * j]);
    callee function = (callee)functions[call[0]];
    ask(SYS_close, MARK, 0, 0, 0, 0, 0);
    result[i] = function(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8], x[9], x[10], x[11], f.value);
    ask(SYS_close, MARK - 1, 0, 0, 0, 0, 0);
  }
  int64_t out = ask(SYS_openat, -100, stack[3], 01 | 0100 | 01000, 0600, 0, 0);
  if (out < 0) leave(3);
  all(SYS_write, out, result, 8 * calls);
  for (int64_t i = 0; i < buffers; ++i) {
    for (int64_t j = 1; j <= rounded(size[i]) - size[i]; ++j)
      if ((uint8_t)buffer[i][-j] != CANARY) leave(5);
    all(SYS_write, out, buffer[i], size[i]);
  }
  leave(0);
}

__asm__(".global _start\n_start:\n  mov x0, sp\n  b start\n");
