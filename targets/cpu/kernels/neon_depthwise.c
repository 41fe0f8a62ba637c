/* Depthwise products on NEON: blocks of channels, whose sums stay in registers over all taps. */
#include "ew_kernels.h"

#include <arm_neon.h>

#ifndef EW_INLINE
#define EW_INLINE static inline __attribute__((always_inline))
#endif

/* 16 channels from c on. Two products of bytes fit 16 bits as long as one factor is not -128. */
EW_INLINE void ew_channels16_s8(const int8_t *const *rows, const int8_t *w, int64_t channels, int64_t c, const int64_t taps,
                                int32_t *acc) {
  int32x4_t sum[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
  w += c;
  int64_t t = 0;
  for (; t < taps; t += 2) {
    int8x16_t x = vld1q_s8(rows[t] + c), y = vld1q_s8(w);
    w += channels;
    int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(y)), high = vmull_high_s8(x, y);
    if (t + 1 < taps) {
      x = vld1q_s8(rows[t + 1] + c), y = vld1q_s8(w);
      w += channels;
      low = vmlal_s8(low, vget_low_s8(x), vget_low_s8(y)), high = vmlal_high_s8(high, x, y);
    }
    sum[0] = vaddw_s16(sum[0], vget_low_s16(low)), sum[1] = vaddw_high_s16(sum[1], low);
    sum[2] = vaddw_s16(sum[2], vget_low_s16(high)), sum[3] = vaddw_high_s16(sum[3], high);
  }
#pragma unroll
  for (int u = 0; u < 4; ++u) vst1q_s32(acc + c + 4 * u, sum[u]);
}

EW_INLINE void ew_channels8_s8(const int8_t *const *rows, const int8_t *w, int64_t channels, int64_t c, int64_t taps,
                               int32_t *acc) {
  int32x4_t low = vdupq_n_s32(0), high = low;
  for (int64_t t = 0; t < taps; ++t) {
    int16x8_t product = vmull_s8(vld1_s8(rows[t] + c), vld1_s8(w + t * channels + c));
    low = vaddw_s16(low, vget_low_s16(product)), high = vaddw_high_s16(high, product);
  }
  vst1q_s32(acc + c, low), vst1q_s32(acc + c + 4, high);
}

void ew_depthwise_s8(const int8_t *const *rows, const int8_t *w, int64_t channels, int64_t taps, int32_t *acc) {
  int64_t c = 0;
  if (taps == 9) { /* 3 x 3: the pointers stay in registers */
    const int8_t *pixel[9];
#pragma unroll
    for (int t = 0; t < 9; ++t) pixel[t] = rows[t];
    for (; c + 16 <= channels; c += 16) ew_channels16_s8(pixel, w, channels, c, 9, acc);
  }
  for (; c + 16 <= channels; c += 16) ew_channels16_s8(rows, w, channels, c, taps, acc);
  if (c + 8 <= channels) {
    ew_channels8_s8(rows, w, channels, c, taps, acc);
    c += 8;
  }
  if (c < channels && channels >= 8) { /* the last 8, some of them again */
    ew_channels8_s8(rows, w, channels, channels - 8, taps, acc);
    return;
  }
  for (; c < channels; ++c) {
    int32_t sum = 0;
    for (int64_t t = 0; t < taps; ++t) sum += rows[t][c] * w[t * channels + c];
    acc[c] = sum;
  }
}

EW_INLINE void ew_channels_f32(const int fours, const float *const *rows, const float *w, int64_t channels, int64_t c,
                               int64_t taps, float *acc) {
  float32x4_t sum[8];
#pragma unroll
  for (int u = 0; u < fours; ++u) sum[u] = vdupq_n_f32(0);
  for (int64_t t = 0; t < taps; ++t)
#pragma unroll
    for (int u = 0; u < fours; ++u)
      sum[u] = vfmaq_f32(sum[u], vld1q_f32(rows[t] + c + 4 * u), vld1q_f32(w + t * channels + c + 4 * u));
#pragma unroll
  for (int u = 0; u < fours; ++u) vst1q_f32(acc + c + 4 * u, sum[u]);
}

void ew_depthwise_f32(const float *const *rows, const float *w, int64_t channels, int64_t taps, float *acc) {
  int64_t c = 0;
  for (; c + 32 <= channels; c += 32) ew_channels_f32(8, rows, w, channels, c, taps, acc);
  for (; c + 4 <= channels; c += 4) ew_channels_f32(1, rows, w, channels, c, taps, acc);
  if (c < channels && channels >= 4) {
    ew_channels_f32(1, rows, w, channels, channels - 4, taps, acc);
    return;
  }
  for (; c < channels; ++c) {
    float sum = 0;
    for (int64_t t = 0; t < taps; ++t) sum += rows[t][c] * w[t * channels + c];
    acc[c] = sum;
  }
}
