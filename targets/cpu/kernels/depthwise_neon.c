/* Depthwise lines of bytes on NEON: two products fit 16 bits as long as one factor is not -128. */
#include "ew_kernels.h"

#include <arm_neon.h>
#include <string.h>

/* `many` pixels, 16 channels. */
EW_INLINE void ew_pixels_s8(const int many, const int8_t *x, const int64_t *offsets, int64_t taps, int64_t step,
                            const int8_t *w, const int32_t *bias, int64_t channels, int32_t *out) {
  int32x4_t sum[4][4];
#pragma unroll
  for (int p = 0; p < many; ++p)
#pragma unroll
    for (int v = 0; v < 4; ++v) sum[p][v] = vld1q_s32(bias + 4 * v);
  for (int64_t t = 0; t < taps; t += 2, w += 2 * channels) {
    const int two = t + 1 < taps;
    const int8_t *a = x + offsets[t], *b = two ? x + offsets[t + 1] : a;
    int8x16_t u = vld1q_s8(w), v = two ? vld1q_s8(w + channels) : vdupq_n_s8(0);
#pragma unroll
    for (int p = 0; p < many; ++p) {
      int8x16_t first = vld1q_s8(a + p * step), second = vld1q_s8(b + p * step);
      int16x8_t low = vmull_s8(vget_low_s8(first), vget_low_s8(u)), high = vmull_high_s8(first, u);
      low = vmlal_s8(low, vget_low_s8(second), vget_low_s8(v)), high = vmlal_high_s8(high, second, v);
      sum[p][0] = vaddw_s16(sum[p][0], vget_low_s16(low)), sum[p][1] = vaddw_high_s16(sum[p][1], low);
      sum[p][2] = vaddw_s16(sum[p][2], vget_low_s16(high)), sum[p][3] = vaddw_high_s16(sum[p][3], high);
    }
  }
#pragma unroll
  for (int p = 0; p < many; ++p)
#pragma unroll
    for (int v = 0; v < 4; ++v) vst1q_s32(out + p * channels + 4 * v, sum[p][v]);
}

/* 8 channels of one pixel. */
EW_INLINE void ew_eight_s8(const int8_t *x, const int64_t *offsets, int64_t taps, const int8_t *w, const int32_t *bias,
                           int64_t channels, int32_t *out) {
  int32x4_t low = vld1q_s32(bias), high = vld1q_s32(bias + 4);
  for (int64_t t = 0; t < taps; ++t) {
    int16x8_t product = vmull_s8(vld1_s8(x + offsets[t]), vld1_s8(w + t * channels));
    low = vaddw_s16(low, vget_low_s16(product)), high = vaddw_high_s16(high, product);
  }
  vst1q_s32(out, low), vst1q_s32(out + 4, high);
}

/* The last channels may be done again in part. */
static void ew_line_s8(const int8_t *x, const int64_t *offsets, int64_t taps, int64_t step, const int8_t *w,
                       const int32_t *bias, int64_t channels, int64_t pixels, int32_t *out) {
  for (int64_t c = 0; channels >= 16 && c < channels; c += 16) {
    int64_t at = c + 16 <= channels ? c : channels - 16, p = 0;
    for (; p + 4 <= pixels; p += 4)
      ew_pixels_s8(4, x + p * step + at, offsets, taps, step, w + at, bias + at, channels, out + p * channels + at);
    for (; p < pixels; ++p)
      ew_pixels_s8(1, x + p * step + at, offsets, taps, step, w + at, bias + at, channels, out + p * channels + at);
  }
  for (; channels < 16 && pixels > 0; --pixels, x += step, out += channels) {
    if (channels >= 8) {
      ew_eight_s8(x, offsets, taps, w, bias, channels, out);
      int64_t at = channels - 8;
      ew_eight_s8(x + at, offsets, taps, w + at, bias + at, channels, out + at);
    } else {
      for (int64_t c = 0; c < channels; ++c) {
        int32_t sum = bias[c];
        for (int64_t t = 0; t < taps; ++t) sum += x[offsets[t] + c] * w[t * channels + c];
        out[c] = sum;
      }
    }
  }
}

#ifndef __ARM_FEATURE_DOTPROD
void ew_depthwise_line_s8(const int8_t *x, const int64_t *offsets, int64_t taps, int64_t step, const int8_t *w,
                          const int32_t *bias, int64_t channels, int64_t pixels, int32_t *out) {
  ew_line_s8(x, offsets, taps, step, w, bias, channels, pixels, out);
}
#endif
