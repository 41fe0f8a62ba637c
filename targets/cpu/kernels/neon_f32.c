/* float32 products and their panels for 128-bit NEON: 8 x 8 tiles, 16 accumulators fed by FMLA by lane. */
#include "ew_kernels.h"

#include <arm_neon.h>
#include <string.h>

#if EW_F32_MR != 8 || EW_F32_NR != 8
#error "neon_f32.c has tiles of 8 x 8"
#endif

/* One value of k: lane `lane` of the rows times one row of the panel. Sums of one row are split over `split` sets of
 * accumulators, since two chains alone would wait for each FMLA. */
#define EW_F32_STEP(lane)                                                                    \
  {                                                                                          \
    float32x4_t b0 = vld1q_f32(b + 8 * (lane)), b1 = vld1q_f32(b + 8 * (lane) + 4);          \
    _Pragma("unroll") for (int i = 0; i < m; ++i) {                                          \
      sum[(lane) % split][i][0] = vfmaq_laneq_f32(sum[(lane) % split][i][0], b0, x[i], lane); \
      sum[(lane) % split][i][1] = vfmaq_laneq_f32(sum[(lane) % split][i][1], b1, x[i], lane); \
    }                                                                                        \
  }

static inline __attribute__((always_inline)) void ew_tile_f32(const int m, const int split, const float *a, int64_t lda,
                                                              const float *b, int64_t k, float *acc, int64_t ldacc) {
  float32x4_t sum[4][8][2], x[8];
#pragma unroll
  for (int s = 0; s < split; ++s)
#pragma unroll
    for (int i = 0; i < m; ++i) sum[s][i][0] = sum[s][i][1] = vdupq_n_f32(0);
  const char *row[8];
#pragma unroll
  for (int i = 0; i < m; ++i) {
    row[i] = (const char *)(a + i * lda);
    __asm__("" : "+r"(row[i])); /* eight addresses and one offset: otherwise each is recomputed in the loop */
  }
  int64_t at = 0;
  for (const int64_t end = k / 4 * 16; at < end; at += 16, b += 32) {
#pragma unroll
    for (int i = 0; i < m; ++i) x[i] = vld1q_f32((const float *)(row[i] + at));
    EW_F32_STEP(0)
    EW_F32_STEP(1)
    EW_F32_STEP(2)
    EW_F32_STEP(3)
  }
  for (; at < 4 * k; at += 4, b += 8) {
#pragma unroll
    for (int i = 0; i < m; ++i) x[i] = vld1q_dup_f32((const float *)(row[i] + at));
    EW_F32_STEP(0)
  }
#pragma unroll
  for (int i = 0; i < m; ++i)
#pragma unroll
    for (int j = 0; j < 2; ++j) {
#pragma unroll
      for (int s = 1; s < split; ++s) sum[0][i][j] = vaddq_f32(sum[0][i][j], sum[s][i][j]);
      vst1q_f32(acc + i * ldacc + 4 * j, sum[0][i][j]);
    }
}

void ew_gemm_f32(const float *a, int64_t lda, const float *b, int64_t k, float *acc, int64_t ldacc, int32_t m) {
  if (__builtin_expect(m == 8, 1)) {
    ew_tile_f32(8, 1, a, lda, b, k, acc, ldacc);
    return;
  }
  switch (m) {
    case 7: ew_tile_f32(7, 1, a, lda, b, k, acc, ldacc); break;
    case 6: ew_tile_f32(6, 1, a, lda, b, k, acc, ldacc); break;
    case 5: ew_tile_f32(5, 1, a, lda, b, k, acc, ldacc); break;
    case 4: ew_tile_f32(4, 1, a, lda, b, k, acc, ldacc); break;
    case 3: ew_tile_f32(3, 2, a, lda, b, k, acc, ldacc); break;
    case 2: ew_tile_f32(2, 2, a, lda, b, k, acc, ldacc); break;
    case 1: ew_tile_f32(1, 4, a, lda, b, k, acc, ldacc); break;
  }
}

/* 4 values of k of 4 columns, of which those from n on are zero, to 4 rows of the panel. */
static inline __attribute__((always_inline)) void ew_transposed_f32(int n, const float *b, int64_t stride, float *panel) {
  const float32x4_t zero = vdupq_n_f32(0);
  float32x4_t x0 = n > 0 ? vld1q_f32(b) : zero, x1 = n > 1 ? vld1q_f32(b + stride) : zero;
  float32x4_t x2 = n > 2 ? vld1q_f32(b + 2 * stride) : zero, x3 = n > 3 ? vld1q_f32(b + 3 * stride) : zero;
  float32x4_t a = vzip1q_f32(x0, x2), b0 = vzip1q_f32(x1, x3), c = vzip2q_f32(x0, x2), d = vzip2q_f32(x1, x3);
  vst1q_f32(panel, vzip1q_f32(a, b0)), vst1q_f32(panel + 8, vzip2q_f32(a, b0));
  vst1q_f32(panel + 16, vzip1q_f32(c, d)), vst1q_f32(panel + 24, vzip2q_f32(c, d));
}

void ew_pack_b_f32(const float *b, int64_t stride_n, int64_t stride_k, int32_t n, int64_t k, float *panel) {
  int64_t p = 0;
  if (stride_n == 1 && n == 8) {
    for (; p < k; ++p, b += stride_k, panel += 8) {
      float32x4_t low = vld1q_f32(b), high = vld1q_f32(b + 4);
      vst1q_f32(panel, low), vst1q_f32(panel + 4, high);
    }
    return;
  }
  if (stride_k == 1 && n == 8) {
    for (; p + 4 <= k; p += 4, panel += 32)
      ew_transposed_f32(8, b + p, stride_n, panel), ew_transposed_f32(8, b + p + 4 * stride_n, stride_n, panel + 4);
  } else if (stride_k == 1) {
    for (; p + 4 <= k; p += 4, panel += 32)
      for (int j = 0; j < 8; j += 4) ew_transposed_f32(n - j, b + p + j * stride_n, stride_n, panel + j);
  }
  for (; p < k; ++p, panel += 8)
    for (int j = 0; j < 8; ++j) panel[j] = j < n ? b[j * stride_n + p * stride_k] : 0.0f;
}
