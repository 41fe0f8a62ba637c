// Movers between request and data streams and memory. A request is a struct of addr (bytes, a multiple of 16), beats
// (of 16 bytes) and mark.
#ifndef EW_AXI_H
#define EW_AXI_H

#include <hls_stream.h>

#include "ew_int.h"
#ifndef __SYNTHESIS__
#include <ew_memory.h>
#endif

namespace ew {

// One data token per beat of each request.
template <class Request> void axi_read(hls::stream<Request>& requests, hls::stream<UInt<128>>& data, const UInt<128>* memory) {
  const Request request = requests.read();
  const UInt<36> first = request.addr >> 4;
#ifndef __SYNTHESIS__
  sim::check(memory, first, request.beats);
#endif
beats:
  for (UInt<17> n = 0; n < request.beats; ++n) {
#pragma HLS PIPELINE II=1
    data.write(memory[static_cast<size_t>(first + n)]);
  }
}

// One beat per data token; a token on `done` once a marked request and all before it are in memory.
template <class Request>
void axi_write(hls::stream<Request>& requests, hls::stream<UInt<128>>& data, hls::stream<UInt<1>>& done, UInt<128>* memory) {
  const Request request = requests.read();
  const UInt<36> first = request.addr >> 4;
#ifndef __SYNTHESIS__
  sim::check(memory, first, request.beats);
#endif
beats:
  for (UInt<17> n = 0; n < request.beats; ++n) {
#pragma HLS PIPELINE II=1
    const UInt<128> word = data.read();
    memory[static_cast<size_t>(first + n)] = word;
#ifndef __SYNTHESIS__
    sim::note_write(static_cast<size_t>(first + n), word);
#endif
  }
  if (request.mark) done.write(1);
}

}  // namespace ew

#endif
