/* The integer functions of one row in plain C: the reference of the vectorised sources. */
#include "ew_kernels.h"
#include "tables.h"

#include <string.h>

static inline int64_t round_shift(int64_t x, int32_t shift) { return (x + ((INT64_C(1) << shift) >> 1)) >> shift; }

static inline int32_t clip(int64_t x, int32_t limit) {
  return (int32_t)(x > limit ? limit : x < -limit ? -limit : x);
}

static inline int32_t requantise(int64_t acc, int32_t multiplier, int32_t shift, int32_t zero_point, int32_t limit) {
  return clip(round_shift(acc * multiplier, shift) + zero_point, limit);
}

int32_t ew_attention_weights(const int32_t *scores, int64_t n, int32_t multiplier, int32_t shift, uint8_t *weights) {
  int32_t largest = scores[0], total = 0;
  for (int64_t i = 1; i < n; ++i) largest = scores[i] > largest ? scores[i] : largest;
  for (int64_t i = 0; i < n; ++i) {
    int64_t u = round_shift(((int64_t)largest - scores[i]) * multiplier, shift);
    if (u > 4095) u = 4095;
    int32_t weight = ((ew_exp2_table[u & 255] >> (u >> 8)) + 64) >> 7;
    weights[i] = (uint8_t)(weight > 254 ? 254 : weight);
    total += weights[i];
  }
  return total;
}

static inline int64_t inverse_square_root(int64_t v, int32_t *e) {
  *e = (63 - __builtin_clzll((uint64_t)v)) / 2;
  int64_t m16 = 2 * *e <= 16 ? v << (16 - 2 * *e) : v >> (2 * *e - 16);
  int64_t y0 = ew_rsqrt_table[m16 >> 10];
  int64_t q0 = (y0 * y0) >> 14;
  return round_shift(y0 * ((3 << 16) - ((m16 * q0) >> 16)), 16);
}

/* centred: 1 for LayerNorm, 0 for RMSNorm, which has no mean. */
#define LAYER_NORM(name, type, limit, centred)                                                                         \
  name(const int16_t *x, const int32_t *multiplier, const int64_t *offset, int64_t n, int64_t eps_term, int32_t shift, \
       type *out) {                                                                                                    \
    int64_t sum = 0, squares = 0;                                                                                      \
    for (int64_t i = 0; i < n; ++i) sum += x[i], squares += (int32_t)x[i] * x[i];                                      \
    if (!centred) sum = 0;                                                                                             \
    int32_t e;                                                                                                         \
    int64_t y = inverse_square_root(n * squares - sum * sum + eps_term, &e);                                           \
    for (int64_t i = 0; i < n; ++i) {                                                                                  \
      int64_t z = round_shift((n * x[i] - sum) * y, e + 4);                                                            \
      out[i] = (type)clip(round_shift(z * multiplier[i] + offset[i], shift), limit);                                   \
    }                                                                                                                  \
  }
LAYER_NORM(void ew_layer_norm_s16, int8_t, 127, 1)
LAYER_NORM(void ew_layer_norm_s16_s16, int16_t, 32767, 1)
LAYER_NORM(static void ew_rms_norm_s16, int8_t, 127, 0)
LAYER_NORM(static void ew_rms_norm_s16_s16, int16_t, 32767, 0)

void ew_table_s8(const int8_t *x, const int8_t *table, int64_t n, int8_t *out) {
  for (int64_t i = 0; i < n; ++i) out[i] = table[x[i] + 128];
}

#define REQUANTISE(type, suffix, limit)                                                                                \
  void ew_requantise_##suffix(const int32_t *acc, const int32_t *multiplier, const int32_t *shift, int64_t n,          \
                              int32_t zero_point, type *out) {                                                         \
    for (int64_t i = 0; i < n; ++i) out[i] = (type)requantise(acc[i], multiplier[i], shift[i], zero_point, limit);     \
  }                                                                                                                    \
  void ew_requantise_bias_##suffix(const int32_t *acc, const int32_t *bias, const int32_t *multiplier,                 \
                                   const int32_t *shift, int64_t n, int32_t zero_point, type *out) {                   \
    for (int64_t i = 0; i < n; ++i)                                                                                    \
      out[i] = (type)requantise(acc[i] + bias[i], multiplier[i], shift[i], zero_point, limit);                         \
  }                                                                                                                    \
  void ew_requantise_tile_##suffix(const int32_t *acc, int64_t ldacc, int32_t m, const int32_t *bias,                  \
                                   const int32_t *multiplier, const int32_t *shift, int64_t n, int32_t zero_point,     \
                                   type *out, int64_t ldout) {                                                         \
    for (int32_t i = 0; i < m; ++i)                                                                                    \
      ew_requantise_bias_##suffix(acc + i * ldacc, bias, multiplier, shift, n, zero_point, out + i * ldout);           \
  }
REQUANTISE(int8_t, s8, 127)
REQUANTISE(int16_t, s16, 32767)

void ew_add_requantised_s16(const int16_t *a, const int16_t *b, int64_t n, int32_t ma, int32_t sa, int32_t mb, int32_t sb,
                            int16_t *out) {
  for (int64_t i = 0; i < n; ++i)
    out[i] = (int16_t)clip(requantise(a[i], ma, sa, 0, 32767) + requantise(b[i], mb, sb, 0, 32767), 32767);
}
