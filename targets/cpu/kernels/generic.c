/* Products and panels in plain C, for any geometry: the reference of the other sources, and what runs without them.
 *
 * EW_OWN_GEMM_F32, EW_OWN_GEMM_S8 and EW_OWN_DEPTHWISE tell that another source of the variant has those functions. */
#include "ew_kernels.h"

#include <string.h>

#ifndef EW_OWN_GEMM_F32
void ew_gemm_f32(const float *a, int64_t lda, const float *b, int64_t k, float *acc, int64_t ldacc, int32_t m) {
  for (int32_t i = 0; i < m; ++i) {
    float sum[EW_F32_NR] = {0};
    for (int64_t p = 0; p < k; ++p)
      for (int j = 0; j < EW_F32_NR; ++j) sum[j] += a[i * lda + p] * b[p * EW_F32_NR + j];
    memcpy(acc + i * ldacc, sum, sizeof sum);
  }
}

void ew_pack_b_f32(const float *b, int64_t stride_n, int64_t stride_k, int32_t n, int64_t k, float *panel) {
  for (int64_t p = 0; p < k; ++p)
    for (int j = 0; j < EW_F32_NR; ++j) panel[p * EW_F32_NR + j] = j < n ? b[j * stride_n + p * stride_k] : 0.0f;
}
#endif

#ifndef EW_OWN_GEMM_S8
void ew_pack_a_s8(const int8_t *a, int64_t lda, int32_t m, int64_t k, void *panel) {
  uint8_t *out = panel;
  for (int64_t p = 0; p < k; p += EW_KA, out += EW_S8_MR * EW_KA)
    for (int32_t i = 0; i < m; ++i)
      for (int t = 0; t < EW_KA; ++t)
        out[i * EW_KA + t] = p + t < k ? (uint8_t)(a[i * lda + p + t] + EW_S8_OFFSET) : 0;
}

void ew_pack_a_u8(const uint8_t *a, int64_t lda, int32_t m, int64_t k, void *panel) {
  uint8_t *out = panel;
  for (int64_t p = 0; p < k; p += EW_KA, out += EW_S8_MR * EW_KA)
    for (int32_t i = 0; i < m; ++i)
      for (int t = 0; t < EW_KA; ++t)
        out[i * EW_KA + t] = p + t < k ? (uint8_t)(a[i * lda + p + t] - EW_U8_OFFSET) : 0;
}

void ew_pack_b_s8(const int8_t *b, int64_t stride_n, int64_t stride_k, int32_t n, int64_t k, int8_t *panel,
                  int32_t *colsum) {
  memset(colsum, 0, EW_S8_NR * sizeof *colsum);
  for (int64_t p = 0; p < k; p += EW_KB, panel += EW_S8_NR * EW_KB)
    for (int j = 0; j < EW_S8_NR; ++j)
      for (int t = 0; t < EW_KB; ++t) {
        int8_t value = j < n && p + t < k ? b[j * stride_n + (p + t) * stride_k] : 0;
        panel[j * EW_KB + t] = value;
        colsum[j] += value;
      }
}

/* What a byte of the A panel stands for. */
#if EW_S8_OFFSET
typedef uint8_t panel_byte;
#else
typedef int8_t panel_byte;
#endif

void ew_gemm_s8(const void *a_panel, const int8_t *b_panel, int64_t k, int32_t *acc, int64_t ldacc, int32_t m) {
  const panel_byte *a = a_panel;
  for (int32_t i = 0; i < m; ++i) {
    int32_t sum[EW_S8_NR] = {0};
    for (int64_t p = 0; p < k; ++p) {
      int32_t x = a[p / EW_KA * EW_S8_MR * EW_KA + i * EW_KA + p % EW_KA];
      const int8_t *b = b_panel + p / EW_KB * EW_S8_NR * EW_KB + p % EW_KB;
      for (int j = 0; j < EW_S8_NR; ++j) sum[j] += x * b[j * EW_KB];
    }
    memcpy(acc + i * ldacc, sum, sizeof sum);
  }
}
#endif

#ifndef EW_OWN_DEPTHWISE
#define DEPTHWISE(suffix, type, sums)                                                                                  \
  void ew_depthwise_line_##suffix(const type *x, const int64_t *offsets, int64_t taps, int64_t step, const type *w,    \
                                  const sums *bias, int64_t channels, int64_t pixels, sums *out) {                     \
    for (; pixels > 0; --pixels, x += step, out += channels) {                                                         \
      memcpy(out, bias, (size_t)channels * sizeof *out);                                                               \
      for (int64_t t = 0; t < taps; ++t)                                                                               \
        for (int64_t c = 0; c < channels; ++c) out[c] += (sums)x[offsets[t] + c] * w[t * channels + c];                \
    }                                                                                                                  \
  }
DEPTHWISE(f32, float, float)
DEPTHWISE(s8, int8_t, int32_t)
#endif
