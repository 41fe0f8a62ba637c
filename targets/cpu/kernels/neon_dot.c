/* int8 products and their panels for processors with SDOT, and with SMMLA where EW_KB is 8: tiles of 8 x 8. */
#include "ew_kernels.h"
#include "neon_pack.h"

#if EW_S8_MR != 8 || EW_S8_NR != 8 || EW_KA != EW_KB || (EW_KB != 4 && EW_KB != 8) || EW_S8_OFFSET != 0
#error "neon_dot.c has tiles of 8 x 8 and groups of 4 or 8 values of k"
#endif

void ew_pack_a_s8(const int8_t *a, int64_t lda, int32_t m, int64_t k, void *panel) {
  ew_pack_rows8(EW_KA, (const uint8_t *)a, lda, m, k, 0, panel, 8 * EW_KA);
}

void ew_pack_a_u8(const uint8_t *a, int64_t lda, int32_t m, int64_t k, void *panel) {
  ew_pack_rows8(EW_KA, a, lda, m, k, EW_U8_OFFSET, panel, 8 * EW_KA);
}

/* 8 columns of EW_KB rows of b as a block of the panel. */
EW_INLINE void ew_block(const uint8x16_t x[EW_KB], uint8_t *out) {
#if EW_KB == 4
  uint8x8x4_t all = {{vget_low_u8(x[0]), vget_low_u8(x[1]), vget_low_u8(x[2]), vget_low_u8(x[3])}};
  vst4_u8(out, all);
#else
  uint8x16_t a = vzip1q_u8(x[0], x[4]), b = vzip1q_u8(x[2], x[6]), c = vzip1q_u8(x[1], x[5]), d = vzip1q_u8(x[3], x[7]);
  uint8x16_t even0 = vzip1q_u8(a, b), even1 = vzip2q_u8(a, b), odd0 = vzip1q_u8(c, d), odd1 = vzip2q_u8(c, d);
  vst1q_u8(out, vzip1q_u8(even0, odd0)), vst1q_u8(out + 16, vzip2q_u8(even0, odd0));
  vst1q_u8(out + 32, vzip1q_u8(even1, odd1)), vst1q_u8(out + 48, vzip2q_u8(even1, odd1));
#endif
}

static void ew_column_sums(const int8_t *panel, int64_t groups, int32_t *colsum) {
  const int8x16_t one = vdupq_n_s8(1);
  int32x4_t sum[EW_KB / 2];
  for (int i = 0; i < EW_KB / 2; ++i) sum[i] = vdupq_n_s32(0);
  for (int64_t g = 0; g < groups; ++g, panel += 8 * EW_KB)
#pragma unroll
    for (int i = 0; i < EW_KB / 2; ++i) sum[i] = vdotq_s32(sum[i], vld1q_s8(panel + 16 * i), one);
#if EW_KB == 4
  vst1q_s32(colsum, sum[0]), vst1q_s32(colsum + 4, sum[1]);
#else
  vst1q_s32(colsum, vpaddq_s32(sum[0], sum[1])), vst1q_s32(colsum + 4, vpaddq_s32(sum[2], sum[3]));
#endif
}

void ew_pack_b_s8(const int8_t *b, int64_t stride_n, int64_t stride_k, int32_t n, int64_t k, int8_t *panel,
                  int32_t *colsum) {
  uint8_t *out = (uint8_t *)panel;
  if (stride_k == 1) {
    ew_pack_rows8(EW_KB, (const uint8_t *)b, stride_n, n, k, 0, out, 8 * EW_KB);
    ew_clear_columns(8, EW_KB, n, k, out);
  } else if (stride_n == 1) {
    struct ew_columns rows = ew_columns_of(8, b, stride_k, n, k);
    uint8x16_t x[EW_KB];
    int64_t p = 0;
    for (; p + EW_KB <= rows.safe; p += EW_KB, out += 8 * EW_KB) {
#pragma unroll
      for (int t = 0; t < EW_KB; ++t) x[t] = ew_columns_whole(8, &rows, p + t);
      ew_block(x, out);
    }
    for (; p < k; p += EW_KB, out += 8 * EW_KB) {
      for (int t = 0; t < EW_KB; ++t) x[t] = ew_columns_row(8, &rows, p + t);
      ew_block(x, out);
    }
  } else {
    for (int64_t p = 0; p < k; p += EW_KB)
      for (int j = 0; j < 8; ++j, out += EW_KB)
        for (int t = 0; t < EW_KB; ++t)
          out[t] = j < n && p + t < k ? (uint8_t)b[j * stride_n + (p + t) * stride_k] : 0;
  }
  ew_column_sums(panel, (k + EW_KB - 1) / EW_KB, colsum);
}

#if EW_KB == 4
/* One SDOT is 4 columns of a row and 4 values of k. */
EW_INLINE void ew_tile_s8(const int m, const int8_t *a, const int8_t *b, int64_t k, int32_t *acc, int64_t ldacc) {
  int32x4_t sum[8][2];
#pragma unroll
  for (int i = 0; i < m; ++i) sum[i][0] = sum[i][1] = vdupq_n_s32(0);
#define EW_S8_ROW(i, x)                                          \
  if (i < m) {                                                   \
    sum[i][0] = vdotq_laneq_s32(sum[i][0], b0, x, (i) % 4);      \
    sum[i][1] = vdotq_laneq_s32(sum[i][1], b1, x, (i) % 4);      \
  }
#pragma unroll 4
  for (; k > 0; k -= 4, a += 32, b += 32) {
    int8x16_t a0 = vld1q_s8(a), a1 = m > 4 ? vld1q_s8(a + 16) : a0, b0 = vld1q_s8(b), b1 = vld1q_s8(b + 16);
    EW_S8_ROW(0, a0)
    EW_S8_ROW(1, a0)
    EW_S8_ROW(2, a0)
    EW_S8_ROW(3, a0)
    EW_S8_ROW(4, a1)
    EW_S8_ROW(5, a1)
    EW_S8_ROW(6, a1)
    EW_S8_ROW(7, a1)
  }
#undef EW_S8_ROW
#pragma unroll
  for (int i = 0; i < m; ++i) vst1q_s32(acc + i * ldacc, sum[i][0]), vst1q_s32(acc + i * ldacc + 4, sum[i][1]);
}
#else
/* One SMMLA is 2 rows, 2 columns and 8 values of k: lanes are (row, column) 00, 01, 10, 11. */
EW_INLINE void ew_tile_s8(const int m, const int8_t *a, const int8_t *b, int64_t k, int32_t *acc, int64_t ldacc) {
  int32x4_t sum[4][4];
#pragma unroll
  for (int i = 0; i < m; i += 2)
#pragma unroll
    for (int j = 0; j < 4; ++j) sum[i / 2][j] = vdupq_n_s32(0);
#pragma unroll 2
  for (; k > 0; k -= 8, a += 64, b += 64) {
    int8x16_t x[4], y[4];
#pragma unroll
    for (int i = 0; i < m; i += 2) x[i / 2] = vld1q_s8(a + 8 * i);
#pragma unroll
    for (int j = 0; j < 4; ++j) y[j] = vld1q_s8(b + 16 * j);
#pragma unroll
    for (int i = 0; i < m; i += 2)
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[i / 2][j] = vmmlaq_s32(sum[i / 2][j], x[i / 2], y[j]);
  }
#pragma unroll
  for (int i = 0; i < m; i += 2)
#pragma unroll
    for (int j = 0; j < 4; j += 2) {
      int64x2_t left = vreinterpretq_s64_s32(sum[i / 2][j]), right = vreinterpretq_s64_s32(sum[i / 2][j + 1]);
      vst1q_s32(acc + i * ldacc + 2 * j, vreinterpretq_s32_s64(vzip1q_s64(left, right)));
      if (i + 1 < m) vst1q_s32(acc + (i + 1) * ldacc + 2 * j, vreinterpretq_s32_s64(vzip2q_s64(left, right)));
    }
}
#endif

void ew_gemm_s8(const void *a_panel, const int8_t *b_panel, int64_t k, int32_t *acc, int64_t ldacc, int32_t m) {
  if (__builtin_expect(m == 8, 1)) {
    ew_tile_s8(8, a_panel, b_panel, k, acc, ldacc);
    return;
  }
  switch (m) {
    case 7: ew_tile_s8(7, a_panel, b_panel, k, acc, ldacc); break;
    case 6: ew_tile_s8(6, a_panel, b_panel, k, acc, ldacc); break;
    case 5: ew_tile_s8(5, a_panel, b_panel, k, acc, ldacc); break;
    case 4: ew_tile_s8(4, a_panel, b_panel, k, acc, ldacc); break;
    case 3: ew_tile_s8(3, a_panel, b_panel, k, acc, ldacc); break;
    case 2: ew_tile_s8(2, a_panel, b_panel, k, acc, ldacc); break;
    case 1: ew_tile_s8(1, a_panel, b_panel, k, acc, ldacc); break;
  }
}
