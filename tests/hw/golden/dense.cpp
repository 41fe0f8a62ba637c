#include <hls_task.h>

#include "ew_dot.h"
#include "dense.hpp"

namespace processes {

void multiply(hls::stream<Job>& jobs, hls::stream<Vec<Int<8>, 8>>& x, hls::stream<Vec<Int<8>, 8>>& w,
    hls::stream<Vec<Int<32>, 4>>& sums, hls::stream<UInt<4>>& shifts) {
  static Int<32> total[4];  // [2, 2]
#pragma HLS ARRAY_PARTITION variable=total type=complete
  const Job c = jobs.read();
  multiply_k:
  for (UInt<4> k = 0; k < c.depth; ++k) {
#pragma HLS PIPELINE II=1 style=frp
    const Vec<Int<8>, 8> x_token = x.read();
    const Vec<Int<8>, 8> w_token = w.read();
    Int<17> products[4];  // [2, 2]
#pragma HLS ARRAY_PARTITION variable=products type=complete
    dot<2, 2, 4>(products, x_token.v, w_token.v);
    for (int n0 = 0; n0 < 2; ++n0) {
#pragma HLS UNROLL
      for (int n1 = 0; n1 < 2; ++n1) {
#pragma HLS UNROLL
        total[2 * n0 + n1] = ((k == 0) ? Int<32>(0) : total[2 * n0 + n1]) + products[2 * n0 + n1];
      }
    }
    if ((k + 1) == c.depth) {
      Vec<Int<32>, 4> sums_token;
      for (int n0 = 0; n0 < 2; ++n0) {
#pragma HLS UNROLL
        for (int n1 = 0; n1 < 2; ++n1) {
#pragma HLS UNROLL
          sums_token.v[2 * n0 + n1] = total[2 * n0 + n1];
        }
      }
      sums.write(sums_token);
    }
    if ((k + 1) == c.depth) {
      shifts.write(c.shift);
    }
  }
}

void requantise(hls::stream<Vec<Int<32>, 4>>& sums, hls::stream<UInt<4>>& shifts, hls::stream<Vec<Int<8>, 4>>& y) {
#pragma HLS PIPELINE II=1 style=frp
  const Vec<Int<32>, 4> sums_token = sums.read();
  const UInt<4> shifts_token = shifts.read();
  Int<8> narrow[4];  // [2, 2]
#pragma HLS ARRAY_PARTITION variable=narrow type=complete
  for (int n0 = 0; n0 < 2; ++n0) {
#pragma HLS UNROLL
    for (int n1 = 0; n1 < 2; ++n1) {
#pragma HLS UNROLL
      const Int<34> sum = shr(Int<33>(Int<33>(sums_token.v[2 * n0 + n1]) << 1), shifts_token) + 1;
      narrow[2 * n0 + n1] = clamp<Int<8>>(wrap_i<32>(sum >> 1), -128, 127);
    }
  }
  Vec<Int<8>, 4> y_token;
  for (int n0 = 0; n0 < 2; ++n0) {
#pragma HLS UNROLL
    for (int n1 = 0; n1 < 2; ++n1) {
#pragma HLS UNROLL
      y_token.v[2 * n0 + n1] = narrow[2 * n0 + n1];
    }
  }
  y.write(y_token);
}

}  // namespace processes

void dense(hls::stream<Job>& jobs, hls::stream<Vec<Int<8>, 8>>& x, hls::stream<Vec<Int<8>, 8>>& w,
    hls::stream<Vec<Int<8>, 4>>& y) {
#pragma HLS INTERFACE mode=ap_ctrl_none port=return
#pragma HLS INTERFACE mode=axis port=jobs
#pragma HLS INTERFACE mode=axis port=x
#pragma HLS INTERFACE mode=axis port=w
#pragma HLS INTERFACE mode=axis port=y
  hls_thread_local hls::stream<Vec<Int<32>, 4>, 2> sums("sums");
  hls_thread_local hls::stream<UInt<4>, 2> shifts("shifts");
  hls_thread_local hls::task multiply_task(processes::multiply, jobs, x, w, sums, shifts);
  hls_thread_local hls::task requantise_task(processes::requantise, sums, shifts, y);
}
