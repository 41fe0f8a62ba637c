/* Integer functions of one row on NEON: attention weights, LayerNorm, tables. After neon_requantise.c in its unit. */
#include "ew_kernels.h"
#include "tables.h"

#include <arm_neon.h>
#include <string.h>

/* 2^(-u / 256) for 0 <= u < 4096 as a weight. The mantissa 2^15 * 2^(-f / 256), f = u mod 256, is a polynomial in
 * 16-bit steps that differs from EXP2_TABLE by at most 1, and by nothing after the rounding to 8 bits: a test compares
 * all 4096 values. */
EW_INLINE uint16x8_t ew_weight(uint16x8_t u) {
  int16x8_t y = vreinterpretq_s16_u16(vshrq_n_u16(vshlq_n_u16(u, 8), 1)); /* f / 256 with 15 fractional bits */
  int16x8_t g = vsubq_s16(vdupq_n_s16(1705), vqrdmulhq_n_s16(y, 209));
  g = vsubq_s16(vdupq_n_s16(7814), vqrdmulhq_s16(y, g));
  g = vqrdmulhq_s16(y, vsubq_s16(vdupq_n_s16(22702), vqrdmulhq_s16(y, g)));
  uint16x8_t mantissa = vsubq_u16(vdupq_n_u16(32768), vreinterpretq_u16_s16(g));
  int16x8_t minus = vsubq_s16(vdupq_n_s16(-7), vreinterpretq_s16_u16(vshrq_n_u16(u, 8)));
  return vminq_u16(vrshlq_u16(mantissa, minus), vdupq_n_u16(254));
}

/* 16 weights; factor: the multiplier times 2^15, minus: 12 - shift, as in neon_requantise.c. A distance of 2^27 or more
 * saturates, which is exact for shifts up to 30: the weight is 0 there as it is for 2^27. */
EW_INLINE uint8x16_t ew_weights16(const int32_t *scores, int32x4_t largest, int32x4_t factor, int32x4_t minus) {
  int32x4_t d[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    d[i] = vqshlq_n_s32(vqsubq_s32(largest, vld1q_s32(scores + 4 * i)), 4);
    d[i] = vrshlq_s32(vqdmulhq_s32(d[i], factor), minus);
  }
  const int16x8_t limit = vdupq_n_s16(4095);
  int16x8_t low = vminq_s16(vqmovn_high_s32(vqmovn_s32(d[0]), d[1]), limit);
  int16x8_t high = vminq_s16(vqmovn_high_s32(vqmovn_s32(d[2]), d[3]), limit);
  uint16x8_t first = ew_weight(vreinterpretq_u16_s16(low)), second = ew_weight(vreinterpretq_u16_s16(high));
  return vuzp1q_u8(vreinterpretq_u8_u16(first), vreinterpretq_u8_u16(second));
}

static int32_t ew_attention_weights_wide(const int32_t *scores, int64_t n, int32_t largest, int32_t multiplier,
                                         int32_t shift, uint8_t *weights) {
  int32_t total = 0;
  for (int64_t i = 0; i < n; ++i) {
    int64_t u = ew_round_shift(((int64_t)largest - scores[i]) * multiplier, shift);
    if (u > 4095) u = 4095;
    int32_t weight = ((ew_exp2_table[u & 255] >> (u >> 8)) + 64) >> 7;
    weights[i] = (uint8_t)(weight > 254 ? 254 : weight);
    total += weights[i];
  }
  return total;
}

int32_t ew_attention_weights(const int32_t *scores, int64_t n, int32_t multiplier, int32_t shift, uint8_t *weights) {
  int32x4_t top[4];
  int64_t i = 0;
#pragma unroll
  for (int j = 0; j < 4; ++j) top[j] = vdupq_n_s32(scores[0]);
#pragma unroll 2
  for (; i + 16 <= n; i += 16)
#pragma unroll
    for (int j = 0; j < 4; ++j) top[j] = vmaxq_s32(top[j], vld1q_s32(scores + i + 4 * j));
  if (i < n && n >= 4) {
    for (; i + 4 <= n; i += 4) top[0] = vmaxq_s32(top[0], vld1q_s32(scores + i));
    top[0] = vmaxq_s32(top[0], vld1q_s32(scores + n - 4));
  }
  if (n < 4)
    for (; i < n; ++i) top[0] = vmaxq_s32(top[0], vdupq_n_s32(scores[i]));
  const int32_t largest = vmaxvq_s32(vmaxq_s32(vmaxq_s32(top[0], top[1]), vmaxq_s32(top[2], top[3])));
  if (shift < 13 || shift > 30) return ew_attention_weights_wide(scores, n, largest, multiplier, shift, weights);
  const int32x4_t from = vdupq_n_s32(largest), factor = vdupq_n_s32((int32_t)((uint32_t)multiplier << 15));
  const int32x4_t minus = vdupq_n_s32(12 - shift);
  int32_t total = 0;
  for (i = 0; i + 16 <= n;) {
    int64_t end = i + 2048 <= n ? i + 2048 : n; /* 128 * 2 * 254 < 2^16 */
    uint16x8_t sum = vdupq_n_u16(0);
    for (; i + 16 <= end; i += 16) {
      uint8x16_t w = ew_weights16(scores + i, from, factor, minus);
      vst1q_u8(weights + i, w);
      sum = vpadalq_u8(sum, w);
    }
    total += (int32_t)vaddlvq_u16(sum);
  }
  if (i < n && n >= 16) {
    static const uint8_t fresh[32] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255,
                                      255, 255, 255, 255, 255, 255, 255, 255, 255};
    uint8x16_t w = ew_weights16(scores + n - 16, from, factor, minus);
    vst1q_u8(weights + n - 16, w);
    total += (int32_t)vaddlvq_u8(vandq_u8(w, vld1q_u8(fresh + (n - i))));
  } else if (i < n) {
    int32_t rest[16];
    uint8_t w[16];
    for (int j = 0; j < 16; ++j) rest[j] = i + j < n ? scores[i + j] : largest;
    vst1q_u8(w, ew_weights16(rest, from, factor, minus));
    for (int j = 0; i < n; ++i, ++j) weights[i] = w[j], total += w[j];
  }
  return total;
}

static int64_t ew_inverse_square_root(int64_t v, int32_t *e) {
  *e = (63 - __builtin_clzll((uint64_t)v)) / 2;
  int64_t m16 = 2 * *e <= 16 ? v << (16 - 2 * *e) : v >> (2 * *e - 16);
  int64_t y0 = ew_rsqrt_table[m16 >> 10];
  int64_t q0 = (y0 * y0) >> 14;
  return ew_round_shift(y0 * ((3 << 16) - ((m16 * q0) >> 16)), 16);
}

/* sat32(round_shift(z * multiplier + offset, shift)) of 4 values; minus: -shift. */
EW_INLINE int32x4_t ew_affine(int32x4_t z, const int32_t *multiplier, const int64_t *offset, int64x2_t minus) {
  int32x4_t m = vld1q_s32(multiplier);
  int64x2_t low = vmlal_s32(vld1q_s64(offset), vget_low_s32(z), vget_low_s32(m));
  int64x2_t high = vmlal_high_s32(vld1q_s64(offset + 2), z, m);
  return vqmovn_high_s64(vqmovn_s64(vrshlq_s64(low, minus)), vrshlq_s64(high, minus));
}

EW_INLINE void ew_store8_s8(int8_t *out, int16x8_t y) { vst1_s8(out, vmax_s8(vqmovn_s16(y), vdup_n_s8(-127))); }
EW_INLINE void ew_store8_s16(int16_t *out, int16x8_t y) { vst1q_s16(out, vmaxq_s16(y, vdupq_n_s16(-32767))); }

/* narrow: e >= 10, so that 32-bit lanes suffice: with n 2^4 and y 2^14, SQDMULH gives floor(d y / 2^13). */
#define LAYER_NORM_PART(type, suffix)                                                                                  \
  EW_INLINE int64_t ew_layer_norm_part_##suffix(const int narrow, const int16_t *x, const int32_t *multiplier,         \
                                       const int64_t *offset, int64_t n, int64_t sum, int64_t y, int32_t e, int32_t shift, \
                                       type *out) {                                                                    \
    const int16x4_t count = vdup_n_s16((int16_t)(narrow ? 16 * n : n));                                                \
    const int32x4_t start = vdupq_n_s32((int32_t)(narrow ? -16 * sum : -sum));                                         \
    const int32x4_t factor = vdupq_n_s32((int32_t)(narrow ? y << 14 : y)), step = vdupq_n_s32(9 - e);                  \
    const int64x2_t minus = vdupq_n_s64(-shift);                                                                       \
    int64_t i = 0;                                                                                                     \
  _Pragma("unroll 2")                                                                                                  \
    for (; i + 8 <= n; i += 8) {                                                                                       \
      int16x8_t v = vld1q_s16(x + i);                                                                                  \
      int32x4_t z[2] = {vmlal_s16(start, vget_low_s16(v), count), vmlal_high_s16(start, v, vcombine_s16(count, count))}; \
  _Pragma("unroll")                                                                                                    \
      for (int h = 0; h < 2; ++h) {                                                                                    \
        z[h] = narrow ? vrshlq_s32(vqdmulhq_s32(z[h], factor), step) : ew_scale_wide(z[h], factor, vdupq_n_s32(-e - 4)); \
        z[h] = ew_affine(z[h], multiplier + i + 4 * h, offset + i + 4 * h, minus);                                     \
      }                                                                                                                \
      ew_store8_##suffix(out + i, vqmovn_high_s32(vqmovn_s32(z[0]), z[1]));                                            \
    }                                                                                                                  \
    return i;                                                                                                          \
  }
LAYER_NORM_PART(int8_t, s8)
LAYER_NORM_PART(int16_t, s16)

/* centred: 1 for LayerNorm, 0 for RMSNorm, which has no mean. */
#define LAYER_NORM(name, type, suffix, limit, centred)                                                                 \
  name(const int16_t *x, const int32_t *multiplier, const int64_t *offset, int64_t n, int64_t eps_term, int32_t shift, \
       type *out) {                                                                                                    \
    int32x4_t sums = vdupq_n_s32(0);                                                                                   \
    uint64x2_t products[2] = {vdupq_n_u64(0), vdupq_n_u64(0)};                                                         \
    int64_t i = 0;                                                                                                     \
  _Pragma("unroll 2")                                                                                                  \
    for (; i + 8 <= n; i += 8) {                                                                                       \
      int16x8_t v = vld1q_s16(x + i);                                                                                  \
      sums = vpadalq_s16(sums, v);                                                                                     \
      int32x4_t low = vmull_s16(vget_low_s16(v), vget_low_s16(v)), high = vmull_high_s16(v, v);                        \
      products[0] = vpadalq_u32(products[0], vreinterpretq_u32_s32(low));                                              \
      products[1] = vpadalq_u32(products[1], vreinterpretq_u32_s32(high));                                             \
    }                                                                                                                  \
    int64_t sum = vaddvq_s32(sums), squares = (int64_t)vaddvq_u64(vaddq_u64(products[0], products[1]));                \
    for (; i < n; ++i) sum += x[i], squares += (int32_t)x[i] * x[i];                                                   \
    if (!centred) sum = 0;                                                                                             \
    int32_t e;                                                                                                         \
    const int64_t y = ew_inverse_square_root(n * squares - sum * sum + eps_term, &e);                                  \
    if (e >= 10) i = ew_layer_norm_part_##suffix(1, x, multiplier, offset, n, sum, y, e, shift, out);                  \
    else i = ew_layer_norm_part_##suffix(0, x, multiplier, offset, n, sum, y, e, shift, out);                          \
    for (; i < n; ++i) {                                                                                               \
      int64_t z = ew_round_shift((n * x[i] - sum) * y, e + 4);                                                         \
      out[i] = (type)ew_clip(ew_round_shift(z * multiplier[i] + offset[i], shift), limit);                             \
    }                                                                                                                  \
  }
LAYER_NORM(void ew_layer_norm_s16, int8_t, s8, 127, 1)
LAYER_NORM(void ew_layer_norm_s16_s16, int16_t, s16, 32767, 1)
LAYER_NORM(static void ew_rms_norm_s16, int8_t, s8, 127, 0)
LAYER_NORM(static void ew_rms_norm_s16_s16, int16_t, s16, 32767, 0)

EW_INLINE int8x16_t ew_look_up(const int8x16x4_t quarter[4], int8x16_t x) {
  uint8x16_t index = veorq_u8(vreinterpretq_u8_s8(x), vdupq_n_u8(128));
  int8x16_t found = vqtbl4q_s8(quarter[0], index);
#pragma unroll
  for (int i = 1; i < 4; ++i) {
    index = vsubq_u8(index, vdupq_n_u8(64));
    found = vqtbx4q_s8(found, quarter[i], index);
  }
  return found;
}

void ew_table_s8(const int8_t *x, const int8_t *table, int64_t n, int8_t *out) {
  int64_t i = 0;
  if (n >= 16) {
    int8x16x4_t quarter[4];
#pragma unroll
    for (int q = 0; q < 16; ++q) quarter[q / 4].val[q % 4] = vld1q_s8(table + 16 * q);
    for (; i + 16 <= n; i += 16) vst1q_s8(out + i, ew_look_up(quarter, vld1q_s8(x + i)));
  }
  for (; i < n; ++i) out[i] = table[x[i] + 128];
}
