/* The float product for any vector width and tile: one body, unrolled for each number of rows.
 *
 * Rows of the left side are reached from every third row by one register with the distance of rows, so that twelve rows
 * take four pointers and not twelve. */
#include "ew_kernels.h"
#include "ew_vector.h"

#define NV (EW_F32_NR / EW_LANES)
#undef UNROLL
#define UNROLL _Pragma("clang loop unroll(full)")

static inline __attribute__((always_inline)) void tile_f32(const float *a, int64_t lda, const float *b, int64_t k,
                                                           float *acc, int64_t ldacc, const int m) {
  ew_vf sum[EW_F32_MR][NV];
  const float *rows[(EW_F32_MR + 2) / 3];
  UNROLL for (int i = 0; i < m; ++i) UNROLL for (int j = 0; j < NV; ++j) sum[i][j] = (ew_vf){0};
  UNROLL for (int i = 0; i < (m + 2) / 3; ++i) {
    rows[i] = a + 3 * i * lda;
    __asm__("" : "+r"(rows[i])); /* or the compiler keeps a pointer for each row */
  }
  for (int64_t p = 0; p < k; ++p, b += EW_F32_NR) {
    ew_vf right[NV];
    UNROLL for (int j = 0; j < NV; ++j) right[j] = ((const ew_vf *)b)[j];
    UNROLL for (int i = 0; i < m; ++i) {
      ew_vf left = ew_splat(rows[i / 3][i % 3 * lda + p]);
      UNROLL for (int j = 0; j < NV; ++j) sum[i][j] += left * right[j];
    }
  }
  UNROLL for (int i = 0; i < m; ++i) UNROLL for (int j = 0; j < NV; ++j)
      ew_store(acc + i * ldacc + j * EW_LANES, sum[i][j]);
}

#define ROWS(m) case m: tile_f32(a, lda, b, k, acc, ldacc, m); return;

void ew_gemm_f32(const float *a, int64_t lda, const float *b, int64_t k, float *acc, int64_t ldacc, int32_t m) {
  switch (m) {
    ROWS(1) ROWS(2) ROWS(3) ROWS(4)
#if EW_F32_MR >= 6
    ROWS(5) ROWS(6)
#endif
#if EW_F32_MR >= 8
    ROWS(7) ROWS(8)
#endif
#if EW_F32_MR >= 12
    ROWS(9) ROWS(10) ROWS(11) ROWS(12)
#endif
#if EW_F32_MR >= 14
    ROWS(13) ROWS(14)
#endif
  }
}
#undef ROWS
#undef NV

typedef float four __attribute__((vector_size(16)));

static inline four load_four(const float *p, int64_t n) {
  four v = {0};
  if (n >= 4) memcpy(&v, p, sizeof v);
  else memcpy(&v, p, (size_t)n * sizeof *p);
  return v;
}

/* A block of 4 columns, contiguous along k, and `steps` steps of k, transposed in registers. */
static inline void four_columns(const float *b, int64_t stride, int64_t steps, float *panel) {
  four c0 = load_four(b, steps), c1 = load_four(b + stride, steps);
  four c2 = load_four(b + 2 * stride, steps), c3 = load_four(b + 3 * stride, steps);
  four low01 = __builtin_shufflevector(c0, c1, 0, 4, 1, 5), high01 = __builtin_shufflevector(c0, c1, 2, 6, 3, 7);
  four low23 = __builtin_shufflevector(c2, c3, 0, 4, 1, 5), high23 = __builtin_shufflevector(c2, c3, 2, 6, 3, 7);
  four rows[4] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5), __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                  __builtin_shufflevector(high01, high23, 0, 1, 4, 5), __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
  UNROLL for (int t = 0; t < 4; ++t) if (t < steps) memcpy(panel + t * EW_F32_NR, &rows[t], sizeof *rows);
}

void ew_pack_b_f32(const float *b, int64_t stride_n, int64_t stride_k, int32_t n, int64_t k, float *panel) {
  if (stride_n == 1 && n == EW_F32_NR) {
    for (int64_t p = 0; p < k; ++p) memcpy(panel + p * EW_F32_NR, b + p * stride_k, EW_F32_NR * sizeof *b);
    return;
  }
  int32_t j = 0;
  if (n < EW_F32_NR) memset(panel, 0, (size_t)k * EW_F32_NR * sizeof *panel);
  if (stride_n == 1) {
    for (int64_t p = 0; p < k; ++p) memcpy(panel + p * EW_F32_NR, b + p * stride_k, (size_t)n * sizeof *b);
    return;
  }
  if (stride_k == 1)
    for (; j + 4 <= n; j += 4)
      for (int64_t p = 0; p < k; p += 4)
        four_columns(b + j * stride_n + p, stride_n, k - p < 4 ? k - p : 4, panel + p * EW_F32_NR + j);
  for (; j < n; ++j)
    for (int64_t p = 0; p < k; ++p) panel[p * EW_F32_NR + j] = b[j * stride_n + p * stride_k];
}
