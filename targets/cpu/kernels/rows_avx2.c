/* The integer functions of one row in AVX2 and FMA. */
#include "ew_kernels.h"
#include "tables.h"

#include <immintrin.h>
#include <string.h>

static inline __m256i load(const void *p) { return _mm256_loadu_si256(p); }
static inline __m128i upper(__m256i x) { return _mm256_extracti128_si256(x, 1); }
static inline __m128i lower(__m256i x) { return _mm256_castsi256_si128(x); }

/* ---- requantise in 64 bits: acc * m + 2^(s-1) + 2^62 is positive and shifts right logically, which leaves 2^(62-s) too
 * much. Of the quotient 32 bits are kept: enough for s >= 12, and smaller shifts first limit acc to +-2^(s+2), from where
 * on every result saturates. */

struct factors {
  __m256i even, odd, add_even, add_odd, shift_even, shift_odd, add, limit;
};

static inline struct factors factors8(const int32_t *multiplier, const int32_t *shift, int32_t zero_point) {
  const __m256i low = _mm256_set1_epi64x(0xffffffff), one = _mm256_set1_epi64x(1);
  const __m256i offset = _mm256_set1_epi64x(INT64_C(1) << 62);
  struct factors f;
  __m256i s = load(shift);
  f.even = load(multiplier);
  f.odd = _mm256_srli_epi64(f.even, 32);
  f.shift_even = _mm256_and_si256(s, low);
  f.shift_odd = _mm256_srli_epi64(s, 32);
  f.add_even = _mm256_add_epi64(offset, _mm256_srli_epi64(_mm256_sllv_epi64(one, f.shift_even), 1));
  f.add_odd = _mm256_add_epi64(offset, _mm256_srli_epi64(_mm256_sllv_epi64(one, f.shift_odd), 1));
  /* 2^(62-s) modulo 2^32: nothing for s <= 30, as a shift by 32 and more gives */
  __m256i excess = _mm256_sllv_epi32(_mm256_set1_epi32(1), _mm256_sub_epi32(_mm256_set1_epi32(62), s));
  f.add = _mm256_sub_epi32(_mm256_set1_epi32(zero_point), excess);
  f.limit = _mm256_sllv_epi32(_mm256_set1_epi32(4), _mm256_min_epi32(s, _mm256_set1_epi32(26)));
  return f;
}

static inline __m256i scaled8(__m256i acc, const struct factors *f) {
  acc = _mm256_max_epi32(_mm256_min_epi32(acc, f->limit), _mm256_sub_epi32(_mm256_setzero_si256(), f->limit));
  __m256i even = _mm256_add_epi64(_mm256_mul_epi32(acc, f->even), f->add_even);
  __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(acc, 32), f->odd), f->add_odd);
  even = _mm256_srlv_epi64(even, f->shift_even);
  odd = _mm256_slli_epi64(_mm256_srlv_epi64(odd, f->shift_odd), 32);
  return _mm256_add_epi32(_mm256_blend_epi32(even, odd, 0xaa), f->add);
}

static inline void store_s16(int16_t *out, __m256i y) {
  __m128i words = _mm_packs_epi32(lower(y), upper(y));
  _mm_storeu_si128((__m128i *)out, _mm_max_epi16(words, _mm_set1_epi16(-32767)));
}

static inline void store_s8(int8_t *out, __m256i y) {
  __m128i words = _mm_packs_epi32(lower(y), upper(y));
  _mm_storel_epi64((__m128i *)out, _mm_max_epi8(_mm_packs_epi16(words, words), _mm_set1_epi8(-127)));
}

#define REQUANTISE(type, suffix)                                                                                       \
  static inline __attribute__((always_inline)) void columns_##suffix(                                                  \
      const int32_t *acc, int64_t ldacc, int32_t m, const int32_t *bias, const int32_t *multiplier,                    \
      const int32_t *shift, int32_t zero_point, type *out, int64_t ldout) {                                            \
    struct factors f = factors8(multiplier, shift, zero_point);                                                        \
    __m256i add = bias ? load(bias) : _mm256_setzero_si256();                                                          \
    for (int32_t i = 0; i < m; ++i)                                                                                    \
      store_##suffix(out + i * ldout, scaled8(_mm256_add_epi32(load(acc + i * ldacc), add), &f));                      \
  }                                                                                                                    \
  static inline __attribute__((always_inline)) void requantise_rows_##suffix(                                          \
      const int32_t *acc, int64_t ldacc, int32_t m, const int32_t *bias, const int32_t *multiplier,                    \
      const int32_t *shift, int64_t n, int32_t zero_point, type *out, int64_t ldout) {                                 \
    int64_t j = 0, rest = n % 8;                                                                                       \
    for (; j + 8 <= n; j += 8)                                                                                         \
      columns_##suffix(acc + j, ldacc, m, bias ? bias + j : 0, multiplier + j, shift + j, zero_point, out + j, ldout); \
    if (!rest) return;                                                                                                 \
    int32_t some[4][8] = {{0}, {0}, {0}, {1, 1, 1, 1, 1, 1, 1, 1}};                                                    \
    type last[8];                                                                                                      \
    size_t size = (size_t)rest * sizeof(int32_t);                                                                      \
    if (bias) memcpy(some[1], bias + j, size);                                                                         \
    memcpy(some[2], multiplier + j, size);                                                                             \
    memcpy(some[3], shift + j, size);                                                                                  \
    for (int32_t i = 0; i < m; ++i) {                                                                                  \
      memcpy(some[0], acc + i * ldacc + j, size);                                                                      \
      columns_##suffix(some[0], 0, 1, some[1], some[2], some[3], zero_point, last, 0);                                 \
      memcpy(out + i * ldout + j, last, (size_t)rest * sizeof(type));                                                  \
    }                                                                                                                  \
  }                                                                                                                    \
  void ew_requantise_tile_##suffix(const int32_t *acc, int64_t ldacc, int32_t m, const int32_t *bias,                  \
                                   const int32_t *multiplier, const int32_t *shift, int64_t n, int32_t zero_point,     \
                                   type *out, int64_t ldout) {                                                         \
    requantise_rows_##suffix(acc, ldacc, m, bias, multiplier, shift, n, zero_point, out, ldout);                       \
  }                                                                                                                    \
  void ew_requantise_##suffix(const int32_t *acc, const int32_t *multiplier, const int32_t *shift, int64_t n,          \
                              int32_t zero_point, type *out) {                                                         \
    requantise_rows_##suffix(acc, 0, 1, 0, multiplier, shift, n, zero_point, out, 0);                                  \
  }                                                                                                                    \
  void ew_requantise_bias_##suffix(const int32_t *acc, const int32_t *bias, const int32_t *multiplier,                 \
                                   const int32_t *shift, int64_t n, int32_t zero_point, type *out) {                   \
    requantise_rows_##suffix(acc, 0, 1, bias, multiplier, shift, n, zero_point, out, 0);                               \
  }
REQUANTISE(int8_t, s8)
REQUANTISE(int16_t, s16)

/* ---- attention weights */

struct steps {
  __m256i furthest, multiplier, half;
  __m128i shift;
  __m256d scale;
};

/* As in rows_avx512.c: exact in 32 bits for shift <= 20 once the distance is limited. */
static inline __m256i steps32(__m256i d, const struct steps *f) {
  __m256i p = _mm256_mullo_epi32(_mm256_min_epu32(d, f->furthest), f->multiplier);
  return _mm256_min_epu32(_mm256_srl_epi32(_mm256_add_epi32(p, f->half), f->shift), _mm256_set1_epi32(4095));
}

/* Exact in double: 43 bits and a half. */
static inline __m256i steps64(__m256i d, const struct steps *f) {
  const __m256d half = _mm256_set1_pd(0.5), limit = _mm256_set1_pd(4095.0);
  __m256d low = _mm256_fmadd_pd(_mm256_cvtepi32_pd(lower(d)), f->scale, half);
  __m256d high = _mm256_fmadd_pd(_mm256_cvtepi32_pd(upper(d)), f->scale, half);
  return _mm256_set_m128i(_mm256_cvttpd_epi32(_mm256_min_pd(high, limit)), _mm256_cvttpd_epi32(_mm256_min_pd(low, limit)));
}

static inline __m128i weights8(__m256i d, const struct steps *f, const int narrow) {
  __m256i u = narrow ? steps32(d, f) : steps64(d, f);
  __m256i e = _mm256_i32gather_epi32((const int *)(const void *)ew_exp2_table, _mm256_and_si256(u, _mm256_set1_epi32(255)), 2);
  e = _mm256_srlv_epi32(_mm256_and_si256(e, _mm256_set1_epi32(0xffff)), _mm256_srli_epi32(u, 8));
  e = _mm256_srli_epi32(_mm256_add_epi32(e, _mm256_set1_epi32(64)), 7);
  e = _mm256_min_epi32(e, _mm256_set1_epi32(254));
  __m128i words = _mm_packs_epi32(lower(e), upper(e));
  return _mm_packus_epi16(words, words);
}

static inline __attribute__((always_inline)) int32_t weigh(const int32_t *scores, int64_t n, int32_t largest,
                                                           const struct steps *f, const int narrow, uint8_t *weights) {
  __m256i top = _mm256_set1_epi32(largest);
  __m128i total = _mm_setzero_si128();
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    __m128i bytes = weights8(_mm256_sub_epi32(top, load(scores + i)), f, narrow);
    _mm_storel_epi64((__m128i *)(weights + i), bytes);
    total = _mm_add_epi64(total, _mm_sad_epu8(bytes, _mm_setzero_si128()));
  }
  int32_t sum = _mm_cvtsi128_si32(total);
  if (i < n) {
    int32_t last[8] = {0};
    uint8_t bytes[8];
    memcpy(last, scores + i, (size_t)(n - i) * sizeof *last);
    _mm_storel_epi64((__m128i *)bytes, weights8(_mm256_sub_epi32(top, load(last)), f, narrow));
    for (int64_t j = 0; i + j < n; ++j) weights[i + j] = bytes[j], sum += bytes[j];
  }
  return sum;
}

int32_t ew_attention_weights(const int32_t *scores, int64_t n, int32_t multiplier, int32_t shift, uint8_t *weights) {
  int32_t largest = scores[0];
  for (int64_t i = 1; i < n; ++i) largest = scores[i] > largest ? scores[i] : largest;
  struct steps f = {.shift = _mm_cvtsi32_si128(shift), .multiplier = _mm256_set1_epi32(multiplier)};
  if (shift <= 20) {
    uint64_t half = (UINT64_C(1) << shift) >> 1, m = (uint32_t)multiplier;
    f.half = _mm256_set1_epi32((int32_t)half);
    f.furthest = _mm256_set1_epi32((int32_t)(((UINT64_C(4095) << shift) - half + m - 1) / m));
    return weigh(scores, n, largest, &f, 1, weights);
  }
  f.scale = _mm256_set1_pd((double)multiplier / (double)(INT64_C(1) << shift));
  return weigh(scores, n, largest, &f, 0, weights);
}

/* ---- exponentials of softmax_s16.c */

#define EW_OWN_EXPONENTIALS

static inline __m256i exponentials16(__m256i d, __m256i m, __m128i shift_less_1) {
  /* floor(floor(d m / 2^(s-1)) / 2 + 1/2): no sum overflows, and a shift beyond 31 leaves 0 */
  __m256i low = _mm256_mullo_epi16(d, m), high = _mm256_mulhi_epu16(d, m), one = _mm256_set1_epi32(1);
  __m256i p[2] = {_mm256_unpacklo_epi16(low, high), _mm256_unpackhi_epi16(low, high)};
  for (int h = 0; h < 2; ++h) {
    __m256i u = _mm256_srli_epi32(_mm256_add_epi32(_mm256_srl_epi32(p[h], shift_less_1), one), 1);
    u = _mm256_min_epu32(u, _mm256_set1_epi32(4095));
    __m256i index = _mm256_and_si256(u, _mm256_set1_epi32(255));
    __m256i e = _mm256_i32gather_epi32((const int *)(const void *)ew_exp2_table, index, 2);
    p[h] = _mm256_srlv_epi32(_mm256_and_si256(e, _mm256_set1_epi32(0xffff)), _mm256_srli_epi32(u, 8));
  }
  return _mm256_packus_epi32(p[0], p[1]);
}

static inline uint32_t ew_exponentials(const int16_t *x, int64_t n, int16_t largest, int32_t multiplier, int32_t shift,
                                       int16_t *out) {
  __m256i sums = _mm256_setzero_si256(), top = _mm256_set1_epi16(largest), m = _mm256_set1_epi16((int16_t)multiplier);
  __m128i shift_less_1 = _mm_cvtsi32_si128(shift - 1);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    __m256i e = exponentials16(_mm256_sub_epi16(top, load(x + i)), m, shift_less_1);
    sums = _mm256_add_epi32(sums, _mm256_and_si256(e, _mm256_set1_epi32(0xffff)));
    sums = _mm256_add_epi32(sums, _mm256_srli_epi32(e, 16));
    _mm256_storeu_si256((__m256i *)(out + i), e);
  }
  uint32_t parts[8], sum = 0;
  _mm256_storeu_si256((__m256i *)parts, sums);
  for (int j = 0; j < 8; ++j) sum += parts[j];
  if (i < n) {
    int16_t last[16] = {0};
    uint16_t e[16];
    memcpy(last, x + i, (size_t)(n - i) * sizeof *last);
    _mm256_storeu_si256((__m256i *)e, exponentials16(_mm256_sub_epi16(top, load(last)), m, shift_less_1));
    memcpy(out + i, e, (size_t)(n - i) * sizeof *out);
    for (int64_t j = 0; i + j < n; ++j) sum += e[j];
  }
  return sum;
}

/* ---- layer norm in double.
 *
 * z = floor(x N y 2^-f - S y 2^-f + 1/2), f = e + 4, is a sum of multiples of 2^-f below 2^44 of them; z has 19 bits.
 * z * multiplier has 36 bits, offset 47, 2^(shift-1) 39, all in units of 2^-shift. So each fused multiply-add is exact. */

static inline int64_t inverse_square_root(int64_t v, int32_t *e) {
  *e = (63 - __builtin_clzll((uint64_t)v)) / 2;
  int64_t m16 = 2 * *e <= 16 ? v << (16 - 2 * *e) : v >> (2 * *e - 16);
  int64_t y0 = ew_rsqrt_table[m16 >> 10];
  int64_t q0 = (y0 * y0) >> 14;
  return (y0 * ((3 << 16) - ((m16 * q0) >> 16)) + (1 << 15)) >> 16;
}

struct normal {
  __m256d factor, add, scale;
};

static inline __m128i normalise4(__m128i x, __m128i multiplier, __m256i offset, const struct normal *f, double limit) {
  const __m256i magic = _mm256_set1_epi64x(0x4338000000000000); /* 2^52 + 2^51, whose last bits hold an integer */
  __m256d z = _mm256_floor_pd(_mm256_fmadd_pd(_mm256_cvtepi32_pd(x), f->factor, f->add));
  __m256d add = _mm256_sub_pd((__m256d)_mm256_add_epi64(offset, magic), (__m256d)magic);
  add = _mm256_fmadd_pd(add, f->scale, _mm256_set1_pd(0.5));
  z = _mm256_floor_pd(_mm256_fmadd_pd(z, _mm256_mul_pd(_mm256_cvtepi32_pd(multiplier), f->scale), add));
  z = _mm256_max_pd(_mm256_min_pd(z, _mm256_set1_pd(limit)), _mm256_set1_pd(-limit));
  return _mm256_cvttpd_epi32(z);
}

static inline __m128i normalise8(const int16_t *x, const int32_t *multiplier, const int64_t *offset,
                                 const struct normal *f, double limit) {
  __m256i v = _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)x)), m = load(multiplier);
  __m128i low = normalise4(lower(v), lower(m), load(offset), f, limit);
  return _mm_packs_epi32(low, normalise4(upper(v), upper(m), load(offset + 4), f, limit));
}

/* What a row's sums give. */
static inline __attribute__((always_inline)) struct normal normal(const int16_t *x, int64_t n, int64_t eps_term,
                                                                  int32_t shift, const int centred) {
  int64_t sum = 0, squares = 0, i = 0;
  __m256i sums = _mm256_setzero_si256(), even = sums, odd = sums, low = _mm256_set1_epi64x(0xffffffff);
  for (; i + 16 <= n; i += 16) {
    __m256i v = load(x + i), square = _mm256_madd_epi16(v, v); /* at most 2^31, so unsigned */
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(v, _mm256_set1_epi16(1)));
    even = _mm256_add_epi64(even, _mm256_and_si256(square, low));
    odd = _mm256_add_epi64(odd, _mm256_srli_epi64(square, 32));
  }
  int32_t parts[8];
  int64_t wide[4];
  _mm256_storeu_si256((__m256i *)parts, sums);
  _mm256_storeu_si256((__m256i *)wide, _mm256_add_epi64(even, odd));
  for (int j = 0; j < 8; ++j) sum += parts[j];
  for (int j = 0; j < 4; ++j) squares += wide[j];
  for (; i < n; ++i) sum += x[i], squares += (int32_t)x[i] * x[i];
  if (!centred) sum = 0;
  int32_t e;
  int64_t y = inverse_square_root(n * squares - sum * sum + eps_term, &e);
  double unit = 1.0 / (double)(INT64_C(1) << (e + 4));
  return (struct normal){_mm256_set1_pd((double)(n * y) * unit), _mm256_set1_pd(0.5 - (double)(sum * y) * unit),
                         _mm256_set1_pd(1.0 / (double)(INT64_C(1) << shift))};
}

static inline void store8_s8(int8_t *out, __m128i words) {
  _mm_storel_epi64((__m128i *)out, _mm_packs_epi16(words, words));
}
static inline void store8_s16(int16_t *out, __m128i words) { _mm_storeu_si128((__m128i *)out, words); }

#define LAYER_NORM(name, type, suffix, limit, centred)                                                                 \
  name(const int16_t *x, const int32_t *multiplier, const int64_t *offset, int64_t n, int64_t eps_term, int32_t shift, \
       type *out) {                                                                                                    \
    struct normal f = normal(x, n, eps_term, shift, centred);                                                          \
    int64_t i = 0;                                                                                                     \
    for (; i + 8 <= n; i += 8) store8_##suffix(out + i, normalise8(x + i, multiplier + i, offset + i, &f, limit));     \
    if (i < n) {                                                                                                       \
      int16_t last[8] = {0};                                                                                           \
      int32_t multipliers[8] = {0};                                                                                    \
      int64_t offsets[8] = {0};                                                                                        \
      type results[8];                                                                                                 \
      memcpy(last, x + i, (size_t)(n - i) * sizeof *last);                                                             \
      memcpy(multipliers, multiplier + i, (size_t)(n - i) * sizeof *multipliers);                                      \
      memcpy(offsets, offset + i, (size_t)(n - i) * sizeof *offsets);                                                  \
      store8_##suffix(results, normalise8(last, multipliers, offsets, &f, limit));                                     \
      memcpy(out + i, results, (size_t)(n - i) * sizeof *out);                                                         \
    }                                                                                                                  \
  }
LAYER_NORM(void ew_layer_norm_s16, int8_t, s8, 127.0, 1)
LAYER_NORM(void ew_layer_norm_s16_s16, int16_t, s16, 32767.0, 1)
LAYER_NORM(static void ew_rms_norm_s16, int8_t, s8, 127.0, 0)
LAYER_NORM(static void ew_rms_norm_s16_s16, int16_t, s16, 32767.0, 0)

/* ---- table of bytes: sixteen lookups of sixteen entries, then the upper four bits choose as in a knockout */

static inline __m256i lookup(const __m256i *t, __m256i x) {
  __m256i low = _mm256_and_si256(x, _mm256_set1_epi8(15));
  __m256i bit[4] = {_mm256_slli_epi16(x, 3), _mm256_slli_epi16(x, 2), _mm256_slli_epi16(x, 1), x};
  __m256i found[16];
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; ++i) found[i] = _mm256_shuffle_epi8(t[i], low);
#pragma clang loop unroll(full)
  for (int round = 0; round < 4; ++round)
#pragma clang loop unroll(full)
    for (int i = 0; i < 8 >> round; ++i) found[i] = _mm256_blendv_epi8(found[2 * i], found[2 * i + 1], bit[round]);
  return found[0];
}

void ew_table_s8(const int8_t *x, const int8_t *table, int64_t n, int8_t *out) {
  __m256i t[16]; /* by x as an unsigned byte: what the definition has second, first */
  for (int i = 0; i < 16; ++i)
    t[i] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(table + 16 * (i ^ 8))));
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) _mm256_storeu_si256((__m256i *)(out + i), lookup(t, load(x + i)));
  for (; i < n; ++i) out[i] = table[x[i] + 128];
}

/* ---- sum of two scales, as in rows_avx512.c */

static inline __m256i requantised(__m256i a, __m256i m, __m128i shift_less_1) {
  __m256i low = _mm256_mullo_epi16(a, m), high = _mm256_add_epi16(_mm256_mulhi_epi16(a, m), a);
  __m256i p = _mm256_unpacklo_epi16(low, high), q = _mm256_unpackhi_epi16(low, high), one = _mm256_set1_epi32(1);
  p = _mm256_srai_epi32(_mm256_add_epi32(_mm256_sra_epi32(p, shift_less_1), one), 1);
  q = _mm256_srai_epi32(_mm256_add_epi32(_mm256_sra_epi32(q, shift_less_1), one), 1);
  return _mm256_max_epi16(_mm256_packs_epi32(p, q), _mm256_set1_epi16(-32767));
}

static inline __attribute__((always_inline)) void add_s16(const int16_t *a, const int16_t *b, int64_t n, int32_t ma,
                                                          int32_t sa, const int keep_a, int32_t mb, int32_t sb,
                                                          const int keep_b, int16_t *out) {
  __m128i fa = _mm_cvtsi32_si128(sa - 1), fb = _mm_cvtsi32_si128(sb - 1);
  __m256i wa = _mm256_set1_epi16((int16_t)ma), wb = _mm256_set1_epi16((int16_t)mb), least = _mm256_set1_epi16(-32767);
#define ADD(va, vb)                                                                                                    \
  _mm256_max_epi16(_mm256_adds_epi16(keep_a ? _mm256_max_epi16(va, least) : requantised(va, wa, fa),                   \
                                     keep_b ? _mm256_max_epi16(vb, least) : requantised(vb, wb, fb)),                  \
                   least)
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) _mm256_storeu_si256((__m256i *)(out + i), ADD(load(a + i), load(b + i)));
  if (i < n) {
    int16_t last[3][16] = {{0}};
    size_t size = (size_t)(n - i) * sizeof **last;
    memcpy(last[0], a + i, size);
    memcpy(last[1], b + i, size);
    _mm256_storeu_si256((__m256i *)last[2], ADD(load(last[0]), load(last[1])));
    memcpy(out + i, last[2], size);
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
