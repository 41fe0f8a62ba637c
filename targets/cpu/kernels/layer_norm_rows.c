/* LayerNorm and RMSNorm of several rows, for variants without a version of their own. */
#include "ew_kernels.h"

#ifndef EW_OWN_LAYER_NORM_ROWS
#define LAYER_NORM_ROWS(name, one, type)                                                                               \
  void name(const int16_t *x, int64_t ldx, int32_t rows, const int32_t *multiplier, const int64_t *offset, int64_t n,  \
            int64_t eps_term, int32_t shift, type *out, int64_t ldout) {                                               \
    for (int32_t r = 0; r < rows; ++r) one(x + r * ldx, multiplier, offset, n, eps_term, shift, out + r * ldout);      \
  }
LAYER_NORM_ROWS(ew_layer_norm_rows_s16, ew_layer_norm_s16, int8_t)
LAYER_NORM_ROWS(ew_layer_norm_rows_s16_s16, ew_layer_norm_s16_s16, int16_t)
LAYER_NORM_ROWS(ew_rms_norm_rows_s16, ew_rms_norm_s16, int8_t)
LAYER_NORM_ROWS(ew_rms_norm_rows_s16_s16, ew_rms_norm_s16_s16, int16_t)
#undef LAYER_NORM_ROWS
#endif
