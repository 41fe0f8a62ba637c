/* Codes of tokens, and attention by codes, in time linear in the tokens.
 *
 * Sums of values under the signs of a code are taken four bits at a time: tokens whose four bits agree are added up in one of
 * 16 buckets, and what a token selects from all is one of 16 combinations of these, prepared once. Nothing is multiplied
 * before the normalisation. */
#include "ew_kernels.h"
#include "ew_math.h"

#include <math.h>
#include <string.h>

#define EW_QUADS(bits) (((bits) + 3) / 4)

static inline void ew_quads_f32(const float *codes, int32_t bits, uint8_t *quad) {
  int32_t bit = 0;
  for (; bit + 4 <= bits; bit += 4, codes += 4) { /* by their signs */
    uint32_t four[4];
    memcpy(four, codes, sizeof four);
    *quad++ = (uint8_t)(15 ^ (four[0] >> 31 | four[1] >> 31 << 1 | four[2] >> 31 << 2 | four[3] >> 31 << 3));
  }
  if (bit < bits) {
    *quad = 0;
    for (int32_t i = 0; bit < bits; ++bit, ++i) *quad |= (uint8_t)((codes[i] > 0) << i);
  }
}

static inline __attribute__((always_inline)) void ew_bucket_f32(const float *codes, int64_t ldc, const float *v, int64_t ldv,
                                                                int64_t tokens, int32_t bits, const int32_t many,
                                                                const int64_t width, uint8_t *quads, float *table,
                                                                int32_t *weight) {
  const int64_t ld = (width + EW_LANES - 1) / EW_LANES * EW_LANES, whole = width / EW_LANES * EW_LANES;
  for (int64_t t = 0; t < tokens; ++t, codes += ldc, v += ldv, quads += many) {
    ew_quads_f32(codes, bits, quads);
    for (int32_t q = 0; q < many; ++q) {
      float *bucket = table + (16 * q + quads[q]) * ld;
      ++weight[16 * q + quads[q]];
      for (int64_t i = 0; i < whole; i += EW_LANES) ew_store(bucket + i, ew_load(bucket + i) + ew_load(v + i));
      for (int64_t i = whole; i < width; ++i) bucket[i] += v[i];
    }
  }
}

/* From how many tokens have which four bits to the weights of all keys together for a query's four bits. */
static void ew_hash_weights(int64_t tokens, int32_t bits, int32_t *weight) {
  for (int32_t first = 0; first < bits; first += 4, weight += 16) {
    const int32_t live = bits - first < 4 ? bits - first : 4;
    int32_t sum[4] = {0};
    for (int32_t r = 0; r < live; ++r)
      for (int x = 0; x < 16; ++x) sum[r] += x >> r & 1 ? weight[x] : -weight[x];
    for (int x = 0; x < 16; ++x) {
      weight[x] = first == 0 ? (bits + 1) * (int32_t)tokens : 0;
      for (int32_t r = 0; r < live; ++r) weight[x] += x >> r & 1 ? sum[r] : -sum[r];
    }
  }
}

/* The same for values: `table` holds the buckets of a quad in 16 rows of ld elements. plus: what the constant adds. */
#define COMBINED(name, vector, lanes, type)                                                                            \
  static inline __attribute__((always_inline)) void name(type *table, int64_t ld, const int32_t live, const int32_t plus) { \
    for (int64_t i = 0; i < ld; i += lanes) {                                                                          \
      vector bucket[16], sum[4], low[4], high[4], total = {0};                                                         \
      for (int x = 0; x < 16; ++x) memcpy(bucket + x, table + x * ld + i, sizeof *bucket);                             \
      if (plus)                                                                                                        \
        for (int x = 0; x < 16; ++x) total += bucket[x];                                                               \
      for (int r = 0; r < live; ++r) {                                                                                 \
        sum[r] = (vector){0};                                                                                          \
        for (int x = 0; x < 16; ++x) sum[r] = x >> r & 1 ? sum[r] + bucket[x] : sum[r] - bucket[x];                    \
      }                                                                                                                \
      for (int r = live; r < 4; ++r) sum[r] = (vector){0};                                                             \
      for (int x = 0; x < 4; ++x) {                                                                                    \
        low[x] = (x & 1 ? sum[0] : -sum[0]) + (x & 2 ? sum[1] : -sum[1]);                                              \
        high[x] = (x & 1 ? sum[2] : -sum[2]) + (x & 2 ? sum[3] : -sum[3]);                                             \
        if (plus) low[x] += total * (type)plus;                                                                        \
      }                                                                                                                \
      for (int x = 0; x < 16; ++x) {                                                                                   \
        vector all = low[x & 3] + high[x >> 2];                                                                        \
        memcpy(table + x * ld + i, &all, sizeof all);                                                                  \
      }                                                                                                                \
    }                                                                                                                  \
  }
COMBINED(ew_combined_f32, ew_vf, EW_LANES, float)

void ew_hash_tables_f32(const float *codes, int64_t ldc, const float *v, int64_t ldv, int64_t tokens, int32_t bits,
                        int64_t width, int32_t total, uint8_t *quads, float *table, int32_t *weight) {
  const int32_t many = EW_QUADS(bits);
  const int64_t ld = (width + EW_LANES - 1) / EW_LANES * EW_LANES;
  memset(table, 0, (size_t)(many * 16 * ld) * sizeof *table);
  memset(weight, 0, (size_t)many * 16 * sizeof *weight);
  if (bits == 16 && width == 16) ew_bucket_f32(codes, ldc, v, ldv, tokens, 16, 4, 16, quads, table, weight);
  else if (bits == 16 && width == 32) ew_bucket_f32(codes, ldc, v, ldv, tokens, 16, 4, 32, quads, table, weight);
  else if (bits == 16 && width == 64) ew_bucket_f32(codes, ldc, v, ldv, tokens, 16, 4, 64, quads, table, weight);
  else ew_bucket_f32(codes, ldc, v, ldv, tokens, bits, many, width, quads, table, weight);
  ew_hash_weights(tokens, bits, weight);
  for (int32_t q = 0; q < many; ++q, table += 16 * ld) {
    const int32_t live = bits - 4 * q < 4 ? bits - 4 * q : 4, plus = q == 0 && total ? bits + 1 : 0;
    if (live == 4 && plus) ew_combined_f32(table, ld, 4, bits + 1);
    else if (live == 4) ew_combined_f32(table, ld, 4, 0);
    else ew_combined_f32(table, ld, live, plus);
  }
}

static inline __attribute__((always_inline)) void hash_rows_f32(const uint8_t *quads, int64_t rows, const int32_t many,
                                                                int32_t bits, const float *table, const int32_t *weight,
                                                                const int64_t width, const float *own, int64_t ldv,
                                                                float *out, int64_t ldout) {
  const int64_t ld = (width + EW_LANES - 1) / EW_LANES * EW_LANES;
  for (; rows > 0; --rows, quads += many, out += ldout) {
    int32_t all = 0;
    for (int32_t q = 0; q < many; ++q) all += weight[16 * q + quads[q]];
    const float factor = 1.0f / (float)all;
    for (int64_t i = 0; i < width; i += EW_LANES) {
      ew_vf sum = ew_load(table + quads[0] * ld + i);
      for (int32_t q = 1; q < many; ++q) sum += ew_load(table + (16 * q + quads[q]) * ld + i);
      const int64_t left = width - i;
      if (left < EW_LANES) {
        if (own) sum += (float)(bits + 1) * ew_load_some(own + i, left);
        ew_store_some(out + i, sum * factor, left);
      } else {
        if (own) sum += (float)(bits + 1) * ew_load(own + i);
        ew_store(out + i, sum * factor);
      }
    }
    if (own) own += ldv;
  }
}

void ew_hash_rows_f32(const uint8_t *quads, int64_t rows, int32_t bits, const float *table, const int32_t *weight,
                      int64_t width, const float *own, int64_t ldv, float *out, int64_t ldout) {
  if (bits == 16 && width == 16 && !own) hash_rows_f32(quads, rows, 4, 16, table, weight, 16, 0, 0, out, ldout);
  else if (bits == 16 && width == 32 && !own) hash_rows_f32(quads, rows, 4, 16, table, weight, 32, 0, 0, out, ldout);
  else if (bits == 16 && width == 64 && !own) hash_rows_f32(quads, rows, 4, 16, table, weight, 64, 0, 0, out, ldout);
  else hash_rows_f32(quads, rows, EW_QUADS(bits), bits, table, weight, width, own, ldv, out, ldout);
}

void ew_hash_codes_f32(const float *u, int64_t ldu, int32_t rows, const int64_t *shape, float half, const float *anchors,
                       const float *squares, const float *coefficients, const float *threshold, float *work, float *out,
                       int64_t ldout) {
  const int64_t d = shape[0], supports = shape[1], bits = shape[2];
  const int64_t wide = (supports + EW_F32_NR - 1) / EW_F32_NR * EW_F32_NR;
  float *kernel = work, *sums = work + EW_F32_MR * wide;
  for (int32_t i = 0; i < rows; i += EW_F32_MR, u += EW_F32_MR * ldu, out += EW_F32_MR * ldout) {
    const int32_t m = rows - i < EW_F32_MR ? rows - i : EW_F32_MR;
    for (int64_t p = 0; p < wide; p += EW_F32_NR) ew_gemm_f32(u, ldu, anchors + p * d, d, kernel + p, wide, m);
    for (int32_t r = 0; r < m; ++r) {
      const float *row = u + r * ldu;
      float norm = 0.0f;
      int64_t k = 0;
      if (d >= EW_LANES) {
        ew_vf lanes = {0};
        for (; k + EW_LANES <= d; k += EW_LANES) lanes += ew_load(row + k) * ew_load(row + k);
        norm = ew_sum(lanes);
      }
      for (; k < d; ++k) norm += row[k] * row[k];
      const float factor = 1.0f / sqrtf(norm + 1e-12f), less = norm * factor * factor * half;
      for (int64_t j = 0; j < wide; ++j) kernel[r * wide + j] = kernel[r * wide + j] * factor - (squares[j] + less);
    }
    ew_exp_f32(kernel, m * wide, kernel);
    for (int64_t p = 0; p < bits; p += EW_F32_NR) {
      const int64_t many = bits - p < EW_F32_NR ? bits - p : EW_F32_NR;
      ew_gemm_f32(kernel, wide, coefficients + p * supports, supports, sums, EW_F32_NR, m);
      for (int32_t r = 0; r < m; ++r)
        for (int64_t j = 0; j < many; ++j)
          out[r * ldout + p + j] = sums[r * EW_F32_NR + j] >= threshold[p + j] ? 1.0f : -1.0f;
    }
  }
}
