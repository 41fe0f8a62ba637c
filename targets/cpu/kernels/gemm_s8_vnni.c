/* The byte product by vpdpbusd: four products of a byte 0..255 and a signed one are added to an int32, without
 * saturation. Left rows are held as a + 128 (int8) or as they are (uint8). */
#include "pack_fours.h"

#if EW_KA != 4 || EW_KB != 4 || EW_S8_OFFSET != 128 || EW_U8_OFFSET != 0 || EW_S8_NR % 16
#error "another geometry"
#endif

#define NV (EW_S8_NR / 16)
#undef UNROLL
#define UNROLL _Pragma("clang loop unroll(full)")

static inline __attribute__((always_inline)) void tile_s8(const uint8_t *a, const int8_t *b, int64_t groups,
                                                          int32_t *acc, int64_t ldacc, const int m) {
  __m512i sum[EW_S8_MR][NV];
  UNROLL for (int i = 0; i < m; ++i) UNROLL for (int j = 0; j < NV; ++j) sum[i][j] = _mm512_setzero_si512();
  for (int64_t p = 0; p < groups; ++p, a += 4 * EW_S8_MR, b += 4 * EW_S8_NR) {
    __m512i right[NV];
    UNROLL for (int j = 0; j < NV; ++j) right[j] = _mm512_loadu_si512(b + 64 * j);
    UNROLL for (int i = 0; i < m; ++i) {
      int32_t four;
      memcpy(&four, a + 4 * i, 4);
      __m512i left = _mm512_set1_epi32(four);
      UNROLL for (int j = 0; j < NV; ++j) sum[i][j] = _mm512_dpbusd_epi32(sum[i][j], left, right[j]);
    }
  }
  UNROLL for (int i = 0; i < m; ++i) UNROLL for (int j = 0; j < NV; ++j)
      _mm512_storeu_si512(acc + i * ldacc + 16 * j, sum[i][j]);
}

#define ROWS(m) case m: tile_s8(a_panel, b_panel, (k + 3) / 4, acc, ldacc, m); return;

void ew_gemm_s8(const void *a_panel, const int8_t *b_panel, int64_t k, int32_t *acc, int64_t ldacc, int32_t m) {
  switch (m) {
    ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12)
#if EW_S8_MR >= 14
    ROWS(13) ROWS(14)
#endif
  }
}
#undef ROWS

static inline void pack_rows(const uint8_t *a, int64_t lda, int32_t m, int64_t k, __m128i flip, uint8_t *panel) {
  int32_t i = 0;
  for (; i + 4 <= EW_S8_MR && i < m; i += 4) four_rows(a + i * lda, lda, m - i, k, flip, panel + 4 * i, EW_S8_MR);
  for (; i < m; ++i) /* rows beyond the last four whole ones of the tile */
    for (int64_t p = 0; p < k; p += 4) {
      uint8_t four[4] = {0};
      memcpy(four, a + i * lda + p, (size_t)(k - p < 4 ? k - p : 4));
      uint32_t word;
      memcpy(&word, four, 4);
      word ^= (uint32_t)_mm_cvtsi128_si32(flip);
      memcpy(panel + p * EW_S8_MR + 4 * i, &word, 4);
    }
}

void ew_pack_a_s8(const int8_t *a, int64_t lda, int32_t m, int64_t k, void *panel) {
  pack_rows((const uint8_t *)a, lda, m, k, _mm_set1_epi8(-128), panel);
}

void ew_pack_a_u8(const uint8_t *a, int64_t lda, int32_t m, int64_t k, void *panel) {
  pack_rows(a, lda, m, k, _mm_setzero_si128(), panel);
}
#undef NV
