/* Mixtures of experts: queues of tokens, rows of one expert through its two products, and their sums. */
#include "ew_kernels.h"
#include "ew_math.h"

#include <string.h>

/* ---- queues. tasks: how many, then (expert, first place, places) of each; `parts` share them evenly. */

static inline void ew_queues(int64_t rows, int32_t experts, int32_t k, int32_t most, int32_t *tasks, int32_t *begin,
                             int32_t *token, int32_t *place) {
  int32_t first = 0, *task = tasks + 1;
  for (int32_t e = 0; e < experts; ++e) {
    const int32_t many = begin[e], pieces = (many + most - 1) / most;
    for (int32_t i = 0, at = first; i < pieces; ++i, task += 3) {
      task[0] = e;
      task[1] = at;
      task[2] = (first + many - at) / (pieces - i); /* pieces of equal size, within one */
      at += task[2];
    }
    begin[e] = first;
    first += many;
  }
  tasks[0] = (int32_t)((task - tasks - 1) / 3);
  for (int64_t i = 0; i < rows; ++i)
    for (int32_t j = 0; j < k; ++j) {
      const int32_t at = begin[place[i * k + j]]++;
      token[at] = (int32_t)i;
      place[i * k + j] = at;
    }
}

/* An expert's rank: how many come before it, larger ones and equal ones of lower number. */
static inline ew_vi ew_ranks(const float *logits, int32_t experts, ew_vf own, int32_t base) {
  ew_vi rank = {0}, lane;
  for (int i = 0; i < EW_LANES; ++i) lane[i] = base + i;
  for (int32_t j = 0; j < experts; ++j) {
    const ew_vf other = ew_splat(logits[j]);
    rank -= (other > own) | ((other == own) & (lane > j));
  }
  return rank;
}

void ew_route_f32(const float *logits, int64_t ld, int64_t rows, int32_t experts, int32_t k, int32_t whole, int32_t most,
                  int32_t *tasks, int32_t *begin, int32_t *token, int32_t *place, float *gate) {
  memset(begin, 0, (size_t)experts * sizeof *begin);
  for (int64_t i = 0; i < rows; ++i, logits += ld) {
    int32_t *chosen = place + i * k, n = 0;
    float *share = gate + i * k, total = 0.0f, largest = logits[0];
    for (int32_t e = 1; e < experts; ++e) largest = logits[e] > largest ? logits[e] : largest;
    for (int32_t e = 0; e < experts; e += EW_LANES) {
      const int32_t many = experts - e < EW_LANES ? experts - e : EW_LANES;
      const ew_vf own = ew_load_some(logits + e, many);
      const ew_vi rank = ew_ranks(logits, experts, own, e);
      const ew_vf value = ew_exp(own - ew_splat(largest));
      for (int32_t j = 0; j < many; ++j) {
        const int32_t taken = rank[j] < k;
        if (whole || taken) total += value[j];
        if (taken && n < k) chosen[n] = e + j, share[n++] = value[j]; /* more than k only where one is nan */
      }
    }
    const float factor = 1.0f / total;
    for (int32_t j = 0; j < k; ++j) ++begin[chosen[j]], share[j] *= factor;
  }
  ew_queues(rows, experts, k, most, tasks, begin, token, place);
}

/* ---- floats */

static inline void ew_activate_f32(int64_t which, float *x, int64_t n) {
  switch (which) {
    case EW_GELU: ew_gelu_f32(x, n, x); break;
    case EW_GELU_TANH: ew_gelu_tanh_f32(x, n, x); break;
    case EW_SILU: ew_silu_f32(x, n, x); break;
    case EW_SIGMOID: ew_sigmoid_f32(x, n, x); break;
    case EW_TANH: ew_tanh_f32(x, n, x); break;
    case EW_RELU:
      for (int64_t i = 0; i < n; ++i) x[i] = x[i] < 0.0f ? 0.0f : x[i];
      break;
    case EW_HARD_SWISH:
      for (int64_t i = 0; i < n; ++i) {
        float gate = x[i] * (1.0f / 6.0f) + 0.5f;
        x[i] *= gate < 0.0f ? 0.0f : gate > 1.0f ? 1.0f : gate;
      }
      break;
    default: break;
  }
}

/* Tiles of equal height: a short last one would waste most of its registers. */
static inline int32_t ew_tile(int32_t rows, int32_t most) {
  const int32_t tiles = (rows + most - 1) / most;
  return (rows + tiles - 1) / tiles;
}

static inline int64_t ew_whole(int64_t n, int64_t of) { return (n + of - 1) / of * of; }

static inline void ew_layer_f32(const float *x, int64_t ldx, int32_t rows, int64_t k, const float *panels, const float *bias,
                                int64_t width, float *out) {
  const int32_t tile = ew_tile(rows, EW_F32_MR);
  for (int64_t p = 0; p < width; p += EW_F32_NR)
    for (int32_t i = 0; i < rows; i += tile) {
      const int32_t m = rows - i < tile ? rows - i : tile;
      ew_gemm_f32(x + i * ldx, ldx, panels + p * k, k, out + i * width + p, width, m);
      for (int32_t r = i; r < i + m; ++r)
        for (int j = 0; j < EW_F32_NR; ++j) out[r * width + p + j] += bias[p + j];
    }
}

void ew_experts_f32(const int32_t *tasks, int32_t part, const float *x, int64_t ldx, const int32_t *token,
                    const int64_t *shape, const float *w1, const float *b1, const float *w2, const float *b2, float *work,
                    float *out) {
  const int64_t d = shape[0], h = shape[1], parts = shape[4];
  const int64_t wide = ew_whole(h, EW_F32_NR), ldout = ew_whole(shape[2], EW_F32_NR);
  float *rows = work, *hidden = work + shape[5] * d;
  for (int64_t i = tasks[0] * (int64_t)part / parts; i < tasks[0] * (int64_t)(part + 1) / parts; ++i) {
    const int32_t *task = tasks + 1 + 3 * i, many = task[2];
    const int64_t e = task[0], first = task[1];
    for (int32_t r = 0; r < many; ++r) memcpy(rows + r * d, x + token[first + r] * ldx, (size_t)d * sizeof *x);
    ew_layer_f32(rows, d, many, d, w1 + e * wide * d, b1 + e * wide, wide, hidden);
    ew_activate_f32(shape[3], hidden, many * wide);
    ew_layer_f32(hidden, wide, many, h, w2 + e * ldout * h, b2 + e * ldout, ldout, out + first * ldout);
  }
}

void ew_combine_f32(const float *values, int64_t ld, const int32_t *place, const float *gate, int32_t k, int64_t n,
                    float *out) {
  for (int64_t i = 0; i < n; i += EW_LANES) {
    const int64_t left = n - i < EW_LANES ? n - i : EW_LANES;
    ew_vf sum = {0};
    for (int32_t j = 0; j < k; ++j) {
      const float *from = values + place[j] * ld + i;
      sum += gate[j] * (left == EW_LANES ? ew_load(from) : ew_load_some(from, left));
    }
    if (left == EW_LANES) ew_store(out + i, sum);
    else ew_store_some(out + i, sum, left);
  }
}
