/* Depthwise products on NEON: blocks of channels, whose sums stay in registers over all taps. */
#include "ew_kernels.h"

#include <arm_neon.h>

/* 8 * eights channels from c on. Two products of bytes fit 16 bits as long as one factor is not -128. */
static inline __attribute__((always_inline)) void ew_channels_s8(const int eights, const int8_t *const *rows,
                                                                 const int8_t *w, int64_t channels, int64_t c,
                                                                 int64_t taps, int32_t *acc) {
  int32x4_t sum[4][2];
#pragma unroll
  for (int u = 0; u < eights; ++u) sum[u][0] = sum[u][1] = vdupq_n_s32(0);
  int64_t t = 0;
  for (; t + 2 <= taps; t += 2) {
    const int8_t *x0 = rows[t] + c, *x1 = rows[t + 1] + c, *w0 = w + t * channels + c, *w1 = w0 + channels;
#pragma unroll
    for (int u = 0; u < eights; ++u) {
      int16x8_t pair = vmull_s8(vld1_s8(x0 + 8 * u), vld1_s8(w0 + 8 * u));
      pair = vmlal_s8(pair, vld1_s8(x1 + 8 * u), vld1_s8(w1 + 8 * u));
      sum[u][0] = vaddw_s16(sum[u][0], vget_low_s16(pair)), sum[u][1] = vaddw_high_s16(sum[u][1], pair);
    }
  }
  if (t < taps) {
#pragma unroll
    for (int u = 0; u < eights; ++u) {
      int16x8_t one = vmull_s8(vld1_s8(rows[t] + c + 8 * u), vld1_s8(w + t * channels + c + 8 * u));
      sum[u][0] = vaddw_s16(sum[u][0], vget_low_s16(one)), sum[u][1] = vaddw_high_s16(sum[u][1], one);
    }
  }
#pragma unroll
  for (int u = 0; u < eights; ++u) vst1q_s32(acc + c + 8 * u, sum[u][0]), vst1q_s32(acc + c + 8 * u + 4, sum[u][1]);
}

void ew_depthwise_s8(const int8_t *const *rows, const int8_t *w, int64_t channels, int64_t taps, int32_t *acc) {
  int64_t c = 0;
  for (; c + 32 <= channels; c += 32) ew_channels_s8(4, rows, w, channels, c, taps, acc);
  for (; c + 8 <= channels; c += 8) ew_channels_s8(1, rows, w, channels, c, taps, acc);
  if (c < channels && channels >= 8) {
    ew_channels_s8(1, rows, w, channels, channels - 8, taps, acc);
    return;
  }
  for (; c < channels; ++c) {
    int32_t sum = 0;
    for (int64_t t = 0; t < taps; ++t) sum += rows[t][c] * w[t * channels + c];
    acc[c] = sum;
  }
}

static inline __attribute__((always_inline)) void ew_channels_f32(const int fours, const float *const *rows,
                                                                  const float *w, int64_t channels, int64_t c,
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
