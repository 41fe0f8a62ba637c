/* Requantisation on NEON.
 *
 * floor(acc m / 2^s + 1/2) with |acc| < 2^27, m < 2^16, s >= 13 takes 32-bit lanes only: SQDMULH of acc 2^4 and m 2^15
 * is floor(acc m / 2^12), below 2^31; a rounding shift of that by s - 12 is exact, since the half it adds is an integer
 * there and nested floors are one. Blocks of columns with a smaller shift take 64-bit lanes. */
#include "ew_kernels.h"

#include <arm_neon.h>
#include <stddef.h>

#define EW_INLINE static inline __attribute__((always_inline))

EW_INLINE int64_t ew_round_shift(int64_t x, int32_t shift) { return (x + ((INT64_C(1) << shift) >> 1)) >> shift; }

EW_INLINE int32_t ew_clip(int64_t x, int32_t limit) {
  return (int32_t)(x > limit ? limit : x < -limit ? -limit : x);
}

/* sat32(round_shift(acc * multiplier, shift)) for any shift; minus: -shift. */
EW_INLINE int32x4_t ew_scale_wide(int32x4_t acc, int32x4_t multiplier, int32x4_t minus) {
  int64x2_t low = vmull_s32(vget_low_s32(acc), vget_low_s32(multiplier)), high = vmull_high_s32(acc, multiplier);
  low = vrshlq_s64(low, vmovl_s32(vget_low_s32(minus))), high = vrshlq_s64(high, vmovl_high_s32(minus));
  return vqmovn_high_s64(vqmovn_s64(low), high);
}

/* What is known as the code is made: a block has 4 * units columns. */
struct ew_block_kind {
  int units, bytes, biased, wide;
};

/* minus: 12 - shift and factor: the multiplier times 2^15; the shift's negative and the multiplier itself if wide. */
EW_INLINE void ew_requantise_block(const struct ew_block_kind kind, const int32_t *acc, int64_t ldacc, int32_t m,
                                   const int32x4_t bias[4], const int32x4_t factor[4], const int32x4_t minus[4],
                                   int32_t zero_point, void *out, int64_t ldout) {
  const int16x8_t zero = vdupq_n_s16((int16_t)zero_point);
  const int32x4_t zero32 = vdupq_n_s32(zero_point);
  do {
    int32x4_t x[4];
    int16x8_t y[2];
#pragma unroll
    for (int u = 0; u < kind.units; ++u) {
      x[u] = vld1q_s32(acc + 4 * u);
      if (kind.biased) x[u] = vaddq_s32(x[u], bias[u]);
      if (kind.wide) x[u] = vqaddq_s32(ew_scale_wide(x[u], factor[u], minus[u]), zero32);
      else x[u] = vrshlq_s32(vqdmulhq_s32(vshlq_n_s32(x[u], 4), factor[u]), minus[u]);
      if (kind.bytes == 2 && !kind.wide) x[u] = vaddq_s32(x[u], zero32);
    }
#pragma unroll
    for (int u = 0; u < kind.units; u += 2) {
      y[u / 2] = vqmovn_high_s32(vqmovn_s32(x[u]), x[u + 1]);
      if (kind.bytes == 1 && !kind.wide) y[u / 2] = vqaddq_s16(y[u / 2], zero);
      if (kind.bytes == 2) vst1q_s16((int16_t *)out + 4 * u, vmaxq_s16(y[u / 2], vdupq_n_s16(-32767)));
    }
    if (kind.bytes == 1 && kind.units == 4)
      vst1q_s8(out, vmaxq_s8(vqmovn_high_s16(vqmovn_s16(y[0]), y[1]), vdupq_n_s8(-127)));
    if (kind.bytes == 1 && kind.units == 2) vst1_s8(out, vmax_s8(vqmovn_s16(y[0]), vdup_n_s8(-127)));
    acc += ldacc, out = (char *)out + ldout * kind.bytes;
  } while (--m > 0);
}

/* A block of m rows; fits: the zero point may be added to 16 bits of a quotient that is then limited to 8. */
EW_INLINE void ew_requantise_columns(const int units, const int bytes, const int biased, const int fits,
                                     const int32_t *acc, int64_t ldacc, int32_t m, const int32_t *bias,
                                     const int32_t *multiplier, const int32_t *shift, int32_t zero_point, void *out,
                                     int64_t ldout) {
  int32x4_t factor[4], minus[4], add[4];
#pragma unroll
  for (int u = 0; u < units; ++u) {
    factor[u] = vld1q_s32(multiplier + 4 * u);
    minus[u] = vld1q_s32(shift + 4 * u);
    if (biased) add[u] = vld1q_s32(bias + 4 * u);
  }
  int32x4_t least = vminq_s32(minus[0], minus[1]);
  if (units == 4) least = vminq_s32(least, vminq_s32(minus[2], minus[3]));
  if (__builtin_expect(fits && vminvq_s32(least) >= 13, 1)) {
#pragma unroll
    for (int u = 0; u < units; ++u) {
      minus[u] = vsubq_s32(vdupq_n_s32(12), minus[u]);
      factor[u] = vshlq_n_s32(factor[u], 15);
    }
    const struct ew_block_kind kind = {units, bytes, biased, 0};
    ew_requantise_block(kind, acc, ldacc, m, add, factor, minus, zero_point, out, ldout);
  } else {
#pragma unroll
    for (int u = 0; u < units; ++u) minus[u] = vnegq_s32(minus[u]);
    const struct ew_block_kind kind = {units, bytes, biased, 1};
    ew_requantise_block(kind, acc, ldacc, m, add, factor, minus, zero_point, out, ldout);
  }
}

/* bias: NULL unless biased. */
EW_INLINE void ew_requantise_rows(const int bytes, const int biased, const int32_t *acc, int64_t ldacc, int32_t m,
                                  const int32_t *bias, const int32_t *multiplier, const int32_t *shift, int64_t n,
                                  int32_t zero_point, void *out, int64_t ldout) {
  const int fits = bytes == 2 || (zero_point >= -32000 && zero_point <= 32000);
  int64_t j = 0;
#define EW_COLUMNS(units)                                                                                 \
  ew_requantise_columns(units, bytes, biased, fits, acc + j, ldacc, m, biased ? bias + j : bias,          \
                        multiplier + j, shift + j, zero_point, (char *)out + j * bytes, ldout)
  for (; j + 16 <= n; j += 16) EW_COLUMNS(4);
  if (j + 8 <= n) {
    EW_COLUMNS(2);
    j += 8;
  }
  if (j < n && n >= 8) { /* the last 8 columns, some of them again */
    j = n - 8;
    EW_COLUMNS(2);
    return;
  }
#undef EW_COLUMNS
  for (; j < n; ++j)
    for (int32_t i = 0; i < m; ++i) {
      int64_t x = (int64_t)acc[i * ldacc + j] + (biased ? bias[j] : 0);
      x = ew_round_shift(x * multiplier[j], shift[j]) + zero_point;
      if (bytes == 1) ((int8_t *)out)[i * ldout + j] = (int8_t)ew_clip(x, 127);
      else ((int16_t *)out)[i * ldout + j] = (int16_t)ew_clip(x, 32767);
    }
}

#define EW_REQUANTISE(type, suffix)                                                                                    \
  void ew_requantise_##suffix(const int32_t *acc, const int32_t *multiplier, const int32_t *shift, int64_t n,          \
                              int32_t zero_point, type *out) {                                                         \
    ew_requantise_rows(sizeof(type), 0, acc, 0, 1, NULL, multiplier, shift, n, zero_point, out, 0);                       \
  }                                                                                                                    \
  void ew_requantise_bias_##suffix(const int32_t *acc, const int32_t *bias, const int32_t *multiplier,                 \
                                   const int32_t *shift, int64_t n, int32_t zero_point, type *out) {                   \
    ew_requantise_rows(sizeof(type), 1, acc, 0, 1, bias, multiplier, shift, n, zero_point, out, 0);                       \
  }                                                                                                                    \
  void ew_requantise_tile_##suffix(const int32_t *acc, int64_t ldacc, int32_t m, const int32_t *bias,                  \
                                   const int32_t *multiplier, const int32_t *shift, int64_t n, int32_t zero_point,     \
                                   type *out, int64_t ldout) {                                                         \
    ew_requantise_rows(sizeof(type), 1, acc, ldacc, m, bias, multiplier, shift, n, zero_point, out, ldout);               \
  }
EW_REQUANTISE(int8_t, s8)
EW_REQUANTISE(int16_t, s16)

/* Rounds a * m / 2^s to [-32767, 32767]; `m` holds m - 2^16, so that the product is a * 2^16 plus one of 16 bits. */
EW_INLINE int16x8_t ew_scale_s16(int16x8_t a, int16x4_t m, int32x4_t minus) {
  int32x4_t low = vmlal_s16(vshll_n_s16(vget_low_s16(a), 16), vget_low_s16(a), m);
  int32x4_t high = vmlal_high_s16(vshll_high_n_s16(a, 16), a, vcombine_s16(m, m));
  return vqmovn_high_s32(vqmovn_s32(vrshlq_s32(low, minus)), vrshlq_s32(high, minus));
}

EW_INLINE void ew_add_rows(const int plain_a, const int plain_b, const int16_t *a, const int16_t *b, int64_t n, int32_t ma,
                           int32_t sa, int32_t mb, int32_t sb, int16_t *out) {
  const int16x4_t fa = vdup_n_s16((int16_t)(ma - 65536)), fb = vdup_n_s16((int16_t)(mb - 65536));
  const int32x4_t minus_a = vdupq_n_s32(-sa), minus_b = vdupq_n_s32(-sb);
  const int16x8_t low = vdupq_n_s16(-32767);
  int64_t i = 0;
#pragma unroll 2
  for (; i + 8 <= n; i += 8) {
    int16x8_t x = vld1q_s16(a + i), y = vld1q_s16(b + i);
    x = vmaxq_s16(plain_a ? x : ew_scale_s16(x, fa, minus_a), low);
    y = vmaxq_s16(plain_b ? y : ew_scale_s16(y, fb, minus_b), low);
    vst1q_s16(out + i, vmaxq_s16(vqaddq_s16(x, y), low));
  }
  for (; i < n; ++i) {
    int32_t x = ew_clip(ew_round_shift((int64_t)a[i] * ma, sa), 32767);
    out[i] = (int16_t)ew_clip(x + ew_clip(ew_round_shift((int64_t)b[i] * mb, sb), 32767), 32767);
  }
}

void ew_add_requantised_s16(const int16_t *a, const int16_t *b, int64_t n, int32_t ma, int32_t sa, int32_t mb, int32_t sb,
                            int16_t *out) {
  const int plain_a = ma == 1 << 15 && sa == 15, plain_b = mb == 1 << 15 && sb == 15;
  if (plain_a && plain_b) ew_add_rows(1, 1, a, b, n, ma, sa, mb, sb, out);
  else if (plain_a) ew_add_rows(1, 0, a, b, n, ma, sa, mb, sb, out);
  else if (plain_b) ew_add_rows(0, 1, a, b, n, ma, sa, mb, sb, out);
  else ew_add_rows(0, 0, a, b, n, ma, sa, mb, sb, out);
}
