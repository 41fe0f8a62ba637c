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
  const float *row[8];
#pragma unroll
  for (int i = 0; i < m; ++i) row[i] = a + i * lda;
  int64_t p = 0;
  for (; p + 4 <= k; p += 4, b += 32) {
#pragma unroll
    for (int i = 0; i < m; ++i) x[i] = vld1q_f32(row[i] + p);
    EW_F32_STEP(0)
    EW_F32_STEP(1)
    EW_F32_STEP(2)
    EW_F32_STEP(3)
  }
  for (; p < k; ++p, b += 8) {
#pragma unroll
    for (int i = 0; i < m; ++i) x[i] = vld1q_dup_f32(row[i] + p);
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
  switch (m) {
    case 8: ew_tile_f32(8, 1, a, lda, b, k, acc, ldacc); break;
    case 7: ew_tile_f32(7, 1, a, lda, b, k, acc, ldacc); break;
    case 6: ew_tile_f32(6, 1, a, lda, b, k, acc, ldacc); break;
    case 5: ew_tile_f32(5, 1, a, lda, b, k, acc, ldacc); break;
    case 4: ew_tile_f32(4, 1, a, lda, b, k, acc, ldacc); break;
    case 3: ew_tile_f32(3, 2, a, lda, b, k, acc, ldacc); break;
    case 2: ew_tile_f32(2, 2, a, lda, b, k, acc, ldacc); break;
    case 1: ew_tile_f32(1, 4, a, lda, b, k, acc, ldacc); break;
  }
}

static inline void ew_transpose_f32(float32x4_t x[4]) {
  float32x4_t even0 = vtrn1q_f32(x[0], x[1]), odd0 = vtrn2q_f32(x[0], x[1]);
  float32x4_t even1 = vtrn1q_f32(x[2], x[3]), odd1 = vtrn2q_f32(x[2], x[3]);
  x[0] = vreinterpretq_f32_f64(vzip1q_f64(vreinterpretq_f64_f32(even0), vreinterpretq_f64_f32(even1)));
  x[1] = vreinterpretq_f32_f64(vzip1q_f64(vreinterpretq_f64_f32(odd0), vreinterpretq_f64_f32(odd1)));
  x[2] = vreinterpretq_f32_f64(vzip2q_f64(vreinterpretq_f64_f32(even0), vreinterpretq_f64_f32(even1)));
  x[3] = vreinterpretq_f32_f64(vzip2q_f64(vreinterpretq_f64_f32(odd0), vreinterpretq_f64_f32(odd1)));
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
  if (stride_k == 1)
    for (; p + 4 <= k; p += 4, panel += 32)
#pragma unroll
      for (int half = 0; half < 8; half += 4) {
        float32x4_t x[4];
#pragma unroll
        for (int j = 0; j < 4; ++j)
          x[j] = half + j < n ? vld1q_f32(b + (half + j) * stride_n + p) : vdupq_n_f32(0);
        ew_transpose_f32(x);
#pragma unroll
        for (int j = 0; j < 4; ++j) vst1q_f32(panel + 8 * j + half, x[j]);
      }
  for (; p < k; ++p, panel += 8)
    for (int j = 0; j < 8; ++j) panel[j] = j < n ? b[j * stride_n + p * stride_k] : 0.0f;
}
