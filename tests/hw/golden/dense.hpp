// Block dense: tokens and top function.
#ifndef DENSE_HPP
#define DENSE_HPP

#include <hls_stream.h>

#include "ew_int.h"

using namespace ew;

struct Job {
  UInt<4> depth;
  UInt<4> shift;
};

void dense(hls::stream<Job>& jobs, hls::stream<Vec<Int<8>, 8>>& x, hls::stream<Vec<Int<8>, 8>>& w,
    hls::stream<Vec<Int<8>, 4>>& y);

#endif
