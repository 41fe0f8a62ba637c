/* LayerNorm and RMSNorm of rows wider than 1,024: one source for all variants. Sums are taken in blocks that fit 32 and 64
 * bits; where n squares - sum^2 may need more than 62 bits, its lowest 2 t bits are dropped as in arith._spread. */
#include "ew_kernels.h"
#include "tables.h"

static inline int64_t wide_round_shift(int64_t x, int32_t shift) { return (x + ((INT64_C(1) << shift) >> 1)) >> shift; }

/* floor((n squares - sum^2) / 4^t); sum / n rounds down. */
static inline int64_t wide_spread(int64_t n, int64_t squares, int64_t sum, int32_t t) {
  if (t == 0) return n * squares - sum * sum;
  int64_t quotient = sum / n, remainder = sum % n;
  if (remainder < 0) --quotient, remainder += n;
  int64_t rest = squares - quotient * sum, low = rest & ((INT64_C(1) << 2 * t) - 1);
  return n * (rest >> 2 * t) + ((n * low - remainder * sum) >> 2 * t);
}

struct wide_root {
  int64_t sum, y;
  int32_t shift;
};

static struct wide_root wide_root(const int16_t *x, int64_t n, int64_t eps_term, int centred) {
  struct wide_root f = {0, 0, 4};
  int64_t squares = 0;
  for (int64_t begin = 0; begin < n; begin += 1 << 15) {
    int64_t end = begin + (1 << 15) < n ? begin + (1 << 15) : n;
    int32_t part = 0; /* at most 2^15 * 32767 */
    for (int64_t i = begin; i < end; ++i) part += x[i], squares += (int32_t)x[i] * x[i];
    f.sum += part;
  }
  if (!centred) f.sum = 0;
  int32_t t = 0;
  while (n > INT64_C(1) << (15 + t)) ++t;
  int64_t v = wide_spread(n, squares, f.sum, t) + eps_term;
  int32_t e = (63 - __builtin_clzll((uint64_t)v)) / 2;
  int64_t m16 = 2 * e <= 16 ? v << (16 - 2 * e) : v >> (2 * e - 16);
  int64_t y0 = ew_rsqrt_table[m16 >> 10];
  int64_t q0 = (y0 * y0) >> 14;
  f.y = wide_round_shift(y0 * ((3 << 16) - ((m16 * q0) >> 16)), 16);
  f.shift += e + t;
  return f;
}

/* floor(x / 2^shift) of a whole number below 2^53. In float64 where an instruction rounds it down: (N x - S) y + half needs at
 * most 53 bits, z multiplier + offset 48, and a power of two changes none of them, so every step is exact. */
#if defined(__SSE4_1__) || defined(__aarch64__)
typedef double wide_t;
#define WIDE_UNIT(shift) (1.0 / (double)(INT64_C(1) << (shift)))
#define WIDE_SHIFTED(x, unit) __builtin_floor((x) * (unit))
#else
typedef int64_t wide_t;
#define WIDE_UNIT(shift) (shift)
#define WIDE_SHIFTED(x, unit) ((x) >> (unit))
#endif

#define LAYER_NORM_WIDE(name, type, limit, centred)                                                                    \
  static inline __attribute__((always_inline)) void name##_row(const int16_t *x, const int32_t *multiplier,            \
                                                               const int64_t *offset, const int64_t step, int64_t n,   \
                                                               int64_t eps_term, int32_t shift, type *out) {           \
    const struct wide_root f = wide_root(x, n, eps_term, centred);                                                     \
    const wide_t factor = n * f.y, add = (INT64_C(1) << (f.shift - 1)) - f.sum * f.y;                                  \
    const wide_t rounding = (INT64_C(1) << shift) >> 1, first = WIDE_UNIT(f.shift), second = WIDE_UNIT(shift);         \
    for (int64_t i = 0; i < n; ++i) {                                                                                  \
      wide_t z = WIDE_SHIFTED(x[i] * factor + add, first);                                                             \
      wide_t y = WIDE_SHIFTED(z * multiplier[i * step] + offset[i * step] + rounding, second);                         \
      out[i] = (type)(int32_t)(y > limit ? limit : y < -limit ? -limit : y);                                           \
    }                                                                                                                  \
  }                                                                                                                    \
  void name(const int16_t *x, int64_t ldx, int32_t rows, const int32_t *multiplier, const int64_t *offset,             \
            int64_t step, int64_t n, int64_t eps_term, int32_t shift, type *out, int64_t ldout) {                      \
    for (; rows > 0; --rows, x += ldx, out += ldout) {                                                                 \
      if (step) name##_row(x, multiplier, offset, 1, n, eps_term, shift, out);                                         \
      else name##_row(x, multiplier, offset, 0, n, eps_term, shift, out);                                              \
    }                                                                                                                  \
  }
LAYER_NORM_WIDE(ew_layer_norm_wide_s16, int8_t, 127, 1)
LAYER_NORM_WIDE(ew_layer_norm_wide_s16_s16, int16_t, 32767, 1)
LAYER_NORM_WIDE(ew_rms_norm_wide_s16, int8_t, 127, 0)
LAYER_NORM_WIDE(ew_rms_norm_wide_s16_s16, int16_t, 32767, 0)
#undef LAYER_NORM_WIDE
#undef WIDE_UNIT
#undef WIDE_SHIFTED
