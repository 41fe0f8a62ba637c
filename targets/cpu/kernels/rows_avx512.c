/* The integer functions of one row in AVX-512 (F, BW, DQ, VL; table_s8 better with VBMI). */
#include "ew_kernels.h"
#include "tables.h"

#include <immintrin.h>
#include <string.h>

#define DOWN (_MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)

static inline __mmask32 first32(int64_t n) { return n >= 32 ? ~(__mmask32)0 : ((__mmask32)1 << n) - 1; }
static inline __mmask16 first16(int64_t n) { return n >= 16 ? (__mmask16)~0u : (__mmask16)((1u << n) - 1); }
static inline __mmask8 first8(int64_t n) { return n >= 8 ? (__mmask8)~0u : n > 0 ? (__mmask8)((1u << n) - 1) : 0; }
static inline __m512i join(__m256i low, __m256i high) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}
static inline __m256i lower(__m512i x) { return _mm512_castsi512_si256(x); }
static inline __m256i upper(__m512i x) { return _mm512_extracti64x4_epi64(x, 1); }

/* ---- requantise: floor(acc * m * 2^-s + zero_point + 1/2).
 *
 * m * 2^-s is exact in float (16 bits) and so in double; acc * m has 43 bits.
 *
 * Quick, for 17 <= s <= 32: the bits of the double 2^52 + 2^31 + acc are 0x43300000 and acc + 2^31. One fused
 * multiply-add takes that constant's share away again and adds zero_point + 1/2 and 3 * 2^50, where doubles lie 1/2
 * apart: m (2^52 + 2^31) 2^-s is a multiple of 1/2 and below 2^52, so what is added is exact, and rounding down leaves
 * floor(2 y) in the lower half of the result's bits. |y| < 2^26 + 2^15, so those 32 bits hold it.
 *
 * Otherwise: the fused multiply-add rounds its one result down to a double, which moves it past no integer, and the
 * conversion rounds down again. What is below int32 converts to its minimum and saturates the right way; what is above
 * does not and is limited before. */

#define MAGIC 3377699720527872.0 /* 3 * 2^50 */
#define EXPONENT 4503599627370496.0 /* 2^52 */

static inline __m512d unpack_low(__m512i x) {
  return (__m512d)_mm512_unpacklo_epi32(x, _mm512_set1_epi32(0x43300000));
}
static inline __m512d unpack_high(__m512i x) {
  return (__m512d)_mm512_unpackhi_epi32(x, _mm512_set1_epi32(0x43300000));
}

struct scale {
  __m512d low, high, add_low, add_high; /* for the quick way in the order of unpack_low and unpack_high */
};

static inline __m512i quick16(__m512i x, const struct scale *f) {
  __m512d low = _mm512_fmadd_round_pd(unpack_low(x), f->low, f->add_low, DOWN);
  __m512d high = _mm512_fmadd_round_pd(unpack_high(x), f->high, f->add_high, DOWN);
  return _mm512_srai_epi32((__m512i)_mm512_shuffle_ps((__m512)low, (__m512)high, 0x88), 1);
}

static inline __m256i scaled(__m256i acc, __m512d scale, __m512d half, __m512d limit) {
  __m512d y = _mm512_fmadd_round_pd(_mm512_cvtepi32_pd(acc), scale, half, DOWN);
  return _mm512_cvt_roundpd_epi32(_mm512_min_pd(y, limit), DOWN);
}

static inline __m512i slow16(__m512i acc, const struct scale *f, __m512d half, __m512d limit) {
  return join(scaled(lower(acc), f->low, half, limit), scaled(upper(acc), f->high, half, limit));
}

#define WHOLE ((__mmask16)~0u) /* a constant after inlining: masked stores are slow */

static inline void store_s8(int8_t *out, __m512i y, __mmask16 some) {
  __m128i bytes = _mm_max_epi8(_mm512_cvtsepi32_epi8(y), _mm_set1_epi8(-127));
  if (some == WHOLE) _mm_storeu_si128((__m128i *)out, bytes);
  else _mm_mask_storeu_epi8(out, some, bytes);
}

static inline void store_s16(int16_t *out, __m512i y, __mmask16 some) {
  __m256i words = _mm256_max_epi16(_mm512_cvtsepi32_epi16(y), _mm256_set1_epi16(-32767));
  if (some == WHOLE) _mm256_storeu_si256((__m256i *)out, words);
  else _mm256_mask_storeu_epi16(out, some, words);
}

#define REQUANTISE(type, suffix, largest)                                                                              \
  static inline __attribute__((always_inline)) void columns_##suffix(                                                  \
      const int32_t *acc, int64_t ldacc, int32_t m, const int32_t *bias, const int32_t *multiplier,                    \
      const int32_t *shift, const __mmask16 some, int32_t zero_point, type *out, int64_t ldout) {                      \
    __m512d half = _mm512_set1_pd(zero_point + 0.5);                                                                   \
    __m512i shifts = _mm512_mask_loadu_epi32(_mm512_set1_epi32(17), some, shift);                                      \
    __m512i factor = (__m512i)_mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(some, multiplier));                          \
    factor = _mm512_sub_epi32(factor, _mm512_slli_epi32(shifts, 23));                                                  \
    __m512i add = bias ? _mm512_maskz_loadu_epi32(some, bias) : _mm512_setzero_si512();                                \
    struct scale f;                                                                                                    \
    if (_mm512_cmpgt_epu32_mask(_mm512_sub_epi32(shifts, _mm512_set1_epi32(17)), _mm512_set1_epi32(15))) {             \
      f.low = _mm512_cvtps_pd((__m256)lower(factor));                                                                  \
      f.high = _mm512_cvtps_pd((__m256)upper(factor));                                                                 \
      for (int32_t i = 0; i < m; ++i, acc += ldacc, out += ldout) {                                                    \
        __m512i x = _mm512_add_epi32(_mm512_maskz_loadu_epi32(some, acc), add);                                        \
        store_##suffix(out, slow16(x, &f, half, _mm512_set1_pd(largest)), some);                                       \
      }                                                                                                                \
      return;                                                                                                          \
    }                                                                                                                  \
    /* lanes 0 1 4 5 8 9 12 13, then 2 3 6 7 10 11 14 15, as unpacking leaves them */                                  \
    factor = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), factor);                              \
    f.low = _mm512_cvtps_pd((__m256)lower(factor));                                                                    \
    f.high = _mm512_cvtps_pd((__m256)upper(factor));                                                                   \
    __m512d constant = _mm512_set1_pd(EXPONENT + 2147483648.0), base = _mm512_add_pd(half, _mm512_set1_pd(MAGIC));     \
    f.add_low = _mm512_fnmadd_pd(f.low, constant, base);                                                               \
    f.add_high = _mm512_fnmadd_pd(f.high, constant, base);                                                             \
    add = _mm512_xor_si512(add, _mm512_set1_epi32(INT32_MIN));                                                         \
    for (int32_t i = 0; i < m; ++i, acc += ldacc, out += ldout)                                                        \
      store_##suffix(out, quick16(_mm512_add_epi32(_mm512_maskz_loadu_epi32(some, acc), add), &f), some);              \
  }                                                                                                                    \
  static inline __attribute__((always_inline)) void requantise_rows_##suffix(                                          \
      const int32_t *acc, int64_t ldacc, int32_t m, const int32_t *bias, const int32_t *multiplier,                    \
      const int32_t *shift, int64_t n, int32_t zero_point, type *out, int64_t ldout) {                                 \
    int64_t j = 0;                                                                                                     \
    for (; j + 16 <= n; j += 16)                                                                                       \
      columns_##suffix(acc + j, ldacc, m, bias ? bias + j : 0, multiplier + j, shift + j, WHOLE, zero_point, out + j,  \
                       ldout);                                                                                         \
    if (j < n)                                                                                                         \
      columns_##suffix(acc + j, ldacc, m, bias ? bias + j : 0, multiplier + j, shift + j, first16(n - j), zero_point,  \
                       out + j, ldout);                                                                                \
  }                                                                                                                    \
  void ew_requantise_tile_##suffix(const int32_t *acc, int64_t ldacc, int32_t m, const int32_t *bias,                  \
                                   const int32_t *multiplier, const int32_t *shift, int64_t n, int32_t zero_point,     \
                                   type *out, int64_t ldout) {                                                         \
    requantise_rows_##suffix(acc, ldacc, m, bias, multiplier, shift, n, zero_point, out, ldout);                                  \
  }                                                                                                                    \
  void ew_requantise_##suffix(const int32_t *acc, const int32_t *multiplier, const int32_t *shift, int64_t n,          \
                              int32_t zero_point, type *out) {                                                         \
    requantise_rows_##suffix(acc, 0, 1, 0, multiplier, shift, n, zero_point, out, 0);                                             \
  }                                                                                                                    \
  void ew_requantise_bias_##suffix(const int32_t *acc, const int32_t *bias, const int32_t *multiplier,                 \
                                   const int32_t *shift, int64_t n, int32_t zero_point, type *out) {                   \
    requantise_rows_##suffix(acc, 0, 1, bias, multiplier, shift, n, zero_point, out, 0);                                          \
  }
REQUANTISE(int8_t, s8, 127.0)
REQUANTISE(int16_t, s16, 32767.0)

/* ---- attention weights */

/* Steps of 1/256 octave, at most 4095, of 16 distances below the maximum. For shift <= 20 in 32 bits, since the distance
 * is first limited to the least one that gives 4095; otherwise as in requantise, without a sign. */
struct steps {
  __m512i furthest, multiplier, half;
  __m128i shift;
  struct scale scale;
};

static inline __m512i steps32(__m512i d, const struct steps *f) {
  __m512i p = _mm512_mullo_epi32(_mm512_min_epu32(d, f->furthest), f->multiplier);
  return _mm512_min_epu32(_mm512_srl_epi32(_mm512_add_epi32(p, f->half), f->shift), _mm512_set1_epi32(4095));
}

static inline __m512i steps64(__m512i d, const struct steps *f) {
  return _mm512_min_epu32(quick16(d, &f->scale), _mm512_set1_epi32(4095));
}

/* The table of 256 words in eight registers: four lookups of 64 entries, then the two upper bits choose. */
static inline __m512i lookup(const __m512i *table, __m512i u) {
  __m512i a = _mm512_permutex2var_epi16(table[0], u, table[1]), b = _mm512_permutex2var_epi16(table[2], u, table[3]);
  __m512i c = _mm512_permutex2var_epi16(table[4], u, table[5]), d = _mm512_permutex2var_epi16(table[6], u, table[7]);
  __mmask32 bit6 = _mm512_test_epi16_mask(u, _mm512_set1_epi16(64)), bit7 = _mm512_test_epi16_mask(u, _mm512_set1_epi16(128));
  return _mm512_mask_blend_epi16(bit7, _mm512_mask_blend_epi16(bit6, a, b), _mm512_mask_blend_epi16(bit6, c, d));
}

static inline __m256i weights32(__m512i d0, __m512i d1, const __m512i *table, const struct steps *f, const int narrow) {
  const __m512i lower_words = _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26,
                                               24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  __m512i u0 = narrow ? steps32(d0, f) : steps64(d0, f), u1 = narrow ? steps32(d1, f) : steps64(d1, f);
  __m512i u = _mm512_permutex2var_epi16(u0, lower_words, u1);
  __m512i e = _mm512_srlv_epi16(lookup(table, u), _mm512_srli_epi16(u, 8));
  e = _mm512_srli_epi16(_mm512_add_epi16(e, _mm512_set1_epi16(64)), 7);
  return _mm512_cvtepi16_epi8(_mm512_min_epu16(e, _mm512_set1_epi16(254)));
}

static inline __attribute__((always_inline)) int32_t weigh(const int32_t *scores, int64_t n, __m512i largest,
                                                           const struct steps *f, const int narrow, uint8_t *weights) {
  __m512i table[8];
  for (int i = 0; i < 8; ++i) table[i] = _mm512_loadu_si512(ew_exp2_table + 32 * i);
  __m256i total = _mm256_setzero_si256();
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    __m512i d0 = _mm512_sub_epi32(largest, _mm512_loadu_si512(scores + i));
    __m512i d1 = _mm512_sub_epi32(largest, _mm512_loadu_si512(scores + i + 16));
    __m256i bytes = weights32(d0, d1, table, f, narrow);
    _mm256_storeu_si256((__m256i *)(weights + i), bytes);
    total = _mm256_add_epi64(total, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
  }
  if (i < n) {
    __mmask32 some = first32(n - i);
    __m512i d0 = _mm512_sub_epi32(largest, _mm512_maskz_loadu_epi32((__mmask16)some, scores + i));
    __m512i d1 = _mm512_sub_epi32(largest, _mm512_maskz_loadu_epi32((__mmask16)(some >> 16), scores + i + 16));
    __m256i bytes = _mm256_maskz_mov_epi8(some, weights32(d0, d1, table, f, narrow));
    _mm256_mask_storeu_epi8(weights + i, some, bytes);
    total = _mm256_add_epi64(total, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
  }
  __m128i sum = _mm_add_epi64(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
  return _mm_cvtsi128_si32(_mm_add_epi64(sum, _mm_unpackhi_epi64(sum, sum)));
}

int32_t ew_attention_weights(const int32_t *scores, int64_t n, int32_t multiplier, int32_t shift, uint8_t *weights) {
  __m512i top = _mm512_set1_epi32(INT32_MIN), other = top;
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    top = _mm512_max_epi32(top, _mm512_loadu_si512(scores + i));
    other = _mm512_max_epi32(other, _mm512_loadu_si512(scores + i + 16));
  }
  for (; i < n; i += 16) top = _mm512_max_epi32(top, _mm512_mask_loadu_epi32(top, first16(n - i), scores + i));
  __m512i largest = _mm512_set1_epi32(_mm512_reduce_max_epi32(_mm512_max_epi32(top, other)));
  struct steps f = {.shift = _mm_cvtsi32_si128(shift), .multiplier = _mm512_set1_epi32(multiplier)};
  if (shift <= 20) {
    uint64_t half = (UINT64_C(1) << shift) >> 1;
    f.half = _mm512_set1_epi32((int32_t)half);
    f.furthest = _mm512_set1_epi32((int32_t)(((UINT64_C(4095) << shift) - half + (uint32_t)multiplier - 1) / (uint32_t)multiplier));
    return weigh(scores, n, largest, &f, 1, weights);
  }
  double scale = (double)multiplier / (double)(INT64_C(1) << shift);
  f.scale.low = f.scale.high = _mm512_set1_pd(scale);
  f.scale.add_low = f.scale.add_high = _mm512_set1_pd(MAGIC + 0.5 - EXPONENT * scale); /* whole multiples of 1/2 */
  return weigh(scores, n, largest, &f, 0, weights);
}

/* ---- exponentials of softmax_s16.c */

#define EW_OWN_EXPONENTIALS

/* floor(floor(d m / 2^(s-1)) / 2 + 1/2) of unsigned words: no sum overflows, and a shift beyond 31 leaves 0. */
static inline __m512i steps_s16(__m512i d, __m512i m, __m128i shift_less_1) {
  __m512i low = _mm512_mullo_epi16(d, m), high = _mm512_mulhi_epu16(d, m), one = _mm512_set1_epi32(1);
  __m512i p = _mm512_srl_epi32(_mm512_unpacklo_epi16(low, high), shift_less_1);
  __m512i q = _mm512_srl_epi32(_mm512_unpackhi_epi16(low, high), shift_less_1);
  p = _mm512_srli_epi32(_mm512_add_epi32(p, one), 1), q = _mm512_srli_epi32(_mm512_add_epi32(q, one), 1);
  return _mm512_min_epu16(_mm512_packus_epi32(p, q), _mm512_set1_epi16(4095));
}

static inline uint32_t ew_exponentials(const int16_t *x, int64_t n, int16_t largest, int32_t multiplier, int32_t shift,
                                       int16_t *out) {
  __m512i table[8], sum = _mm512_setzero_si512(), top = _mm512_set1_epi16(largest);
  __m512i m = _mm512_set1_epi16((int16_t)multiplier);
  __m128i shift_less_1 = _mm_cvtsi32_si128(shift - 1);
  for (int i = 0; i < 8; ++i) table[i] = _mm512_loadu_si512(ew_exp2_table + 32 * i);
  for (int64_t i = 0; i < n; i += 32) {
    __mmask32 some = first32(n - i);
    __m512i u = steps_s16(_mm512_sub_epi16(top, _mm512_maskz_loadu_epi16(some, x + i)), m, shift_less_1);
    __m512i e = _mm512_maskz_srlv_epi16(some, lookup(table, u), _mm512_srli_epi16(u, 8));
    sum = _mm512_add_epi32(sum, _mm512_add_epi32(_mm512_and_si512(e, _mm512_set1_epi32(0xffff)), _mm512_srli_epi32(e, 16)));
    if (n - i >= 32) _mm512_storeu_si512(out + i, e);
    else _mm512_mask_storeu_epi16(out + i, some, e);
  }
  return (uint32_t)_mm512_reduce_add_epi32(sum);
}

/* ---- table of bytes */

#ifdef __AVX512VBMI__
void ew_table_s8(const int8_t *x, const int8_t *table, int64_t n, int8_t *out) {
  __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64);
  __m512i t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
  for (int64_t i = 0; i < n; i += 64) {
    __mmask64 some = n - i >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (n - i)) - 1;
    __m512i v = _mm512_maskz_loadu_epi8(some, x + i);
    __m512i negative = _mm512_permutex2var_epi8(t0, v, t1), positive = _mm512_permutex2var_epi8(t2, v, t3);
    _mm512_mask_storeu_epi8(out + i, some, _mm512_mask_blend_epi8(_mm512_movepi8_mask(v), positive, negative));
  }
}
#else
/* Entries in pairs as 128 words: the index without its last bit chooses a word, that bit the half of it. */
static inline __m512i pairs(const __m512i *t, __m512i index) {
  __m512i half = _mm512_srli_epi16(index, 1);
  __m512i first = _mm512_permutex2var_epi16(t[0], half, t[1]), second = _mm512_permutex2var_epi16(t[2], half, t[3]);
  __m512i pair = _mm512_mask_blend_epi16(_mm512_test_epi16_mask(half, _mm512_set1_epi16(64)), first, second);
  __mmask32 odd = _mm512_test_epi16_mask(index, _mm512_set1_epi16(1));
  return _mm512_and_si512(_mm512_mask_srli_epi16(pair, odd, pair, 8), _mm512_set1_epi16(255));
}

void ew_table_s8(const int8_t *x, const int8_t *table, int64_t n, int8_t *out) {
  __m512i t[4];
  for (int i = 0; i < 4; ++i) t[i] = _mm512_loadu_si512(table + 64 * i);
  for (int64_t i = 0; i < n; i += 64) {
    __mmask64 some = n - i >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (n - i)) - 1;
    __m512i v = _mm512_xor_si512(_mm512_maskz_loadu_epi8(some, x + i), _mm512_set1_epi8(-128));
    __m512i even = pairs(t, _mm512_and_si512(v, _mm512_set1_epi16(255))), odd = pairs(t, _mm512_srli_epi16(v, 8));
    _mm512_mask_storeu_epi8(out + i, some, _mm512_or_si512(even, _mm512_slli_epi16(odd, 8)));
  }
}
#endif

/* ---- sum of two scales */

/* sat16(round_shift(a * m, s)) for s <= 31 in 32 bits: floor(floor(p / 2^(s-1)) / 2 + 1/2), so no sum overflows. */
static inline __m512i requantised(__m512i a, __m512i m, __m128i shift_less_1) {
  /* m - 2^16 as a signed word: the upper half of the product lacks a */
  __m512i low = _mm512_mullo_epi16(a, m), high = _mm512_add_epi16(_mm512_mulhi_epi16(a, m), a);
  __m512i p = _mm512_unpacklo_epi16(low, high), q = _mm512_unpackhi_epi16(low, high), one = _mm512_set1_epi32(1);
  p = _mm512_srai_epi32(_mm512_add_epi32(_mm512_sra_epi32(p, shift_less_1), one), 1);
  q = _mm512_srai_epi32(_mm512_add_epi32(_mm512_sra_epi32(q, shift_less_1), one), 1);
  return _mm512_max_epi16(_mm512_packs_epi32(p, q), _mm512_set1_epi16(-32767));
}

static inline __attribute__((always_inline)) void add_s16(const int16_t *a, const int16_t *b, int64_t n, int32_t ma,
                                                          int32_t sa, const int keep_a, int32_t mb, int32_t sb,
                                                          const int keep_b, int16_t *out) {
  /* beyond 31 every product gives 0, as 31 steps more or less do: 0 and -1 both round to 0 */
  __m128i fa = _mm_cvtsi32_si128(sa - 1), fb = _mm_cvtsi32_si128(sb - 1);
  __m512i wa = _mm512_set1_epi16((int16_t)ma), wb = _mm512_set1_epi16((int16_t)mb), least = _mm512_set1_epi16(-32767);
#define ADD(va, vb)                                                                                                    \
  _mm512_max_epi16(_mm512_adds_epi16(keep_a ? _mm512_max_epi16(va, least) : requantised(va, wa, fa),                   \
                                     keep_b ? _mm512_max_epi16(vb, least) : requantised(vb, wb, fb)),                  \
                   least)
  int64_t i = 0;
  for (; i + 32 <= n; i += 32)
    _mm512_storeu_si512(out + i, ADD(_mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i)));
  if (i < n) {
    __mmask32 some = first32(n - i);
    _mm512_mask_storeu_epi16(out + i, some, ADD(_mm512_maskz_loadu_epi16(some, a + i), _mm512_maskz_loadu_epi16(some, b + i)));
  }
#undef ADD
}

void ew_add_requantised_s16(const int16_t *a, const int16_t *b, int64_t n, int32_t ma, int32_t sa, int32_t mb, int32_t sb,
                            int16_t *out) {
  int keep_a = ma == 1 << 15 && sa == 15, keep_b = mb == 1 << 15 && sb == 15;
  if (keep_a && keep_b) add_s16(a, b, n, ma, sa, 1, mb, sb, 1, out);
  else if (keep_a) add_s16(a, b, n, ma, sa, 1, mb, sb, 0, out);
  else if (keep_b) add_s16(b, a, n, mb, sb, 1, ma, sa, 0, out);
  else add_s16(a, b, n, ma, sa, 0, mb, sb, 0, out);
}
