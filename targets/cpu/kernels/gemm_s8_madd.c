/* The byte product by pmaddwd, for SSE2, AVX2 and AVX-512: bytes widened to words, two products added to an int32, exact.
 *
 * (pmaddubsw would take bytes as they are but saturates at 16 bits.) The A panel holds words, a or a - 127, so that a
 * pair of them is broadcast unchanged; the B panel holds bytes and is widened as it is read. */
#include "ew_kernels.h"

#include <immintrin.h>
#include <string.h>

#if EW_KA != 2 || EW_KB != 2 || EW_S8_OFFSET != 0 || EW_U8_OFFSET != 127 || EW_S8_NR % 8 || EW_S8_MR % 2
#error "another geometry"
#endif

#if EW_VECTOR_BYTES == 64
typedef __m512i ints;
#define ADD_MADD(sum, a, b) _mm512_add_epi32(sum, _mm512_madd_epi16(a, b))
#define BROADCAST(x) _mm512_set1_epi32(x)
#define STORE(p, x) _mm512_storeu_si512(p, x)
#elif EW_VECTOR_BYTES == 32
typedef __m256i ints;
#define ADD_MADD(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
#define BROADCAST(x) _mm256_set1_epi32(x)
#define STORE(p, x) _mm256_storeu_si256((__m256i *)(p), x)
#else
typedef __m128i ints;
#define ADD_MADD(sum, a, b) _mm_add_epi32(sum, _mm_madd_epi16(a, b))
#define BROADCAST(x) _mm_set1_epi32(x)
#define STORE(p, x) _mm_storeu_si128((__m128i *)(p), x)
#endif

#define COLUMNS (EW_VECTOR_BYTES / 4)
#define NV (EW_S8_NR / COLUMNS)
#undef UNROLL
#define UNROLL _Pragma("clang loop unroll(full)")

/* The j-th vector of words of one group of the B panel: EW_VECTOR_BYTES / 2 bytes of it. */
static inline ints widened(const int8_t *b, int j) {
#if EW_VECTOR_BYTES == 64
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(b + 32 * j)));
#elif EW_VECTOR_BYTES == 32
  return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(b + 16 * j)));
#else
  __m128i eight = _mm_loadl_epi64((const __m128i *)(b + 8 * j));
  return _mm_srai_epi16(_mm_unpacklo_epi8(eight, eight), 8);
#endif
}

static inline __attribute__((always_inline)) void tile_s8(const int16_t *a, const int8_t *b, int64_t groups, int32_t *acc,
                                                          int64_t ldacc, const int m) {
  ints sum[EW_S8_MR][NV];
  UNROLL for (int i = 0; i < m; ++i) UNROLL for (int j = 0; j < NV; ++j) sum[i][j] = (ints){0};
  for (int64_t p = 0; p < groups; ++p, a += 2 * EW_S8_MR, b += 2 * EW_S8_NR) {
    ints right[NV];
    UNROLL for (int j = 0; j < NV; ++j) right[j] = widened(b, j);
    UNROLL for (int i = 0; i < m; ++i) {
      int32_t two;
      memcpy(&two, a + 2 * i, 4);
      ints left = BROADCAST(two);
      UNROLL for (int j = 0; j < NV; ++j) sum[i][j] = ADD_MADD(sum[i][j], left, right[j]);
    }
  }
  UNROLL for (int i = 0; i < m; ++i) UNROLL for (int j = 0; j < NV; ++j)
      STORE(acc + i * ldacc + COLUMNS * j, sum[i][j]);
}

#define ROWS(m) case m: tile_s8(a_panel, b_panel, (k + 1) / 2, acc, ldacc, m); return;

void ew_gemm_s8(const void *a_panel, const int8_t *b_panel, int64_t k, int32_t *acc, int64_t ldacc, int32_t m) {
  switch (m) {
    ROWS(1) ROWS(2) ROWS(3) ROWS(4)
#if EW_S8_MR >= 6
    ROWS(5) ROWS(6)
#endif
#if EW_S8_MR >= 12
    ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12)
#endif
  }
}
#undef ROWS

static inline __m128i load_some(const void *p, int64_t n) {
  if (n >= 8) return _mm_loadl_epi64(p);
  uint64_t bytes = 0;
  if (n > 0) memcpy(&bytes, p, (size_t)n);
  return _mm_cvtsi64_si128((int64_t)bytes);
}

/* Four rows of words (the last of `m` stands in for those beyond) to the A panel; `rows` of them are stored: 4 or 2. */
static inline __attribute__((always_inline)) void four_rows(const uint8_t *a, int64_t lda, int32_t m, int64_t k,
                                                            const int is_signed, int16_t *out, const int rows) {
  const uint8_t *row[4] = {a, a + (m > 1 ? lda : 0), a + (m > 2 ? 2 : m - 1) * lda, a + (m > 3 ? 3 : m - 1) * lda};
  const __m128i zero = _mm_setzero_si128();
  for (int64_t p = 0; p < k; p += 8, out += 8 * EW_S8_MR) {
    __m128i r[4];
    UNROLL for (int i = 0; i < 4; ++i) {
      __m128i x = load_some(row[i] + p, k - p);
      r[i] = is_signed ? _mm_srai_epi16(_mm_unpacklo_epi8(x, x), 8)
                       : _mm_sub_epi16(_mm_unpacklo_epi8(x, zero), _mm_set1_epi16(127));
    }
    __m128i low01 = _mm_unpacklo_epi32(r[0], r[1]), low23 = _mm_unpacklo_epi32(r[2], r[3]);
    __m128i high01 = _mm_unpackhi_epi32(r[0], r[1]), high23 = _mm_unpackhi_epi32(r[2], r[3]);
    __m128i group[4] = {_mm_unpacklo_epi64(low01, low23), _mm_unpackhi_epi64(low01, low23),
                        _mm_unpacklo_epi64(high01, high23), _mm_unpackhi_epi64(high01, high23)};
    UNROLL for (int t = 0; t < 4; ++t) if (p + 2 * t < k) {
      if (rows == 4) _mm_storeu_si128((__m128i *)(out + 2 * t * EW_S8_MR), group[t]);
      else _mm_storel_epi64((__m128i *)(out + 2 * t * EW_S8_MR), group[t]);
    }
  }
}

static inline __attribute__((always_inline)) void pack_rows(const uint8_t *a, int64_t lda, int32_t m, int64_t k,
                                                            const int is_signed, int16_t *panel) {
  for (int32_t i = 0; i < m; i += 4)
    if (i + 4 <= EW_S8_MR) four_rows(a + i * lda, lda, m - i, k, is_signed, panel + 2 * i, 4);
    else four_rows(a + i * lda, lda, m - i, k, is_signed, panel + 2 * i, 2);
}

void ew_pack_a_s8(const int8_t *a, int64_t lda, int32_t m, int64_t k, void *panel) {
  pack_rows((const uint8_t *)a, lda, m, k, 1, panel);
}

void ew_pack_a_u8(const uint8_t *a, int64_t lda, int32_t m, int64_t k, void *panel) {
  pack_rows(a, lda, m, k, 0, panel);
}

/* Eight columns, contiguous along k, to eight columns of pairs: words of an 8 x 4 block transposed. */
static inline void eight_columns(const int8_t *b, int64_t stride, int64_t k, int8_t *out) {
  for (int64_t p = 0; p < k; p += 8, out += 8 * EW_S8_NR) {
    __m128i c[8];
    UNROLL for (int j = 0; j < 8; ++j) c[j] = load_some(b + j * stride + p, k - p);
    __m128i c01 = _mm_unpacklo_epi16(c[0], c[1]), c23 = _mm_unpacklo_epi16(c[2], c[3]);
    __m128i c45 = _mm_unpacklo_epi16(c[4], c[5]), c67 = _mm_unpacklo_epi16(c[6], c[7]);
    __m128i low0 = _mm_unpacklo_epi32(c01, c23), low1 = _mm_unpacklo_epi32(c45, c67);
    __m128i high0 = _mm_unpackhi_epi32(c01, c23), high1 = _mm_unpackhi_epi32(c45, c67);
    __m128i group[4] = {_mm_unpacklo_epi64(low0, low1), _mm_unpackhi_epi64(low0, low1), _mm_unpacklo_epi64(high0, high1),
                        _mm_unpackhi_epi64(high0, high1)};
    UNROLL for (int t = 0; t < 4; ++t) if (p + 2 * t < k)
        _mm_storeu_si128((__m128i *)(out + 2 * t * EW_S8_NR), group[t]);
  }
}

void ew_pack_b_s8(const int8_t *b, int64_t stride_n, int64_t stride_k, int32_t n, int64_t k, int8_t *panel,
                  int32_t *colsum) {
  int32_t whole = n & ~7, j = 0;
  if (n < EW_S8_NR) memset(panel, 0, (size_t)((k + 1) / 2 * 2 * EW_S8_NR));
  if (stride_n == 1)
    for (; j < whole; j += 8)
      for (int64_t p = 0; p < k; p += 2) {
        __m128i first = _mm_loadl_epi64((const __m128i *)(b + p * stride_k + j)), second = _mm_setzero_si128();
        if (p + 1 < k) second = _mm_loadl_epi64((const __m128i *)(b + (p + 1) * stride_k + j));
        _mm_storeu_si128((__m128i *)(panel + p * EW_S8_NR + 2 * j), _mm_unpacklo_epi8(first, second));
      }
  else if (stride_k == 1)
    for (; j < whole; j += 8) eight_columns(b + j * stride_n, stride_n, k, panel + 2 * j);
  for (; j < n; ++j) {
    for (int64_t p = 0; p < k; ++p) panel[p / 2 * 2 * EW_S8_NR + 2 * j + p % 2] = b[j * stride_n + p * stride_k];
    if (k % 2) panel[k / 2 * 2 * EW_S8_NR + 2 * j + 1] = 0;
  }
  ints sum[NV];
  UNROLL for (int v = 0; v < NV; ++v) sum[v] = (ints){0};
  for (int64_t p = 0; p < k; p += 2)
    UNROLL for (int v = 0; v < NV; ++v)
        sum[v] = ADD_MADD(sum[v], BROADCAST(0x10001), widened(panel + p * EW_S8_NR, v));
  UNROLL for (int v = 0; v < NV; ++v) STORE(colsum + COLUMNS * v, sum[v]);
}
#undef NV
#undef COLUMNS
#undef BROADCAST
#undef STORE
#undef ADD_MADD
