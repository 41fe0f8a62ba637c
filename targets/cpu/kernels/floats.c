/* The float functions of rows and of single values, for any vector width. */
#include "ew_kernels.h"
#include "ew_math.h"

#include <math.h>

/* Two vectors at a time: their chains overlap. Reads come before writes of the same place, so `out` may be `x`. */
#define MAP(name, function)                                                                                            \
  void name(const float *x, int64_t n, float *out) {                                                                   \
    int64_t i = 0;                                                                                                     \
    for (; i + 2 * EW_LANES <= n; i += 2 * EW_LANES) {                                                                 \
      ew_vf first = function(ew_load(x + i)), second = function(ew_load(x + i + EW_LANES));                            \
      ew_store(out + i, first);                                                                                        \
      ew_store(out + i + EW_LANES, second);                                                                            \
    }                                                                                                                  \
    for (; i + EW_LANES <= n; i += EW_LANES) ew_store(out + i, function(ew_load(x + i)));                              \
    if (i < n) ew_store_some(out + i, function(ew_load_some(x + i, n - i)), n - i);                                    \
  }

MAP(ew_exp_f32, ew_exp)
MAP(ew_erf_f32, ew_erf)
MAP(ew_tanh_f32, ew_tanh)
MAP(ew_sigmoid_f32, ew_sigmoid)
MAP(ew_silu_f32, ew_silu)
MAP(ew_gelu_f32, ew_gelu)
MAP(ew_gelu_tanh_f32, ew_gelu_tanh)

static inline ew_vi lanes_below(int64_t n) {
  ew_vi lane;
  for (int i = 0; i < EW_LANES; ++i) lane[i] = i;
  return lane < (int32_t)n;
}

void ew_softmax_f32(float *row, int64_t n, float scale, float *sum) {
  ew_vf largest = ew_splat(-INFINITY), other = largest;
  int64_t i = 0;
  for (; i + 2 * EW_LANES <= n; i += 2 * EW_LANES) {
    largest = ew_max(largest, ew_load(row + i));
    other = ew_max(other, ew_load(row + i + EW_LANES));
  }
  for (; i + EW_LANES <= n; i += EW_LANES) largest = ew_max(largest, ew_load(row + i));
  if (i < n) largest = ew_max(largest, ew_load_some(row + i, n - i));
  ew_vf top = ew_splat(ew_largest(ew_max(largest, other))), total = {0}, second = {0};
  for (i = 0; i + 2 * EW_LANES <= n; i += 2 * EW_LANES) {
    ew_vf e = ew_exp_limited((ew_load(row + i) - top) * scale), f = ew_exp_limited((ew_load(row + i + EW_LANES) - top) * scale);
    ew_store(row + i, e);
    ew_store(row + i + EW_LANES, f);
    total += e;
    second += f;
  }
  for (; i < n; i += EW_LANES) {
    int64_t left = n - i < EW_LANES ? n - i : EW_LANES;
    ew_vf e = ew_exp_limited((ew_load_some(row + i, left) - top) * scale);
    ew_store_some(row + i, e, left);
    total += ew_select(lanes_below(left), e, ew_splat(0.0f));
  }
  *sum = ew_sum(total + second);
}

void ew_layer_norm_f32(const float *x, const float *gamma, const float *beta, int64_t n, float epsilon, float *out) {
  ew_vf total = {0}, second = {0};
  int64_t i = 0;
  for (; i + 2 * EW_LANES <= n; i += 2 * EW_LANES) total += ew_load(x + i), second += ew_load(x + i + EW_LANES);
  for (; i + EW_LANES <= n; i += EW_LANES) total += ew_load(x + i);
  float sum = ew_sum(total + second);
  for (; i < n; ++i) sum += x[i];
  float mean = sum / (float)n;
  ew_vf squares = {0}, more = {0};
  for (i = 0; i + 2 * EW_LANES <= n; i += 2 * EW_LANES) {
    ew_vf d = ew_load(x + i) - mean, e = ew_load(x + i + EW_LANES) - mean;
    squares += d * d;
    more += e * e;
  }
  for (; i + EW_LANES <= n; i += EW_LANES) squares += (ew_load(x + i) - mean) * (ew_load(x + i) - mean);
  float variance = ew_sum(squares + more);
  for (; i < n; ++i) variance += (x[i] - mean) * (x[i] - mean);
  float factor = 1.0f / sqrtf(variance / (float)n + epsilon);
  for (i = 0; i + EW_LANES <= n; i += EW_LANES)
    ew_store(out + i, (ew_load(x + i) - mean) * factor * ew_load(gamma + i) + ew_load(beta + i));
  for (; i < n; ++i) out[i] = (x[i] - mean) * factor * gamma[i] + beta[i];
}

void ew_rms_norm_f32(const float *x, const float *gamma, int64_t n, float epsilon, float *out) {
  ew_vf squares = {0}, more = {0};
  int64_t i = 0;
  for (; i + 2 * EW_LANES <= n; i += 2 * EW_LANES) {
    squares += ew_load(x + i) * ew_load(x + i);
    more += ew_load(x + i + EW_LANES) * ew_load(x + i + EW_LANES);
  }
  for (; i + EW_LANES <= n; i += EW_LANES) squares += ew_load(x + i) * ew_load(x + i);
  float total = ew_sum(squares + more);
  for (; i < n; ++i) total += x[i] * x[i];
  float factor = 1.0f / sqrtf(total / (float)n + epsilon);
  for (i = 0; i + EW_LANES <= n; i += EW_LANES) ew_store(out + i, ew_load(x + i) * factor * ew_load(gamma + i));
  for (; i < n; ++i) out[i] = x[i] * factor * gamma[i];
}
