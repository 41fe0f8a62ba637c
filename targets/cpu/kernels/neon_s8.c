/* int8 products and their panels for NEON without dot products (Cortex-A57, A72).
 *
 * Pairs of k: SMULL and SMLAL make int16 sums of two products, exact since 2 * 127 * 127 < 2^15, which SADALP adds to
 * int32 in pairs of lanes, so a lane of the accumulators is a column. The pairs of a row are spread by DUP. */
#include "ew_kernels.h"
#include "neon_pack.h"

#if EW_S8_MR != 8 || EW_S8_NR != 16 || EW_KA != 2 || EW_KB != 2 || EW_S8_OFFSET != 0
#error "neon_s8.c has tiles of 8 x 16 and pairs of k"
#endif

void ew_pack_a_s8(const int8_t *a, int64_t lda, int32_t m, int64_t k, void *panel) {
  ew_pack_rows8(2, (const uint8_t *)a, lda, m, k, 0, panel, 16);
}

void ew_pack_a_u8(const uint8_t *a, int64_t lda, int32_t m, int64_t k, void *panel) {
  ew_pack_rows8(2, a, lda, m, k, EW_U8_OFFSET, panel, 16);
}

static void ew_column_sums(const int8_t *panel, int64_t pairs, int32_t *colsum) {
  int32x4_t sum[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
  while (pairs) {
    int64_t some = pairs < 128 ? pairs : 128; /* 128 * 2 * 127 < 2^15 */
    int16x8_t low = vdupq_n_s16(0), high = low;
    for (int64_t p = 0; p < some; ++p, panel += 32) {
      low = vpadalq_s8(low, vld1q_s8(panel));
      high = vpadalq_s8(high, vld1q_s8(panel + 16));
    }
    sum[0] = vaddw_s16(sum[0], vget_low_s16(low)), sum[1] = vaddw_high_s16(sum[1], low);
    sum[2] = vaddw_s16(sum[2], vget_low_s16(high)), sum[3] = vaddw_high_s16(sum[3], high);
    pairs -= some;
  }
  for (int i = 0; i < 4; ++i) vst1q_s32(colsum + 4 * i, sum[i]);
}

void ew_pack_b_s8(const int8_t *b, int64_t stride_n, int64_t stride_k, int32_t n, int64_t k, int8_t *panel,
                  int32_t *colsum) {
  uint8_t *out = (uint8_t *)panel;
  if (stride_k == 1) {
    ew_pack_rows8(2, (const uint8_t *)b, stride_n, n < 8 ? n : 8, k, 0, out, 32);
    if (n > 8) ew_pack_rows8(2, (const uint8_t *)b + 8 * stride_n, stride_n, n - 8, k, 0, out + 16, 32);
    ew_clear_columns(16, 2, n, k, out);
  } else if (stride_n == 1) {
    struct ew_columns rows = ew_columns_of(16, b, stride_k, n, k);
    int64_t p = 0;
    for (; p + 2 <= rows.safe; p += 2, out += 32) {
      uint8x16x2_t pair = {{ew_columns_whole(16, &rows, p), ew_columns_whole(16, &rows, p + 1)}};
      vst2q_u8(out, pair);
    }
    for (; p < k; p += 2, out += 32) {
      uint8x16x2_t pair = {{ew_columns_row(16, &rows, p), ew_columns_row(16, &rows, p + 1)}};
      vst2q_u8(out, pair);
    }
  } else {
    for (int64_t p = 0; p < k; p += 2)
      for (int j = 0; j < 16; ++j, out += 2)
        for (int t = 0; t < 2; ++t) out[t] = j < n && p + t < k ? (uint8_t)b[j * stride_n + (p + t) * stride_k] : 0;
  }
  ew_column_sums(panel, (k + 1) / 2, colsum);
}

EW_INLINE void ew_tile_s8(const int m, const int8_t *a, const int8_t *b, int64_t k, int32_t *acc, int64_t ldacc) {
  int32x4_t sum[4][4];
#pragma unroll
  for (int i = 0; i < m; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) sum[i][j] = vdupq_n_s32(0);
#define EW_S8_ROW(i)                                                                                       \
  if (i < m) {                                                                                             \
    int8x16_t x0 = vreinterpretq_s8_s16(m == 1 ? vld1q_dup_s16((const int16_t *)a) : vdupq_lane_s16(a0, i)); \
    int8x16_t x1 = vreinterpretq_s8_s16(m == 1 ? vld1q_dup_s16((const int16_t *)(a + 16)) : vdupq_lane_s16(a1, i)); \
    int16x8_t t0 = vmull_s8(vget_low_s8(b0), vget_low_s8(x0)), t1 = vmull_high_s8(b0, x0);                 \
    int16x8_t t2 = vmull_s8(vget_low_s8(b1), vget_low_s8(x0)), t3 = vmull_high_s8(b1, x0);                 \
    t0 = vmlal_s8(t0, vget_low_s8(b2), vget_low_s8(x1)), t1 = vmlal_high_s8(t1, b2, x1);                   \
    t2 = vmlal_s8(t2, vget_low_s8(b3), vget_low_s8(x1)), t3 = vmlal_high_s8(t3, b3, x1);                   \
    sum[i][0] = vpadalq_s16(sum[i][0], t0), sum[i][1] = vpadalq_s16(sum[i][1], t1);                        \
    sum[i][2] = vpadalq_s16(sum[i][2], t2), sum[i][3] = vpadalq_s16(sum[i][3], t3);                        \
  }
#pragma unroll 2
  for (; k > 2; k -= 4, a += 32, b += 64) {
    int16x4_t a0 = vreinterpret_s16_s8(vld1_s8(a)), a1 = vreinterpret_s16_s8(vld1_s8(a + 16));
    int8x16_t b0 = vld1q_s8(b), b1 = vld1q_s8(b + 16), b2 = vld1q_s8(b + 32), b3 = vld1q_s8(b + 48);
    EW_S8_ROW(0)
    EW_S8_ROW(1)
    EW_S8_ROW(2)
    EW_S8_ROW(3)
  }
  if (k > 0) {
    const int8x16_t b2 = vdupq_n_s8(0), b3 = b2;
    int16x4_t a0 = vreinterpret_s16_s8(vld1_s8(a)), a1 = a0;
    int8x16_t b0 = vld1q_s8(b), b1 = vld1q_s8(b + 16);
    EW_S8_ROW(0)
    EW_S8_ROW(1)
    EW_S8_ROW(2)
    EW_S8_ROW(3)
  }
#undef EW_S8_ROW
#pragma unroll
  for (int i = 0; i < m; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) vst1q_s32(acc + i * ldacc + 4 * j, sum[i][j]);
}

void ew_gemm_s8(const void *a_panel, const int8_t *b_panel, int64_t k, int32_t *acc, int64_t ldacc, int32_t m) {
  const int8_t *a = a_panel;
  for (; m >= 4; m -= 4, a += 8, acc += 4 * ldacc) ew_tile_s8(4, a, b_panel, k, acc, ldacc);
  switch (m) {
    case 3: ew_tile_s8(3, a, b_panel, k, acc, ldacc); break;
    case 2: ew_tile_s8(2, a, b_panel, k, acc, ldacc); break;
    case 1: ew_tile_s8(1, a, b_panel, k, acc, ldacc); break;
  }
}
