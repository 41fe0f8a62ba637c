/* The byte product by vpdpbusd: four products of a byte 0..255 and a signed one are added to an int32, without
 * saturation. Left rows are held as a + 128 (int8) or as they are (uint8). */
#include "ew_kernels.h"

#include <immintrin.h>
#include <string.h>

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

/* 16 bytes, or zeros beyond n of them. */
static inline __m128i load_some(const void *p, int64_t n) {
  return n >= 16 ? _mm_loadu_si128(p) : _mm_maskz_loadu_epi8((__mmask16)((1u << n) - 1), p);
}

/* out[p/4][stride][p%4] = rows[p] ^ flip for four rows `lda` apart (the last of `m` stands in for those beyond). */
static inline void four_rows(const uint8_t *a, int64_t lda, int32_t m, int64_t k, __m128i flip, uint8_t *out,
                             int64_t stride) {
  const uint8_t *row1 = a + (m > 1 ? lda : 0), *row2 = m > 2 ? row1 + lda : row1, *row3 = m > 3 ? row2 + lda : row2;
  for (int64_t p = 0; p < k; p += 16, out += 16 * stride) {
    int64_t left = k - p;
    __m128i r0 = _mm_xor_si128(load_some(a + p, left), flip), r1 = _mm_xor_si128(load_some(row1 + p, left), flip);
    __m128i r2 = _mm_xor_si128(load_some(row2 + p, left), flip), r3 = _mm_xor_si128(load_some(row3 + p, left), flip);
    __m128i low01 = _mm_unpacklo_epi32(r0, r1), low23 = _mm_unpacklo_epi32(r2, r3);
    __m128i high01 = _mm_unpackhi_epi32(r0, r1), high23 = _mm_unpackhi_epi32(r2, r3);
    _mm_storeu_si128((__m128i *)out, _mm_unpacklo_epi64(low01, low23));
    if (left > 4) _mm_storeu_si128((__m128i *)(out + 4 * stride), _mm_unpackhi_epi64(low01, low23));
    if (left > 8) _mm_storeu_si128((__m128i *)(out + 8 * stride), _mm_unpacklo_epi64(high01, high23));
    if (left > 12) _mm_storeu_si128((__m128i *)(out + 12 * stride), _mm_unpackhi_epi64(high01, high23));
  }
}

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

/* Four rows of 16 columns to 16 columns of four. */
static inline void interleave(__m128i r0, __m128i r1, __m128i r2, __m128i r3, int8_t *out) {
  __m128i low01 = _mm_unpacklo_epi8(r0, r1), low23 = _mm_unpacklo_epi8(r2, r3);
  __m128i high01 = _mm_unpackhi_epi8(r0, r1), high23 = _mm_unpackhi_epi8(r2, r3);
  _mm_storeu_si128((__m128i *)out, _mm_unpacklo_epi16(low01, low23));
  _mm_storeu_si128((__m128i *)(out + 16), _mm_unpackhi_epi16(low01, low23));
  _mm_storeu_si128((__m128i *)(out + 32), _mm_unpacklo_epi16(high01, high23));
  _mm_storeu_si128((__m128i *)(out + 48), _mm_unpackhi_epi16(high01, high23));
}

void ew_pack_b_s8(const int8_t *b, int64_t stride_n, int64_t stride_k, int32_t n, int64_t k, int8_t *panel,
                  int32_t *colsum) {
  if (stride_n == 1) {
    for (int64_t p = 0; p < k; p += 4)
      for (int32_t j = 0; j < EW_S8_NR; j += 16) {
        int64_t left = n - j > 0 ? n - j : 0;
        __m128i row[4];
        for (int t = 0; t < 4; ++t)
          row[t] = p + t < k ? load_some(b + (p + t) * stride_k + j, left) : _mm_setzero_si128();
        interleave(row[0], row[1], row[2], row[3], panel + p * EW_S8_NR + 4 * j);
      }
  } else if (stride_k == 1) {
    if (n < EW_S8_NR) memset(panel, 0, (size_t)((k + 3) / 4 * 4 * EW_S8_NR));
    int32_t j = 0;
    for (; j + 4 <= n; j += 4)
      four_rows((const uint8_t *)b + j * stride_n, stride_n, 4, k, _mm_setzero_si128(), (uint8_t *)panel + 4 * j,
                EW_S8_NR);
    for (; j < n; ++j)
      for (int64_t p = 0; p < k; ++p) panel[p / 4 * 4 * EW_S8_NR + 4 * j + p % 4] = b[j * stride_n + p];
  } else {
    memset(panel, 0, (size_t)((k + 3) / 4 * 4 * EW_S8_NR));
    for (int64_t p = 0; p < k; ++p)
      for (int32_t j = 0; j < n; ++j) panel[p / 4 * 4 * EW_S8_NR + 4 * j + p % 4] = b[j * stride_n + p * stride_k];
  }
  __m512i sum[NV];
  UNROLL for (int j = 0; j < NV; ++j) sum[j] = _mm512_setzero_si512();
  for (int64_t p = 0; p < k; p += 4)
    UNROLL for (int j = 0; j < NV; ++j) sum[j] = _mm512_dpbusd_epi32(
        sum[j], _mm512_set1_epi8(1), _mm512_loadu_si512(panel + p * EW_S8_NR + 64 * j));
  UNROLL for (int j = 0; j < NV; ++j) _mm512_storeu_si512(colsum + 16 * j, sum[j]);
}
#undef NV
