// The product array: T x O sums of K products of int8 numbers in [-127, 127].
#ifndef EW_DOT_H
#define EW_DOT_H

#include "ew_int.h"

namespace ew {

#ifdef EW_AP_INT

// Two tokens share a multiplier: (a1 * 2^19 + a0) * w holds both products. Sixteen of them add up without the low sum
// leaving its 19 bits; the low sum is then split off and its borrow given back to the high one.
template <int T, int O, int K, int R> void dot(ap_int<R> (&sum)[T * O], const ap_int<8> (&a)[T * K], const ap_int<8> (&w)[O * K]) {
#pragma HLS INLINE
  for (int t = 0; t < T; t += 2) {
#pragma HLS UNROLL
    for (int o = 0; o < O; ++o) {
#pragma HLS UNROLL
      ap_int<R> low = 0, high = 0;
      for (int first = 0; first < K; first += 16) {
#pragma HLS UNROLL
        ap_int<39> both = 0;
        for (int n = 0; n < 16; ++n) {
#pragma HLS UNROLL
          const int k = first + n;
          if (k < K) {
            const ap_int<8> upper = t + 1 < T ? a[(t + 1 < T ? t + 1 : t) * K + k] : ap_int<8>(0);
            const ap_int<27> pair = (ap_int<27>(upper) << 19) + a[t * K + k];
            both += pair * w[o * K + k];
          }
        }
        const ap_int<19> part = both;
        low += part;
        high += ap_int<20>((both - part) >> 19);
      }
      sum[t * O + o] = low;
      if (t + 1 < T) sum[(t + 1 < T ? t + 1 : t) * O + o] = high;
    }
  }
}

#else

template <int T, int O, int K, class S> void dot(S (&sum)[T * O], const int8_t (&a)[T * K], const int8_t (&w)[O * K]) {
  for (int t = 0; t < T; ++t)
    for (int o = 0; o < O; ++o) {
      int32_t s = 0;
      for (int k = 0; k < K; ++k) s += a[t * K + k] * w[o * K + k];
      sum[t * O + o] = static_cast<S>(s);
    }
}

#endif

}  // namespace ew

#endif
