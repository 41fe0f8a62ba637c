/* Packing of bytes in fours, as vpdpbusd and the tiles of AMX take the right side: [k/4][NR][4]. */
#ifndef EW_PACK_FOURS_H
#define EW_PACK_FOURS_H

#include "ew_kernels.h"

#include <immintrin.h>
#include <string.h>

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
  __m512i sum[EW_S8_NR / 16] = {0};
  for (int64_t p = 0; p < k; p += 4)
    for (int j = 0; j < EW_S8_NR / 16; ++j) sum[j] = _mm512_dpbusd_epi32(
        sum[j], _mm512_set1_epi8(1), _mm512_loadu_si512(panel + p * EW_S8_NR + 64 * j));
  for (int j = 0; j < EW_S8_NR / 16; ++j) _mm512_storeu_si512(colsum + 16 * j, sum[j]);
}

#endif
