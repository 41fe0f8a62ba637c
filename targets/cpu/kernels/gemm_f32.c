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
