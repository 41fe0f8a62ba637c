/* hashing.c in integers, after it in its unit. */
#include "ew_kernels.h"
#include "tables.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef int8_t ew_b16 __attribute__((vector_size(16)));
typedef int16_t ew_b16w __attribute__((vector_size(32)));
typedef double ew_vd __attribute__((vector_size(EW_VECTOR_BYTES)));
typedef int64_t ew_vl __attribute__((vector_size(EW_VECTOR_BYTES)));
typedef int32_t ew_vh __attribute__((vector_size(EW_VECTOR_BYTES / 2))); /* as many as doubles */

typedef int16_t ew_vq __attribute__((vector_size(EW_VECTOR_BYTES / 4)));
typedef int8_t ew_vc __attribute__((vector_size(EW_LANES)));

#define EW_PAIRS (EW_LANES / 2)
#define EW_WORDS 16
#define EW_WHOLE 6755399441055744.0 /* 2^52 + 2^51, whose last bits hold an integer */
#define EW_CHUNK 256                /* as many bytes add up within 16 bits */

static inline double ew_power(int32_t exponent) { /* 2^exponent */
  int64_t bits = (int64_t)(1023 + exponent) << 52;
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* EW_WHOLE + round_shift(x * m, s) for factor = m * 2^-s and up = 2^-(s + 1), which sends ties up: |x m| < 2^50. */
static inline ew_vd ew_rounded(ew_vh x, ew_vd factor, ew_vd up) {
  return __builtin_convertvector(x, ew_vd) * factor + up + EW_WHOLE;
}

static inline ew_vd ew_splat_d(double x) { return x - (ew_vd){0}; }
static inline ew_vh ew_low(ew_vd x) { return __builtin_convertvector((ew_vl)x, ew_vh); }

COMBINED(ew_combined_s32, ew_vi, EW_LANES, int32_t)

static inline void ew_quads_s8(const int8_t *codes, int32_t bits, uint8_t *quad) {
  for (int32_t bit = 0; bit < bits; bit += 4) {
    uint32_t four = 0x80808080; /* no code, no bit */
    memcpy(&four, codes + bit, bits - bit < 4 ? (size_t)(bits - bit) : 4);
    *quad++ = (uint8_t)(((~four >> 7 & 0x01010101) * 0x10204080u) >> 28);
  }
}

/* Buckets of 16-bit words, for at most EW_CHUNK tokens. */
static inline __attribute__((always_inline)) void ew_bucket_s8(const int8_t *codes, int64_t ldc, const int8_t *v,
                                                               int64_t ldv, int64_t tokens, int32_t bits,
                                                               const int32_t many, int64_t width, const int64_t ld,
                                                               uint8_t *quads, int16_t *bucket, int32_t *weight) {
  int8_t last[EW_WORDS] = {0};
  const int64_t whole = width / EW_WORDS * EW_WORDS;
  for (int64_t t = 0; t < tokens; ++t, codes += ldc, v += ldv, quads += many) {
    ew_quads_s8(codes, bits, quads);
    for (int32_t q = 0; q < many; ++q) ++weight[16 * q + quads[q]];
    for (int64_t i = 0; i < ld; i += EW_WORDS) {
      const int8_t *from = v + i;
      if (i == whole) from = memcpy(last, from, (size_t)(width - whole));
      ew_b16 narrow;
      memcpy(&narrow, from, sizeof narrow);
      const ew_b16w wide = __builtin_convertvector(narrow, ew_b16w);
      for (int32_t q = 0; q < many; ++q) {
        int16_t *at = bucket + (16 * q + quads[q]) * ld + i;
        ew_b16w sum;
        memcpy(&sum, at, sizeof sum);
        sum += wide;
        memcpy(at, &sum, sizeof sum);
      }
    }
  }
}

void ew_hash_tables_s8(const int8_t *codes, int64_t ldc, const int8_t *v, int64_t ldv, int64_t tokens, int32_t bits,
                       int64_t width, int32_t total, uint8_t *quads, int32_t *table, int32_t *weight, int16_t *work) {
  const int32_t many = EW_QUADS(bits);
  const int64_t ld = (width + EW_WORDS - 1) / EW_WORDS * EW_WORDS, size = many * 16 * ld;
  memset(weight, 0, (size_t)many * 16 * sizeof *weight);
  for (int64_t t = 0; t < tokens; t += EW_CHUNK) {
    const int64_t some = tokens - t < EW_CHUNK ? tokens - t : EW_CHUNK;
    memset(work, 0, (size_t)size * sizeof *work);
    if (bits == 16 && width == 16) ew_bucket_s8(codes, ldc, v, ldv, some, 16, 4, 16, 16, quads, work, weight);
    else if (bits == 16 && width == 32) ew_bucket_s8(codes, ldc, v, ldv, some, 16, 4, 32, 32, quads, work, weight);
    else if (bits == 16 && width == 64) ew_bucket_s8(codes, ldc, v, ldv, some, 16, 4, 64, 64, quads, work, weight);
    else ew_bucket_s8(codes, ldc, v, ldv, some, bits, many, width, ld, quads, work, weight);
    if (t == 0)
      for (int64_t i = 0; i < size; ++i) table[i] = work[i];
    else
      for (int64_t i = 0; i < size; ++i) table[i] += work[i];
    codes += some * ldc, v += some * ldv, quads += some * many;
  }
  ew_hash_weights(tokens, bits, weight);
  for (int32_t q = 0; q < many; ++q, table += 16 * ld) {
    const int32_t live = bits - 4 * q < 4 ? bits - 4 * q : 4, plus = q == 0 && total ? bits + 1 : 0;
    if (live == 4 && plus) ew_combined_s32(table, ld, 4, bits + 1);
    else if (live == 4) ew_combined_s32(table, ld, 4, 0);
    else ew_combined_s32(table, ld, live, plus);
  }
}

/* attention_normalise of one vector of sums. */
static inline ew_vi ew_normalised(ew_vi sum, ew_vd factor, ew_vd up) {
  ew_vh half[2];
  memcpy(half, &sum, sizeof sum);
  half[0] = ew_low(ew_rounded(half[0], factor, up));
  half[1] = ew_low(ew_rounded(half[1], factor, up));
  memcpy(&sum, half, sizeof sum);
  return sum;
}

static inline __attribute__((always_inline)) void hash_rows_s8(const uint8_t *quads, int64_t rows, const int32_t many,
                                                               int32_t bits, const int32_t *table, const int32_t *weight,
                                                               const int64_t width, const int8_t *own, int64_t ldv,
                                                               int32_t *out, int64_t ldout) {
  const int64_t ld = (width + EW_WORDS - 1) / EW_WORDS * EW_WORDS;
  for (; rows > 0; --rows, quads += many, out += ldout) {
    int32_t all = 0;
    for (int32_t q = 0; q < many; ++q) all += weight[16 * q + quads[q]];
    const int32_t n = 32 - __builtin_clz((uint32_t)all);
    const uint64_t reciprocal = (UINT64_C(1) << (n + 15)) / (uint32_t)all;
    const ew_vd factor = ew_splat_d((double)(int64_t)reciprocal * ew_power(-n - 7)), up = ew_splat_d(ew_power(-n - 8));
    for (int64_t i = 0; i < width; i += EW_LANES) {
      const int64_t left = width - i < EW_LANES ? width - i : EW_LANES;
      ew_vi sum, more;
      memcpy(&sum, table + quads[0] * ld + i, sizeof sum);
      for (int32_t q = 1; q < many; ++q) {
        memcpy(&more, table + (16 * q + quads[q]) * ld + i, sizeof more);
        sum += more;
      }
      if (own) {
        ew_vi mine = {0};
        for (int64_t j = 0; j < left; ++j) mine[j] = own[i + j];
        sum += mine * (bits + 1);
      }
      sum = ew_normalised(sum, factor, up);
      memcpy(out + i, &sum, left == EW_LANES ? sizeof sum : (size_t)left * sizeof *out);
    }
    if (own) own += ldv;
  }
}

void ew_hash_rows_s8(const uint8_t *quads, int64_t rows, int32_t bits, const int32_t *table, const int32_t *weight,
                     int64_t width, const int8_t *own, int64_t ldv, int32_t *out, int64_t ldout) {
  if (bits == 16 && width == 16 && !own) hash_rows_s8(quads, rows, 4, 16, table, weight, 16, 0, 0, out, ldout);
  else if (bits == 16 && width == 32 && !own) hash_rows_s8(quads, rows, 4, 16, table, weight, 32, 0, 0, out, ldout);
  else if (bits == 16 && width == 64 && !own) hash_rows_s8(quads, rows, 4, 16, table, weight, 64, 0, 0, out, ldout);
  else hash_rows_s8(quads, rows, EW_QUADS(bits), bits, table, weight, width, own, ldv, out, ldout);
}

/* ---- codes */

/* Sums of the products of pairs of words. */
static inline ew_vi ew_products(ew_vi a, ew_vi b) {
#if defined(__AVX512BW__) && EW_VECTOR_BYTES == 64
  return (ew_vi)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__) && EW_VECTOR_BYTES == 32
  return (ew_vi)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__x86_64__) && EW_VECTOR_BYTES == 16
  return (ew_vi)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
  return (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
#endif
}

/* What one vector of bits adds up: over pairs of anchors the words of `kernel` times the coefficients, `step` words apart. */
static inline ew_vi ew_margins(const int16_t *kernel, const int16_t *coefficients, int64_t pairs, int64_t step) {
#if defined(__aarch64__) && EW_VECTOR_BYTES == 16
  int32x4_t low = vdupq_n_s32(0), high = low;
  for (int64_t j = 0; j < pairs; ++j, coefficients += step) {
    int32_t two;
    memcpy(&two, kernel + 2 * j, sizeof two);
    const int16x8_t both = vreinterpretq_s16_s32(vdupq_n_s32(two)), row = vld1q_s16(coefficients);
    low = vmlal_s16(low, vget_low_s16(row), vget_low_s16(both));
    high = vmlal_high_s16(high, row, both);
  }
  return (ew_vi)vpaddq_s32(low, high);
#else
  ew_vi sum = {0}, row;
  for (int64_t j = 0; j < pairs; ++j, coefficients += step) {
    int32_t two;
    memcpy(&two, kernel + 2 * j, sizeof two);
    memcpy(&row, coefficients, sizeof row);
    sum += ew_products(two - (ew_vi){0}, row);
  }
  return sum;
#endif
}

/* inverse_square_root of a norm, as round_shift(x y, e + 8) takes it: y 2^-(e + 8) and 2^-(e + 9). */
static inline void ew_root(int32_t norm, double *factor, double *up) {
  const uint64_t v = norm < 1 ? 1 : (uint64_t)norm;
  const int32_t e = (63 - __builtin_clzll(v)) / 2;
  const int64_t m16 = (int64_t)(2 * e <= 16 ? v << (16 - 2 * e) : v >> (2 * e - 16));
  const int64_t y0 = ew_rsqrt_table[m16 >> 10], q0 = (y0 * y0) >> 14;
  const int64_t y = (y0 * ((3 << 16) - ((m16 * q0) >> 16)) + (1 << 15)) >> 16;
  *factor = (double)y * ew_power(-e - 8);
  *up = ew_power(-e - 9);
}

/* Minus the distances of a row of products from the anchors, in 1/256 octaves. ld: a multiple of EW_LANES. */
static inline void ew_distances(const int32_t *products, int32_t norm, const int32_t *base, const int32_t *offset, int64_t ld,
                                double factor, double up, int16_t *out) {
  double first, tie;
  ew_root(norm, &first, &tie);
  for (int64_t j = 0; j < ld; j += EW_PAIRS) {
    ew_vh product, less, from;
    memcpy(&product, products + j, sizeof product);
    memcpy(&less, base + j, sizeof less);
    memcpy(&from, offset + j, sizeof from);
    const ew_vd cosine = ew_rounded(product - less, ew_splat_d(first), ew_splat_d(tie)) - EW_WHOLE;
    const ew_vd near = (cosine * factor + up + EW_WHOLE) - EW_WHOLE;
    ew_vd step = near - __builtin_convertvector(from, ew_vd);
    step = (ew_vd)(((ew_vl)step & (ew_vl)(step < 0.0))); /* at most 0 */
    const ew_vl far = step < -4095.0;
    step = (ew_vd)(((ew_vl)step & ~far) | ((ew_vl)ew_splat_d(-4095.0) & far));
    const ew_vh whole = ew_low(step + EW_WHOLE);
    const ew_vq narrow = __builtin_convertvector(whole, ew_vq);
    memcpy(out + j, &narrow, sizeof narrow);
  }
}

void ew_hash_codes_s8(const int8_t *u, int64_t ldu, int32_t rows, const int64_t *shape, const int8_t *anchors,
                      const int32_t *offset, const int16_t *coefficients, const int32_t *threshold, int8_t *work,
                      int8_t *out, int64_t ldout) {
  const int64_t d = shape[0], bits = shape[1], pairs = shape[2], ld = shape[3], panel = shape[4];
  const double factor = (double)shape[5] * ew_power((int32_t)-shape[6]), up = ew_power((int32_t)-shape[6] - 1);
  const int64_t size = shape[7], columns = shape[8]; /* bytes of the packed rows; columns of the panels */
  int32_t *products = (int32_t *)(void *)(work + size);
  int16_t *kernel = (int16_t *)(void *)(products + EW_S8_MR * ld);
  const int64_t step = 2 * ((bits + EW_LANES - 1) / EW_LANES * EW_LANES);
  for (int32_t i = 0; i < rows; i += EW_S8_MR, u += EW_S8_MR * ldu, out += EW_S8_MR * ldout) {
    const int32_t m = rows - i < EW_S8_MR ? rows - i : EW_S8_MR;
    ew_pack_a_s8(u, ldu, m, d, work);
    for (int64_t p = 0; p < columns; p += EW_S8_NR) ew_gemm_s8(work, anchors + p / EW_S8_NR * panel, d, products + p, ld, m);
    for (int32_t r = 0; r < m; ++r) {
      int32_t norm = 0;
      for (int64_t k = 0; k < d; ++k) norm += u[r * ldu + k] * u[r * ldu + k];
      ew_distances(products + r * ld, norm, offset + ld, offset, ld, factor, up, kernel + r * ld);
    }
#ifdef EW_OWN_EXPONENTIALS
    ew_exponentials(kernel, m * ld, 0, 1 << 15, 15, kernel);
    for (int64_t j = 0; j < m * ld; ++j) kernel[j] = (int16_t)((uint16_t)kernel[j] - (1 << 14));
#else
    for (int64_t j = 0; j < m * ld; ++j) {
      const int32_t far = -kernel[j];
      kernel[j] = (int16_t)((ew_exp2_table[far & 255] >> (far >> 8)) - (1 << 14));
    }
#endif
    for (int32_t r = 0; r < m; ++r)
      for (int64_t p = 0; p < bits; p += EW_LANES) {
        ew_vi limit;
        memcpy(&limit, threshold + p, sizeof limit);
        const ew_vi below = (ew_margins(kernel + r * ld, coefficients + 2 * p, pairs, step) < limit) | 1;
        const ew_vc codes = __builtin_convertvector(below, ew_vc);
        memcpy(out + r * ldout + p, &codes, bits - p < EW_LANES ? (size_t)(bits - p) : sizeof codes);
      }
  }
}
