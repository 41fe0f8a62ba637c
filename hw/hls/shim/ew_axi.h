// The movers behind the AXI ports in C simulation: tasks between request and data streams and the memory. A request is a word
// of the address in bytes (40 bits, a multiple of 16), the beats of 16 bytes (16 bits) and the mark (1 bit), the first lowest.
#ifndef EW_AXI_H
#define EW_AXI_H

#include <hls_stream.h>

#include "ew_int.h"
#include "ew_memory.h"

namespace ew {
namespace sim {

// One data token per beat of each request.
inline void axi_read(hls::stream<UInt<64>>& requests, hls::stream<UInt<128>>& data, const UInt<128>* memory) {
  const UInt<64> request = requests.read();
  const size_t first = static_cast<size_t>(slice<36>(request, 4)), beats = static_cast<size_t>(slice<16>(request, 40));
  check(memory, first, beats);
  for (size_t n = 0; n < beats; ++n) data.write(memory[first + n]);
}

// One beat per data token; a token on `done` once a marked request and all before it are in memory.
inline void axi_write(hls::stream<UInt<64>>& requests, hls::stream<UInt<128>>& data, hls::stream<UInt<8>>& done, UInt<128>* memory) {
  const UInt<64> request = requests.read();
  const size_t first = static_cast<size_t>(slice<36>(request, 4)), beats = static_cast<size_t>(slice<16>(request, 40));
  check(memory, first, beats);
  for (size_t n = 0; n < beats; ++n) {
    const UInt<128> word = data.read();
    memory[first + n] = word;
    note_write(first + n, word);
  }
  if (static_cast<bool>(slice<1>(request, 56))) done.write(UInt<8>(1));
}

}  // namespace sim
}  // namespace ew

#endif
