/* Depthwise lines of bytes with dot products of four, on AVX-512 VNNI and NEON: four neighbouring pixels side by side in
 * each channel's 32 bits make the sums of two outputs, with the weights (w0 w1 w2 0) and (0 w0 w1 w2).
 *
 * After depthwise_f32.c and one with ew_line_s8 in its unit. VNNI takes unsigned inputs: 128 more, which the start of a
 * sum takes away again, bias - 128 sum w. */
#include "ew_kernels.h"

#include <string.h>

enum { EW_ROWS_MOST = 7 };

#if defined(__x86_64__)
#include <immintrin.h>
#define EW_STRIP4 64 /* channels at a time */
typedef __m512i ew_quad;
#define EW_UNSIGNED 1
#define EW_ZIP_LOW8 _mm512_unpacklo_epi8
#define EW_ZIP_HIGH8 _mm512_unpackhi_epi8
#define EW_ZIP_LOW16 _mm512_unpacklo_epi16
#define EW_ZIP_HIGH16 _mm512_unpackhi_epi16
/* Blocks of 4 channels so that zipping bytes, then words, leaves 16 channels in a row in each of 4 vectors. */
EW_ALWAYS ew_quad ew_spread(const int8_t *p) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, _mm512_loadu_si512(p));
}
EW_ALWAYS ew_quad ew_input(const int8_t *p) { return _mm512_xor_si512(ew_spread(p), _mm512_set1_epi8(-128)); }
EW_ALWAYS ew_quad ew_dot4(ew_quad sum, ew_quad x, ew_quad w) { return _mm512_dpbusd_epi32(sum, x, w); }
#else
#include <arm_neon.h>
#define EW_STRIP4 16
typedef int32x4_t ew_quad;
#define EW_UNSIGNED 0
#define EW_S8(x) vreinterpretq_s8_s32(x)
#define EW_S16(x) vreinterpretq_s16_s32(x)
#define EW_ZIP_LOW8(a, b) vreinterpretq_s32_s8(vzip1q_s8(EW_S8(a), EW_S8(b)))
#define EW_ZIP_HIGH8(a, b) vreinterpretq_s32_s8(vzip2q_s8(EW_S8(a), EW_S8(b)))
#define EW_ZIP_LOW16(a, b) vreinterpretq_s32_s16(vzip1q_s16(EW_S16(a), EW_S16(b)))
#define EW_ZIP_HIGH16(a, b) vreinterpretq_s32_s16(vzip2q_s16(EW_S16(a), EW_S16(b)))
EW_ALWAYS ew_quad ew_spread(const int8_t *p) { return vreinterpretq_s32_s8(vld1q_s8(p)); }
EW_ALWAYS ew_quad ew_input(const int8_t *p) { return ew_spread(p); }
EW_ALWAYS ew_quad ew_dot4(ew_quad sum, ew_quad x, ew_quad w) { return vdotq_s32(sum, EW_S8(x), EW_S8(w)); }
#endif

EW_ALWAYS ew_quad ew_load4(const int32_t *p) {
  ew_quad v;
  memcpy(&v, p, sizeof v);
  return v;
}

/* Weights of EW_STRIP4 channels: [row][quad of a run][output before or after][a quarter of the channels]. */
typedef ew_quad ew_weights[EW_ROWS_MOST][2][2][4];

EW_ALWAYS void ew_prepare(const int run, const int8_t *w, int64_t rows, int64_t channels, const int32_t *bias,
                          ew_weights weights, ew_quad start[4]) {
  const int quads = (run + 4) / 4;
#if EW_UNSIGNED
  ew_quad excess[4] = {{0}};
#endif
  for (int64_t r = 0; r < rows; ++r) {
    ew_quad tap[9] = {{0}}; /* tap[j + 1] is tap j, with zeros around */
#pragma clang loop unroll(full)
    for (int j = 0; j < run; ++j) tap[j + 1] = ew_spread(w + (r * run + j) * channels);
#pragma clang loop unroll(full)
    for (int k = 0; k < quads; ++k)
#pragma clang loop unroll(full)
      for (int s = 0; s < 2; ++s) {
        ew_quad *from = tap + 4 * k + 1 - s, *to = weights[r][k][s];
        ew_quad ab = EW_ZIP_LOW8(from[0], from[1]), cd = EW_ZIP_LOW8(from[2], from[3]);
        to[0] = EW_ZIP_LOW16(ab, cd), to[1] = EW_ZIP_HIGH16(ab, cd);
        ab = EW_ZIP_HIGH8(from[0], from[1]), cd = EW_ZIP_HIGH8(from[2], from[3]);
        to[2] = EW_ZIP_LOW16(ab, cd), to[3] = EW_ZIP_HIGH16(ab, cd);
#if EW_UNSIGNED
        if (s == 0)
          for (int v = 0; v < 4; ++v) excess[v] = ew_dot4(excess[v], _mm512_set1_epi8(-128), to[v]);
#endif
      }
  }
  for (int v = 0; v < 4; ++v) start[v] = ew_load4(bias + v * (EW_STRIP4 / 4));
#if EW_UNSIGNED
  for (int v = 0; v < 4; ++v) start[v] = _mm512_sub_epi32(start[v], excess[v]);
#endif
}

/* `many` pixels, at most 4, of EW_STRIP4 channels. */
EW_ALWAYS void ew_pixels4(const int many, const int run, const int8_t *x, const int64_t *offsets, int64_t rows,
                          int64_t step, const ew_weights weights, const ew_quad start[4], int64_t channels, int32_t *out) {
  const int quads = (run + 4) / 4, inputs = many + run - 1;
  ew_quad sum[4][4];
#pragma clang loop unroll(full)
  for (int p = 0; p < many; ++p)
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; ++v) sum[p][v] = start[v];
#pragma clang loop unroll(disable)
  for (int64_t r = 0; r < rows; ++r) {
    const int8_t *from = x + offsets[r * run];
    ew_quad low[5], high[5]; /* pairs of inputs; what stands in for those beyond the last one meets zeros */
#pragma clang loop unroll(full)
    for (int i = 0; i < 2 * quads + (many > 2); ++i) {
      const int first = 2 * i < inputs ? 2 * i : inputs - 1, second = 2 * i + 1 < inputs ? 2 * i + 1 : inputs - 1;
      ew_quad a = ew_input(from + first * step), b = ew_input(from + second * step);
      low[i] = EW_ZIP_LOW8(a, b), high[i] = EW_ZIP_HIGH8(a, b);
    }
#pragma clang loop unroll(full)
    for (int i = 0; 2 * i < many; ++i)
#pragma clang loop unroll(full)
      for (int k = 0; k < quads; ++k) {
        const int at = i + 2 * k;
        ew_quad quad[4] = {EW_ZIP_LOW16(low[at], low[at + 1]), EW_ZIP_HIGH16(low[at], low[at + 1]),
                           EW_ZIP_LOW16(high[at], high[at + 1]), EW_ZIP_HIGH16(high[at], high[at + 1])};
#pragma clang loop unroll(full)
        for (int s = 0; s < 2; ++s)
          if (2 * i + s < many)
#pragma clang loop unroll(full)
            for (int v = 0; v < 4; ++v) sum[2 * i + s][v] = ew_dot4(sum[2 * i + s][v], quad[v], weights[r][k][s][v]);
      }
  }
#pragma clang loop unroll(full)
  for (int p = 0; p < many; ++p)
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; ++v) memcpy(out + p * channels + v * (EW_STRIP4 / 4), &sum[p][v], sizeof sum[p][v]);
}

/* The last strip may do some channels again. */
#define EW_LINE(name, run)                                                                                             \
  static __attribute__((noinline)) void name(const int8_t *x, const int64_t *offsets, int64_t rows, int64_t step,      \
                                             const int8_t *w, const int32_t *bias, int64_t channels, int64_t pixels,   \
                                             int32_t *out) {                                                           \
    for (int64_t c = 0; c < channels; c += EW_STRIP4) {                                                                \
      int64_t at = c + EW_STRIP4 <= channels ? c : channels - EW_STRIP4, left = pixels;                                \
      ew_weights weights;                                                                                              \
      ew_quad start[4];                                                                                                \
      ew_prepare(run, w + at, rows, channels, bias + at, weights, start);                                              \
      const int8_t *from = x + at;                                                                                     \
      int32_t *to = out + at;                                                                                          \
      for (; left >= 4; left -= 4, from += 4 * step, to += 4 * channels)                                               \
        ew_pixels4(4, run, from, offsets, rows, step, weights, start, channels, to);                                   \
      if (left == 3) ew_pixels4(3, run, from, offsets, rows, step, weights, start, channels, to);                      \
      if (left == 2) ew_pixels4(2, run, from, offsets, rows, step, weights, start, channels, to);                      \
      if (left == 1) ew_pixels4(1, run, from, offsets, rows, step, weights, start, channels, to);                      \
    }                                                                                                                  \
  }
EW_LINE(ew_line3_s8, 3)
EW_LINE(ew_line5_s8, 5)
EW_LINE(ew_line7_s8, 7)
#undef EW_LINE

void ew_depthwise_line_s8(const int8_t *x, const int64_t *offsets, int64_t taps, int64_t step, const int8_t *w,
                          const int32_t *bias, int64_t channels, int64_t pixels, int32_t *out) {
  int64_t run = channels < EW_STRIP4 ? 1 : ew_run_of(offsets, taps, step), rows = taps / run;
  if (rows > EW_ROWS_MOST) run = 1;
  switch (run) {
  case 3: ew_line3_s8(x, offsets, rows, step, w, bias, channels, pixels, out); break;
  case 5: ew_line5_s8(x, offsets, rows, step, w, bias, channels, pixels, out); break;
  case 7: ew_line7_s8(x, offsets, rows, step, w, bias, channels, pixels, out); break;
  default: ew_line_s8(x, offsets, taps, step, w, bias, channels, pixels, out);
  }
}
