/* Depthwise lines in float for any vector width: the sums of several pixels and channels stay in registers over all
 * taps, and where taps lie as far apart as pixels, an input is loaded once for all taps that meet it.
 *
 * Channels make the outer loop, in blocks of several vectors: pixels can be a multiple of 4 KiB apart, and a line of
 * one cache line each would then have to do with one set of the first cache. */
#include "ew_kernels.h"
#include "ew_vector.h"

#define EW_ALWAYS static inline __attribute__((always_inline))
#if defined(__AVX512F__) || defined(__aarch64__)
#define EW_DEPTHWISE_WIDE 4 /* 4 x 4 sums, 3 x 4 weights and the inputs: 32 registers */
#else
#define EW_DEPTHWISE_WIDE 2
#endif

/* `many` pixels, `wide` vectors of channels. Taps come in runs of `run` neighbours, one pixel step apart. */
EW_ALWAYS void ew_pixels_f32(const int many, const int wide, const int run, const float *x, const int64_t *offsets,
                             int64_t taps, int64_t step, const float *w, const float *bias, int64_t channels, float *out) {
  ew_vf sum[7][4], weight[7][4];
#pragma clang loop unroll(full)
  for (int p = 0; p < many; ++p)
#pragma clang loop unroll(full)
    for (int v = 0; v < wide; ++v) sum[p][v] = ew_load(bias + v * EW_LANES);
#pragma clang loop unroll(disable)
  for (int64_t t = 0; t < taps; t += run, w += run * channels) {
    const float *from = x + offsets[t];
#pragma clang loop unroll(full)
    for (int j = 0; j < run; ++j)
#pragma clang loop unroll(full)
      for (int v = 0; v < wide; ++v) weight[j][v] = ew_load(w + j * channels + v * EW_LANES);
#pragma clang loop unroll(full)
    for (int q = 0; q < many + run - 1; ++q)
#pragma clang loop unroll(full)
      for (int v = 0; v < wide; ++v) {
        ew_vf value = ew_load(from + q * step + v * EW_LANES);
#pragma clang loop unroll(full)
        for (int j = 0; j < run; ++j)
          if (q - j >= 0 && q - j < many) sum[q - j][v] += value * weight[j][v];
      }
  }
#pragma clang loop unroll(full)
  for (int p = 0; p < many; ++p)
#pragma clang loop unroll(full)
    for (int v = 0; v < wide; ++v) ew_store(out + p * channels + v * EW_LANES, sum[p][v]);
}

/* A line of `wide` vectors of channels. */
EW_ALWAYS void ew_strip_f32(const int wide, const int run, const float *x, const int64_t *offsets, int64_t taps,
                            int64_t step, const float *w, const float *bias, int64_t channels, int64_t pixels, float *out) {
  const int most = wide == 1 ? 7 : 4;
  for (; pixels >= most; pixels -= most, x += most * step, out += most * channels)
    ew_pixels_f32(most, wide, run, x, offsets, taps, step, w, bias, channels, out);
#define EW_PIXELS(many)                                                                                                \
  if (pixels >= many) {                                                                                                \
    ew_pixels_f32(many, wide, run, x, offsets, taps, step, w, bias, channels, out);                                    \
    pixels -= many, x += many * step, out += many * channels;                                                          \
  }
  if (most > 4) { EW_PIXELS(4) }
  EW_PIXELS(3)
  EW_PIXELS(2)
  EW_PIXELS(1)
#undef EW_PIXELS
}

/* Not inlined: one copy for each length of a run. The last strip may do some channels again. */
#define EW_LINE(name, run)                                                                                             \
  static __attribute__((noinline)) void name(const float *x, const int64_t *offsets, int64_t taps, int64_t step,       \
                                             const float *w, const float *bias, int64_t channels, int64_t pixels,      \
                                             float *out) {                                                             \
    const int wide = run > 3 ? EW_DEPTHWISE_WIDE / 2 : EW_DEPTHWISE_WIDE;                                              \
    int64_t c = 0;                                                                                                     \
    for (; c + wide * EW_LANES <= channels; c += wide * EW_LANES)                                                      \
      ew_strip_f32(wide, run, x + c, offsets, taps, step, w + c, bias + c, channels, pixels, out + c);                 \
    for (; c < channels; c += EW_LANES) {                                                                              \
      int64_t at = c + EW_LANES <= channels ? c : channels - EW_LANES;                                                 \
      ew_strip_f32(1, run, x + at, offsets, taps, step, w + at, bias + at, channels, pixels, out + at);                \
    }                                                                                                                  \
  }
EW_LINE(ew_line1_f32, 1)
EW_LINE(ew_line3_f32, 3)
EW_LINE(ew_line5_f32, 5)
EW_LINE(ew_line7_f32, 7)
#undef EW_LINE

/* The length of runs of taps that are a step apart and fill the window: 3, 5 or 7, otherwise 1. */
static inline int64_t ew_run_of(const int64_t *offsets, int64_t taps, int64_t step) {
  int64_t run = 1;
  while (run < taps && offsets[run] == offsets[run - 1] + step) ++run;
  if (taps % run || (run != 3 && run != 5 && run != 7)) return 1;
  for (int64_t t = run; t < taps; ++t)
    if (t % run && offsets[t] != offsets[t - 1] + step) return 1;
  return run;
}

void ew_depthwise_line_f32(const float *x, const int64_t *offsets, int64_t taps, int64_t step, const float *w,
                           const float *bias, int64_t channels, int64_t pixels, float *out) {
  if (channels < EW_LANES) {
    for (int64_t p = 0; p < pixels; ++p, x += step, out += channels) {
      ew_vf sum = ew_load_some(bias, channels);
      for (int64_t t = 0; t < taps; ++t)
        sum += ew_load_some(x + offsets[t], channels) * ew_load_some(w + t * channels, channels);
      ew_store_some(out, sum, channels);
    }
    return;
  }
  switch (ew_run_of(offsets, taps, step)) {
  case 3: ew_line3_f32(x, offsets, taps, step, w, bias, channels, pixels, out); break;
  case 5: ew_line5_f32(x, offsets, taps, step, w, bias, channels, pixels, out); break;
  case 7: ew_line7_f32(x, offsets, taps, step, w, bias, channels, pixels, out); break;
  default: ew_line1_f32(x, offsets, taps, step, w, bias, channels, pixels, out);
  }
}
