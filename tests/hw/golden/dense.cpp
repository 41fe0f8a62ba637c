#include "dense.hpp"


#include "ew_dot.h"

namespace processes {

void multiply(hls::stream<UInt<8>>& jobs, hls::stream<UInt<64>>& x, hls::stream<UInt<64>>& w,
    hls::stream<UInt<128>>& sums, hls::stream<UInt<4>>& shifts) {
  static Int<32> total[4];  // [2, 2]
#pragma HLS ARRAY_PARTITION variable=total type=complete
  const UInt<8> c_word = jobs.read();
  const UInt<4> c_depth = wrap_u<4>(c_word);
  const UInt<4> c_shift = slice<4>(c_word, 4);
  multiply_k:
  for (UInt<4> k = 0; k < c_depth; ++k) {
#pragma HLS PIPELINE II=1 style=frp
    const UInt<64> x_token_word = x.read();
    Int<8> x_token[8];  // [2, 4]
#pragma HLS ARRAY_PARTITION variable=x_token type=complete
    unpack_i<8>(x_token, x_token_word);
    const UInt<64> w_token_word = w.read();
    Int<8> w_token[8];  // [2, 4]
#pragma HLS ARRAY_PARTITION variable=w_token type=complete
    unpack_i<8>(w_token, w_token_word);
    Int<17> products[4];  // [2, 2]
#pragma HLS ARRAY_PARTITION variable=products type=complete
    dot<2, 2, 4>(products, x_token, w_token);
    for (int n0 = 0; n0 < 2; ++n0) {
#pragma HLS UNROLL
      for (int n1 = 0; n1 < 2; ++n1) {
#pragma HLS UNROLL
        total[2 * n0 + n1] = ((k == 0) ? Int<32>(0) : total[2 * n0 + n1]) + products[2 * n0 + n1];
      }
    }
    if ((k + 1) == c_depth) {
      sums.write(packed<128, 32, 0, 4>(total));
    }
    if ((k + 1) == c_depth) {
      shifts.write(c_shift);
    }
  }
}

void requantise(hls::stream<UInt<128>>& sums, hls::stream<UInt<4>>& shifts, hls::stream<UInt<32>>& y) {
#pragma HLS PIPELINE II=1 style=frp
  const UInt<128> sums_token_word = sums.read();
  Int<32> sums_token[4];  // [2, 2]
#pragma HLS ARRAY_PARTITION variable=sums_token type=complete
  unpack_i<32>(sums_token, sums_token_word);
  const UInt<4> shifts_token = shifts.read();
  Int<8> narrow[4];  // [2, 2]
#pragma HLS ARRAY_PARTITION variable=narrow type=complete
  for (int n0 = 0; n0 < 2; ++n0) {
#pragma HLS UNROLL
    for (int n1 = 0; n1 < 2; ++n1) {
#pragma HLS UNROLL
      const Int<34> sum = shr(Int<33>(Int<33>(sums_token[2 * n0 + n1]) << 1), shifts_token) + 1;
      narrow[2 * n0 + n1] = clamp<Int<8>>(wrap_i<32>(sum >> 1), -128, 127);
    }
  }
  y.write(packed<32, 8, 0, 4>(narrow));
}

}  // namespace processes

void dense_hls(hls::stream<UInt<8>>& s_axis_jobs, hls::stream<UInt<64>>& s_axis_x, hls::stream<UInt<64>>& s_axis_w,
    hls::stream<UInt<32>>& m_axis_y) {
#pragma HLS INTERFACE mode=ap_ctrl_none port=return
#pragma HLS INTERFACE mode=axis port=s_axis_jobs
#pragma HLS INTERFACE mode=axis port=s_axis_x
#pragma HLS INTERFACE mode=axis port=s_axis_w
#pragma HLS INTERFACE mode=axis port=m_axis_y
  hls_thread_local hls::stream<UInt<128>, 2> sums("sums");
  hls_thread_local hls::stream<UInt<4>, 2> shifts("shifts");
  hls_thread_local hls::task multiply_task(processes::multiply, s_axis_jobs, s_axis_x, s_axis_w, sums, shifts);
  hls_thread_local hls::task requantise_task(processes::requantise, sums, shifts, m_axis_y);
}
