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

/* The k experts of the largest logits, in their order: those that fewer than k others come before. */
static inline void ew_choose(const float *logits, int32_t experts, int32_t k, int32_t *chosen) {
  int32_t n = 0;
  for (int32_t e = 0; e < experts; e += EW_LANES) {
    const int32_t many = experts - e < EW_LANES ? experts - e : EW_LANES;
    const ew_vf own = ew_load_some(logits + e, many);
    ew_vi rank = {0}, lane;
    for (int i = 0; i < EW_LANES; ++i) lane[i] = e + i;
    for (int32_t j = 0; j < experts; ++j) {
      const ew_vf other = ew_splat(logits[j]);
      rank -= (other > own) | ((other == own) & (lane > j));
    }
    for (int32_t j = 0; j < many; ++j)
      if (rank[j] < k && n < k) chosen[n++] = e + j; /* more than k only where one is nan */
  }
}

void ew_route_f32(const float *logits, int64_t ld, int64_t rows, int32_t experts, int32_t k, int32_t whole, int32_t most,
                  int32_t *tasks, int32_t *work, int32_t *token, int32_t *place, float *gate) {
  int32_t *begin = work;
  float *copy = (float *)(void *)(work + experts);
  memset(begin, 0, (size_t)experts * sizeof *begin);
  for (int64_t i = 0; i < rows; ++i, logits += ld) {
    int32_t *chosen = place + i * k;
    float *share = gate + i * k, total;
    ew_choose(logits, experts, k, chosen);
    if (whole) {
      memcpy(copy, logits, (size_t)experts * sizeof *copy);
      ew_softmax_f32(copy, experts, 1.0f, &total);
      for (int32_t j = 0; j < k; ++j) share[j] = copy[chosen[j]];
    } else {
      for (int32_t j = 0; j < k; ++j) share[j] = logits[chosen[j]];
      ew_softmax_f32(share, k, 1.0f, &total);
    }
    const float factor = 1.0f / total;
    for (int32_t j = 0; j < k; ++j) ++begin[chosen[j]], share[j] *= factor;
  }
  ew_queues(rows, experts, k, most, tasks, begin, token, place);
}

void ew_route_s16(const int16_t *logits, int64_t ld, int64_t rows, int32_t experts, int32_t k, int32_t whole, int32_t most,
                  int32_t multiplier, int32_t shift, int32_t *tasks, int32_t *work, int32_t *token, int32_t *place,
                  int16_t *gate) {
  int32_t *begin = work;
  float *copy = (float *)(void *)(work + experts);
  int16_t *all = (int16_t *)(void *)(work + 2 * experts);
  memset(begin, 0, (size_t)experts * sizeof *begin);
  for (int64_t i = 0; i < rows; ++i, logits += ld) {
    int32_t *chosen = place + i * k;
    int16_t *share = gate + i * k;
    for (int32_t e = 0; e < experts; ++e) copy[e] = logits[e];
    ew_choose(copy, experts, k, chosen);
    if (whole) {
      ew_softmax_s16(logits, experts, multiplier, shift, all);
      for (int32_t j = 0; j < k; ++j) share[j] = all[chosen[j]];
    } else {
      for (int32_t j = 0; j < k; ++j) share[j] = logits[chosen[j]];
      ew_softmax_s16(share, k, multiplier, shift, share);
    }
    for (int32_t j = 0; j < k; ++j) ++begin[chosen[j]];
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
  int64_t i = 0;
  for (; i + 2 * EW_LANES <= n; i += 2 * EW_LANES) {
    ew_vf sum = {0}, more = {0};
    for (int32_t j = 0; j < k; ++j) {
      const float *from = values + place[j] * ld + i;
      sum += gate[j] * ew_load(from);
      more += gate[j] * ew_load(from + EW_LANES);
    }
    ew_store(out + i, sum);
    ew_store(out + i + EW_LANES, more);
  }
  for (; i < n; ++i) {
    float sum = 0.0f;
    for (int32_t j = 0; j < k; ++j) sum += gate[j] * values[place[j] * ld + i];
    out[i] = sum;
  }
}

/* ---- integers. factors: for each column of an expert bias, multiplier and shift, in three rows. */

static inline int64_t ew_panel_bytes(int64_t k) { return ew_whole(k, EW_KA > EW_KB ? EW_KA : EW_KB) * EW_S8_NR; }

/* Rows of x, those of `token` where it is not NULL, packed tile by tile. */
static inline void ew_packed_rows(const int8_t *x, int64_t ldx, const int32_t *token, int32_t rows, int32_t tile, int64_t k,
                                  int64_t size, int8_t *gathered, int8_t *panels) {
  for (int32_t i = 0; i < rows; i += tile, panels += size) {
    const int32_t m = rows - i < tile ? rows - i : tile;
    if (token)
      for (int32_t r = 0; r < m; ++r) memcpy(gathered + r * k, x + token[i + r] * ldx, (size_t)k);
    ew_pack_a_s8(token ? gathered : x + i * ldx, token ? k : ldx, m, k, panels);
  }
}

void ew_experts_s8(const int32_t *tasks, int32_t part, const int8_t *x, int64_t ldx, const int32_t *token,
                   const int64_t *shape, const int8_t *w1, const int32_t *factors1, const int8_t *w2,
                   const int32_t *factors2, const int8_t *table, int8_t *work, int16_t *out) {
  const int64_t d = shape[0], h = shape[1], parts = shape[4], most = shape[5], left1 = shape[7], left2 = shape[8];
  const int64_t wide = ew_whole(h, EW_S8_NR), ldout = ew_whole(shape[2], EW_S8_NR);
  const int64_t panel1 = ew_panel_bytes(d), panel2 = ew_panel_bytes(h);
  const int64_t left = left1 > left2 ? left1 : left2;
  int32_t *acc = (int32_t *)(void *)work;
  int8_t *panels = work + ew_whole(EW_S8_MR * EW_S8_NR * 4, 64), *gathered = panels + most / EW_S8_MR * left;
  int8_t *hidden = gathered + ew_whole(EW_S8_MR * d, 64);
  for (int64_t i = tasks[0] * (int64_t)part / parts; i < tasks[0] * (int64_t)(part + 1) / parts; ++i) {
    const int32_t *task = tasks + 1 + 3 * i, many = task[2], tile = ew_tile(many, EW_S8_MR);
    const int64_t e = task[0], first = task[1];
    ew_packed_rows(x, ldx, token + first, many, tile, d, left1, gathered, panels);
    const int32_t *factors = factors1 + e * 3 * wide;
    const int8_t *b = w1 + e * (wide / EW_S8_NR) * panel1;
    for (int64_t p = 0; p < wide; p += EW_S8_NR, b += panel1)
      for (int32_t r = 0, t = 0; r < many; r += tile, ++t) {
        const int32_t m = many - r < tile ? many - r : tile;
        ew_gemm_s8(panels + t * left1, b, d, acc, EW_S8_NR, m);
        ew_requantise_tile_s8(acc, EW_S8_NR, m, factors + p, factors + wide + p, factors + 2 * wide + p, EW_S8_NR,
                              (int32_t)shape[6], hidden + r * wide + p, wide);
      }
    ew_table_s8(hidden, table, many * wide, hidden);
    ew_packed_rows(hidden, wide, 0, many, tile, h, left2, 0, panels);
    factors = factors2 + e * 3 * ldout;
    b = w2 + e * (ldout / EW_S8_NR) * panel2;
    for (int64_t p = 0; p < ldout; p += EW_S8_NR, b += panel2)
      for (int32_t r = 0, t = 0; r < many; r += tile, ++t) {
        const int32_t m = many - r < tile ? many - r : tile;
        ew_gemm_s8(panels + t * left2, b, h, acc, EW_S8_NR, m);
        ew_requantise_tile_s16(acc, EW_S8_NR, m, factors + p, factors + ldout + p, factors + 2 * ldout + p, EW_S8_NR, 0,
                               out + (first + r) * ldout + p, ldout);
      }
  }
}

typedef int16_t ew_vw __attribute__((vector_size(EW_VECTOR_BYTES / 2)));

void ew_combine_s16(const int16_t *values, int64_t ld, const int32_t *place, const int16_t *gate, int32_t k, int64_t n,
                    int32_t *out) {
  int64_t i = 0;
  for (; i + 2 * EW_LANES <= n; i += 2 * EW_LANES) {
    ew_vi sum[2] = {{0}, {0}};
    for (int32_t j = 0; j < k; ++j) {
      ew_vw narrow[2];
      memcpy(narrow, values + place[j] * ld + i, sizeof narrow);
      for (int part = 0; part < 2; ++part) sum[part] += __builtin_convertvector(narrow[part], ew_vi) * (int32_t)gate[j];
    }
    for (int part = 0; part < 2; ++part) sum[part] = (sum[part] + (1 << 6)) >> 7;
    memcpy(out + i, sum, sizeof sum);
  }
  for (; i < n; ++i) {
    int32_t sum = 1 << 6;
    for (int32_t j = 0; j < k; ++j) sum += values[place[j] * ld + i] * gate[j];
    out[i] = sum >> 7;
  }
}
