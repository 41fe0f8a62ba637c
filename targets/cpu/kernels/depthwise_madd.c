/* Depthwise lines of bytes on x86: bytes widened to words, two taps side by side, multiply-add to int32. SSE2, AVX2 or
 * AVX-512BW. */
#include "ew_kernels.h"

#include <immintrin.h>
#include <string.h>

#define EW_ALWAYS static inline __attribute__((always_inline))
#define EW_STRIP (EW_VECTOR_BYTES / 2) /* channels at a time */

#if defined(__AVX512BW__)
typedef __m512i ew_words;
#define EW_OP(name) _mm512_##name
#define EW_ZERO _mm512_setzero_si512()
EW_ALWAYS ew_words ew_widened(const int8_t *p, int64_t n) {
  if (n >= EW_STRIP) return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)p));
  return _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8((__mmask32)((1u << n) - 1), p));
}
#elif defined(__AVX2__)
typedef __m256i ew_words;
#define EW_OP(name) _mm256_##name
#define EW_ZERO _mm256_setzero_si256()
EW_ALWAYS ew_words ew_widened(const int8_t *p, int64_t n) {
  int8_t some[EW_STRIP] = {0};
  if (n < EW_STRIP) p = memcpy(some, p, (size_t)n);
  return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
}
#else
typedef __m128i ew_words;
#define EW_OP(name) _mm_##name
#define EW_ZERO _mm_setzero_si128()
EW_ALWAYS ew_words ew_widened(const int8_t *p, int64_t n) {
  int8_t some[EW_STRIP] = {0};
  if (n < EW_STRIP) p = memcpy(some, p, (size_t)n);
  __m128i bytes = _mm_loadl_epi64((const __m128i *)p);
  return _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
}
#endif

#if defined(__AVX512VNNI__)
EW_ALWAYS ew_words ew_multiply_add(ew_words sum, ew_words a, ew_words b) { return _mm512_dpwssd_epi32(sum, a, b); }
#else
EW_ALWAYS ew_words ew_multiply_add(ew_words sum, ew_words a, ew_words b) {
  return EW_OP(add_epi32)(sum, EW_OP(madd_epi16)(a, b));
}
#endif

/* Reorders sums from the order of unpacking to that of channels. */
EW_ALWAYS void ew_in_order(ew_words *low, ew_words *high) {
#if defined(__AVX512BW__)
  ew_words first = _mm512_permutex2var_epi64(*low, _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), *high);
  *high = _mm512_permutex2var_epi64(*low, _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), *high);
  *low = first;
#elif defined(__AVX2__)
  ew_words first = _mm256_permute2x128_si256(*low, *high, 0x20);
  *high = _mm256_permute2x128_si256(*low, *high, 0x31);
  *low = first;
#else
  (void)low, (void)high;
#endif
}

/* `many` pixels, n channels, EW_STRIP of them or fewer. */
EW_ALWAYS void ew_pixels_s8(const int many, const int8_t *x, const int64_t *offsets, int64_t taps, int64_t step,
                            const int8_t *w, const int32_t *bias, int64_t channels, int64_t n, int32_t *out) {
  ew_words low[4], high[4];
#pragma clang loop unroll(full)
  for (int p = 0; p < many; ++p) low[p] = high[p] = EW_ZERO;
  for (int64_t t = 0; t < taps; t += 2) {
    int two = t + 1 < taps;
    const int8_t *a = x + offsets[t], *b = two ? x + offsets[t + 1] : a;
    ew_words u = ew_widened(w + t * channels, n), v = two ? ew_widened(w + (t + 1) * channels, n) : EW_ZERO;
    ew_words weight_low = EW_OP(unpacklo_epi16)(u, v), weight_high = EW_OP(unpackhi_epi16)(u, v);
#pragma clang loop unroll(full)
    for (int p = 0; p < many; ++p) {
      u = ew_widened(a + p * step, n), v = ew_widened(b + p * step, n);
      low[p] = ew_multiply_add(low[p], EW_OP(unpacklo_epi16)(u, v), weight_low);
      high[p] = ew_multiply_add(high[p], EW_OP(unpackhi_epi16)(u, v), weight_high);
    }
  }
#pragma clang loop unroll(full)
  for (int p = 0; p < many; ++p) {
    ew_words sums[2] = {low[p], high[p]};
    ew_in_order(&sums[0], &sums[1]);
    if (n >= EW_STRIP) {
      for (int h = 0; h < 2; ++h) {
        ew_words add;
        memcpy(&add, bias + h * (EW_STRIP / 2), sizeof add);
        add = EW_OP(add_epi32)(add, sums[h]);
        memcpy(out + p * channels + h * (EW_STRIP / 2), &add, sizeof add);
      }
    } else {
#if defined(__AVX512BW__)
      uint32_t some = (1u << n) - 1;
      for (int h = 0; h < 2; ++h, some >>= 16)
        _mm512_mask_storeu_epi32(out + p * channels + 16 * h, (__mmask16)some,
                                 _mm512_add_epi32(sums[h], _mm512_maskz_loadu_epi32((__mmask16)some, bias + 16 * h)));
#else
      int32_t all[EW_STRIP];
      memcpy(all, sums, sizeof all);
      for (int64_t c = 0; c < n; ++c) out[p * channels + c] = bias[c] + all[c];
#endif
    }
  }
}

/* The last strip may do some channels again. */
static void ew_line_s8(const int8_t *x, const int64_t *offsets, int64_t taps, int64_t step, const int8_t *w,
                       const int32_t *bias, int64_t channels, int64_t pixels, int32_t *out) {
  if (channels < EW_STRIP) {
    for (; pixels >= 4; pixels -= 4, x += 4 * step, out += 4 * channels)
      ew_pixels_s8(4, x, offsets, taps, step, w, bias, channels, channels, out);
    for (; pixels > 0; --pixels, x += step, out += channels)
      ew_pixels_s8(1, x, offsets, taps, step, w, bias, channels, channels, out);
    return;
  }
  for (int64_t c = 0; c < channels; c += EW_STRIP) {
    int64_t at = c + EW_STRIP <= channels ? c : channels - EW_STRIP, p = 0;
    for (; p + 4 <= pixels; p += 4)
      ew_pixels_s8(4, x + p * step + at, offsets, taps, step, w + at, bias + at, channels, EW_STRIP, out + p * channels + at);
    for (; p < pixels; ++p)
      ew_pixels_s8(1, x + p * step + at, offsets, taps, step, w + at, bias + at, channels, EW_STRIP, out + p * channels + at);
  }
}

#ifndef __AVX512VNNI__
void ew_depthwise_line_s8(const int8_t *x, const int64_t *offsets, int64_t taps, int64_t step, const int8_t *w,
                          const int32_t *bias, int64_t channels, int64_t pixels, int32_t *out) {
  ew_line_s8(x, offsets, taps, step, w, bias, channels, pixels, out);
}
#endif
