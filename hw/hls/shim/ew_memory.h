// The memory behind the AXI ports in C simulation, and the log of what was written to it.
#ifndef EW_MEMORY_H
#define EW_MEMORY_H

#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "ew_int.h"

namespace ew {
namespace sim {

struct Memory {
  std::vector<UInt<128>> words;
  std::vector<std::pair<size_t, UInt<128>>> log;  // (word, value) in order
};

inline Memory& memory() {
  static Memory* m = new Memory;
  return *m;
}

inline void note_write(size_t at, const UInt<128>& word) { memory().log.emplace_back(at, word); }

template <class A, class B> void check(const UInt<128>*, const A& first, const B& beats) {
  const size_t end = static_cast<size_t>(first) + static_cast<size_t>(beats);
  if (end > memory().words.size()) {
    std::fprintf(stderr, "axi access of words %zu..%zu in a memory of %zu words\n", static_cast<size_t>(first), end, memory().words.size());
    std::exit(4);
  }
}

}  // namespace sim
}  // namespace ew

#endif
