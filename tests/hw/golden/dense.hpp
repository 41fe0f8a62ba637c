// Block dense: tokens and top function.
#ifndef DENSE_HPP
#define DENSE_HPP

#include "ew_int.h"

#include <hls_task.h>  // before hls_stream.h, which it makes safe for threads

using namespace ew;

void dense_hls(hls::stream<UInt<8>>& s_axis_jobs, hls::stream<UInt<64>>& s_axis_x, hls::stream<UInt<64>>& s_axis_w,
    hls::stream<UInt<32>>& m_axis_y);

#endif
