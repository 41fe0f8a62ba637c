/* Depthwise products for any vector width: accumulators stay in registers over all taps. */
#include "ew_kernels.h"
#include "ew_vector.h"

#define LANES16 (EW_VECTOR_BYTES / 2)

typedef int8_t bytes __attribute__((vector_size(EW_VECTOR_BYTES / 2)));
typedef int16_t words __attribute__((vector_size(EW_VECTOR_BYTES)));
typedef int32_t sums __attribute__((vector_size(2 * EW_VECTOR_BYTES)));

static inline words widen(const int8_t *p) {
  bytes b;
  memcpy(&b, p, sizeof b);
  return __builtin_convertvector(b, words);
}

void ew_depthwise_s8(const int8_t *const *rows, const int8_t *w, int64_t channels, int64_t taps, int32_t *acc) {
  int64_t c = 0;
  for (; c + LANES16 <= channels; c += LANES16) {
    sums sum = {0};
    int64_t t = 0;
    for (; t + 2 <= taps; t += 2) { /* two products of bytes, 128 * 127 each, fit a word */
      words pair = widen(rows[t] + c) * widen(w + t * channels + c) +
                   widen(rows[t + 1] + c) * widen(w + (t + 1) * channels + c);
      sum += __builtin_convertvector(pair, sums);
    }
    if (t < taps) sum += __builtin_convertvector(widen(rows[t] + c) * widen(w + t * channels + c), sums);
    memcpy(acc + c, &sum, sizeof sum);
  }
  for (; c < channels; ++c) {
    int32_t sum = 0;
    for (int64_t t = 0; t < taps; ++t) sum += rows[t][c] * w[t * channels + c];
    acc[c] = sum;
  }
}

void ew_depthwise_f32(const float *const *rows, const float *w, int64_t channels, int64_t taps, float *acc) {
  int64_t c = 0;
  for (; c + 4 * EW_LANES <= channels; c += 4 * EW_LANES) {
    ew_vf sum[4] = {{0}};
    for (int64_t t = 0; t < taps; ++t)
      for (int v = 0; v < 4; ++v) sum[v] += ew_load(rows[t] + c + v * EW_LANES) * ew_load(w + t * channels + c + v * EW_LANES);
    for (int v = 0; v < 4; ++v) ew_store(acc + c + v * EW_LANES, sum[v]);
  }
  for (; c + EW_LANES <= channels; c += EW_LANES) {
    ew_vf sum = {0};
    for (int64_t t = 0; t < taps; ++t) sum += ew_load(rows[t] + c) * ew_load(w + t * channels + c);
    ew_store(acc + c, sum);
  }
  for (; c < channels; ++c) {
    float sum = 0;
    for (int64_t t = 0; t < taps; ++t) sum += rows[t][c] * w[t * channels + c];
    acc[c] = sum;
  }
}
#undef LANES16
