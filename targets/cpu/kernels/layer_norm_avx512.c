/* LayerNorm and, without the mean, RMSNorm in AVX-512, after rows_avx512.c in its unit; in int64 as its definition: (N x - S) y is x (N y) - S y, and
 * N y fits 27 bits. */
#include "ew_kernels.h"
#include "tables.h"

#include <immintrin.h>

static inline int64_t inverse_square_root(int64_t v, int32_t *e) {
  *e = (63 - __builtin_clzll((uint64_t)v)) / 2;
  int64_t m16 = 2 * *e <= 16 ? v << (16 - 2 * *e) : v >> (2 * *e - 16);
  int64_t y0 = ew_rsqrt_table[m16 >> 10];
  int64_t q0 = (y0 * y0) >> 14;
  return (y0 * ((3 << 16) - ((m16 * q0) >> 16)) + (1 << 15)) >> 16;
}

#define STORE_s8(out, some, z)                                                                                         \
  __m128i y8 = _mm_max_epi8(_mm512_cvtsepi64_epi8(z), _mm_set1_epi8(-127));                                            \
  if (some == 255) _mm_storel_epi64((__m128i *)(out), y8);                                                             \
  else _mm_mask_storeu_epi8(out, some, y8);
#define STORE_s16(out, some, z)                                                                                        \
  __m128i y16 = _mm_max_epi16(_mm512_cvtsepi64_epi16(z), _mm_set1_epi16(-32767));                                      \
  if (some == 255) _mm_storeu_si128((__m128i *)(out), y16);                                                            \
  else _mm_mask_storeu_epi16(out, some, y16);

struct normal {
  __m512i factor, add, half;
  __m128i first, second;
};

struct sums {
  __m512i values, squares; /* int32 and int64 lanes */
};

static inline __attribute__((always_inline)) struct sums sums_of(const int16_t *x, int64_t n) {
  __m512i sums = _mm512_setzero_si512(), even = sums, odd = sums, low = _mm512_set1_epi64(0xffffffff);
  for (int64_t i = 0; i < n; i += 32) {
    __m512i v = _mm512_maskz_loadu_epi16(first32(n - i), x + i);
    __m512i squares = _mm512_madd_epi16(v, v); /* at most 2^31, so unsigned */
    sums = _mm512_add_epi32(sums, _mm512_madd_epi16(v, _mm512_set1_epi16(1)));
    even = _mm512_add_epi64(even, _mm512_and_si512(squares, low));
    odd = _mm512_add_epi64(odd, _mm512_srli_epi64(squares, 32));
  }
  return (struct sums){sums, _mm512_add_epi64(even, odd)};
}

static inline struct normal normal(const int16_t *x, int64_t n, int64_t eps_term, int32_t shift) {
  struct sums s = sums_of(x, n);
  int64_t sum = _mm512_reduce_add_epi32(s.values), squares = _mm512_reduce_add_epi64(s.squares);
  int32_t e;
  int64_t y = inverse_square_root(n * squares - sum * sum + eps_term, &e);
  return (struct normal){_mm512_set1_epi64(n * y), _mm512_set1_epi64((INT64_C(1) << (e + 3)) - sum * y),
                         _mm512_set1_epi64(INT64_C(1) << (shift - 1)), _mm_cvtsi32_si128(e + 4), _mm_cvtsi32_si128(shift)};
}

static inline __m512i normalise8(__m128i x, __m256i multiplier, __m512i offset, const struct normal *f) {
  __m512i z = _mm512_mul_epi32(_mm512_cvtepi16_epi64(x), f->factor);
  z = _mm512_sra_epi64(_mm512_add_epi64(z, f->add), f->first);
  z = _mm512_mul_epi32(z, _mm512_cvtepi32_epi64(multiplier));
  return _mm512_sra_epi64(_mm512_add_epi64(_mm512_add_epi64(z, f->half), offset), f->second);
}

#define LAYER_NORM(name, type, suffix)                                                                                 \
  void name(const int16_t *x, const int32_t *multiplier, const int64_t *offset, int64_t n, int64_t eps_term,           \
            int32_t shift, type *out) {                                                                                \
    struct normal f = normal(x, n, eps_term, shift);                                                                   \
    int64_t i = 0;                                                                                                     \
    for (; i + 8 <= n; i += 8) {                                                                                       \
      __m512i z = normalise8(_mm_loadu_si128((const __m128i *)(x + i)),                                                \
                             _mm256_loadu_si256((const __m256i *)(multiplier + i)), _mm512_loadu_si512(offset + i), &f); \
      STORE_##suffix(out + i, 255, z)                                                                                  \
    }                                                                                                                  \
    if (i < n) {                                                                                                       \
      __mmask8 some = first8(n - i);                                                                                   \
      __m512i z = normalise8(_mm_maskz_loadu_epi16(some, x + i), _mm256_maskz_loadu_epi32(some, multiplier + i),       \
                             _mm512_maskz_loadu_epi64(some, offset + i), &f);                                          \
      STORE_##suffix(out + i, some, z)                                                                                 \
    }                                                                                                                  \
  }
LAYER_NORM(ew_layer_norm_s16, int8_t, s8)
LAYER_NORM(ew_layer_norm_s16_s16, int16_t, s16)
#undef LAYER_NORM

/* ---- several rows: what depends on the column alone is prepared once, and 8 roots are taken together */

#define EW_OWN_LAYER_NORM_ROWS

struct normals {
  int64_t factor[8], add[8], shift[8];
};

/* The totals of 8 vectors, of int32 resp. int64 lanes: halves are added while rows come together. */
static inline __m512i totals32(const struct sums *s) {
  __m512i two[4], four[2];
  for (int i = 0; i < 4; ++i)
    two[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(s[2 * i].values, s[2 * i + 1].values),
                              _mm512_unpackhi_epi32(s[2 * i].values, s[2 * i + 1].values));
  for (int i = 0; i < 2; ++i)
    four[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(two[2 * i], two[2 * i + 1]),
                               _mm512_unpackhi_epi64(two[2 * i], two[2 * i + 1]));
  __m512i all = _mm512_add_epi32(_mm512_shuffle_i32x4(four[0], four[1], 0x88), _mm512_shuffle_i32x4(four[0], four[1], 0xdd));
  all = _mm512_add_epi32(all, _mm512_shuffle_i32x4(all, all, 0xb1));
  return _mm512_cvtepi32_epi64(lower(_mm512_shuffle_i32x4(all, all, 0x08)));
}

static inline __m512i totals64(const struct sums *s) {
  __m512i two[4], four[2];
  for (int i = 0; i < 4; ++i)
    two[i] = _mm512_add_epi64(_mm512_unpacklo_epi64(s[2 * i].squares, s[2 * i + 1].squares),
                              _mm512_unpackhi_epi64(s[2 * i].squares, s[2 * i + 1].squares));
  for (int i = 0; i < 2; ++i)
    four[i] = _mm512_add_epi64(_mm512_shuffle_i64x2(two[2 * i], two[2 * i + 1], 0x88),
                               _mm512_shuffle_i64x2(two[2 * i], two[2 * i + 1], 0xdd));
  return _mm512_add_epi64(_mm512_shuffle_i64x2(four[0], four[1], 0x88), _mm512_shuffle_i64x2(four[0], four[1], 0xdd));
}

static inline __attribute__((always_inline)) void normals8(const int16_t *x, int64_t ldx, int32_t rows, int64_t n,
                                                           int64_t eps_term, const int centred, struct normals *f) {
  struct sums s[8];
  for (int32_t r = 0; r < 8; ++r) s[r] = sums_of(x + (r < rows ? r : 0) * ldx, n);
  const __m512i one = _mm512_set1_epi64(1), width = _mm512_set1_epi64(n), sixteen = _mm512_set1_epi64(16);
  __m512i sum = centred ? totals32(s) : _mm512_setzero_si512(), v = _mm512_mullo_epi64(totals64(s), width);
  v = _mm512_add_epi64(_mm512_sub_epi64(v, _mm512_mul_epi32(sum, sum)), _mm512_set1_epi64(eps_term));
  __m512i e = _mm512_srli_epi64(_mm512_sub_epi64(_mm512_set1_epi64(63), _mm512_lzcnt_epi64(v)), 1);
  __m512i twice = _mm512_add_epi64(e, e); /* shifts by a negative count leave 0 */
  __m512i m16 = _mm512_or_si512(_mm512_sllv_epi64(v, _mm512_sub_epi64(sixteen, twice)),
                                _mm512_srlv_epi64(v, _mm512_sub_epi64(twice, sixteen)));
  __m256i found = _mm512_i64gather_epi32(_mm512_srli_epi64(m16, 10), ew_rsqrt_table, 2);
  __m512i y0 = _mm512_and_si512(_mm512_cvtepu32_epi64(found), _mm512_set1_epi64(0xffff));
  __m512i q0 = _mm512_srli_epi64(_mm512_mul_epu32(y0, y0), 14);
  __m512i t = _mm512_sub_epi64(_mm512_set1_epi64(3 << 16), _mm512_srli_epi64(_mm512_mul_epu32(m16, q0), 16));
  __m512i y = _mm512_mul_epu32(y0, t);
  y = _mm512_srli_epi64(_mm512_add_epi64(y, _mm512_set1_epi64(1 << 15)), 16);
  __m512i half = _mm512_sllv_epi64(one, _mm512_add_epi64(e, _mm512_set1_epi64(3)));
  _mm512_storeu_si512(f->factor, _mm512_mul_epi32(width, y));
  _mm512_storeu_si512(f->add, _mm512_sub_epi64(half, _mm512_mul_epi32(sum, y)));
  _mm512_storeu_si512(f->shift, _mm512_add_epi64(e, _mm512_set1_epi64(4)));
}

static inline __m512i normalised(__m128i x, __m512i multiplier, __m512i offset, const struct normals *f, int32_t r,
                                 __m128i shift) {
  __m512i z = _mm512_mul_epi32(_mm512_cvtepi16_epi64(x), _mm512_set1_epi64(f->factor[r]));
  z = _mm512_srav_epi64(_mm512_add_epi64(z, _mm512_set1_epi64(f->add[r])), _mm512_set1_epi64(f->shift[r]));
  return _mm512_sra_epi64(_mm512_add_epi64(_mm512_mul_epi32(z, multiplier), offset), shift);
}

#define LAYER_NORM_ROWS(name, type, suffix, centred)                                                                   \
  void name(const int16_t *x, int64_t ldx, int32_t rows, const int32_t *multiplier, const int64_t *offset, int64_t n,  \
            int64_t eps_term, int32_t shift, type *out, int64_t ldout) {                                               \
    const __m512i half = _mm512_set1_epi64(INT64_C(1) << (shift - 1));                                                 \
    const __m128i by = _mm_cvtsi32_si128(shift);                                                                       \
    for (; rows > 0; rows -= 8, x += 8 * ldx, out += 8 * ldout) {                                                      \
      int32_t m = rows < 8 ? rows : 8;                                                                                 \
      struct normals f;                                                                                                \
      normals8(x, ldx, m, n, eps_term, centred, &f);                                                                   \
      int64_t i = 0;                                                                                                   \
      for (; i + 8 <= n; i += 8) {                                                                                     \
        __m512i factor = _mm512_cvtepi32_epi64(_mm256_loadu_si256((const __m256i *)(multiplier + i)));                 \
        __m512i add = _mm512_add_epi64(_mm512_loadu_si512(offset + i), half);                                          \
        for (int32_t r = 0; r < m; ++r) {                                                                              \
          __m512i z = normalised(_mm_loadu_si128((const __m128i *)(x + r * ldx + i)), factor, add, &f, r, by);         \
          STORE_##suffix(out + r * ldout + i, 255, z)                                                                  \
        }                                                                                                              \
      }                                                                                                                \
      if (i < n) {                                                                                                     \
        __mmask8 some = first8(n - i);                                                                                 \
        __m512i factor = _mm512_cvtepi32_epi64(_mm256_maskz_loadu_epi32(some, multiplier + i));                        \
        __m512i add = _mm512_add_epi64(_mm512_maskz_loadu_epi64(some, offset + i), half);                              \
        for (int32_t r = 0; r < m; ++r) {                                                                              \
          __m512i z = normalised(_mm_maskz_loadu_epi16(some, x + r * ldx + i), factor, add, &f, r, by);                \
          STORE_##suffix(out + r * ldout + i, some, z)                                                                 \
        }                                                                                                              \
      }                                                                                                                \
    }                                                                                                                  \
  }
LAYER_NORM_ROWS(ew_layer_norm_rows_s16, int8_t, s8, 1)
LAYER_NORM_ROWS(ew_layer_norm_rows_s16_s16, int16_t, s16, 1)
LAYER_NORM_ROWS(ew_rms_norm_rows_s16, int8_t, s8, 0)
LAYER_NORM_ROWS(ew_rms_norm_rows_s16_s16, int16_t, s16, 0)
#undef LAYER_NORM_ROWS
