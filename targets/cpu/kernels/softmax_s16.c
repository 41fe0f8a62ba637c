/* Integer softmax of one row in plain C. */
#include "ew_kernels.h"

#include <string.h>

/* e <= 2^15, sum <= 2^30 with its n bits: the reciprocal r <= 2^16 and e * r + 2^(n-1) < 2^32. */
void ew_softmax_s16(const int16_t *x, int64_t n, int32_t multiplier, int32_t shift, int16_t *out) {
  int32_t largest = x[0];
  for (int64_t i = 1; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  uint32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    uint64_t u = ((uint64_t)(largest - x[i]) * (uint32_t)multiplier + (UINT64_C(1) << (shift - 1))) >> shift;
    if (u > 4095) u = 4095;
    uint16_t e = (uint16_t)(ew_exp2_table[u & 255] >> (u >> 8));
    memcpy(out + i, &e, sizeof e);
    sum += e;
  }
  int32_t bits = 32 - __builtin_clz(sum);
  uint32_t reciprocal = (uint32_t)((UINT64_C(1) << (bits + 15)) / sum), half = UINT32_C(1) << (bits - 1);
  for (int64_t i = 0; i < n; ++i) {
    uint32_t y = ((uint16_t)out[i] * reciprocal + half) >> bits;
    out[i] = (int16_t)(y > 32767 ? 32767 : y);
  }
}
