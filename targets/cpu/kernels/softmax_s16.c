/* Integer softmax of one row, after the source with ew_exponentials in its unit where EW_OWN_EXPONENTIALS is defined. */
#include "ew_kernels.h"

#include <string.h>

#ifndef EW_OWN_EXPONENTIALS
/* out: 2^15 * 2^-(d / 256) as unsigned words, d the distance below the maximum; their sum. */
static inline uint32_t ew_exponentials(const int16_t *x, int64_t n, int16_t largest, int32_t multiplier, int32_t shift,
                                       int16_t *out) {
  const uint64_t half = UINT64_C(1) << (shift - 1);
  uint32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    uint64_t u = ((uint64_t)(largest - x[i]) * (uint32_t)multiplier + half) >> shift;
    if (u > 4095) u = 4095;
    uint32_t e = (uint32_t)ew_exp2_table[u & 255] >> (u >> 8);
    out[i] = (int16_t)e;
    sum += e;
  }
  return sum;
}
#endif

/* e <= 2^15, sum <= 2^30 with its `bits` bits: the reciprocal r <= 2^16, and e * r + 2^(bits-1) < 2^32 as e <= sum. */
void ew_softmax_s16(const int16_t *x, int64_t n, int32_t multiplier, int32_t shift, int16_t *out) {
  int16_t largest = x[0];
  for (int64_t i = 1; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  const uint32_t sum = ew_exponentials(x, n, largest, multiplier, shift, out);
  const int32_t bits = 32 - __builtin_clz(sum);
  const uint32_t reciprocal = (uint32_t)((UINT64_C(1) << (bits + 15)) / sum), half = UINT32_C(1) << (bits - 1);
  for (int64_t i = 0; i < n; ++i) {
    uint32_t y = ((uint16_t)out[i] * reciprocal + half) >> bits;
    out[i] = (int16_t)(y > 32767 ? 32767 : y);
  }
}
