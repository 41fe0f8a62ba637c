// Tokens as packed bits in files, for the main program of a C simulation.
#ifndef EW_TOKENS_H
#define EW_TOKENS_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "ew_int.h"

namespace ew {
namespace sim {

inline std::vector<uint8_t> load(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) std::exit(5);
  std::fseek(file, 0, SEEK_END);
  std::vector<uint8_t> data(static_cast<size_t>(std::ftell(file)));
  std::rewind(file);
  if (!data.empty() && std::fread(data.data(), 1, data.size(), file) != data.size()) std::exit(5);
  std::fclose(file);
  return data;
}

inline void save(const std::string& path, const std::vector<uint8_t>& data) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file) std::exit(5);
  std::fwrite(data.data(), 1, data.size(), file);
  std::fclose(file);
}

inline uint64_t get_bits(const uint8_t* raw, size_t bit, int count) {
  unsigned __int128 word = 0;
  const size_t first = bit / 8, last = (bit + static_cast<size_t>(count) - 1) / 8;
  for (size_t n = first; n <= last; ++n) word |= static_cast<unsigned __int128>(raw[n]) << (8 * (n - first));
  word >>= bit % 8;
  return static_cast<uint64_t>(word) & (count == 64 ? ~uint64_t(0) : (uint64_t(1) << count) - 1);
}

inline void put_bits(uint8_t* raw, size_t bit, int count, uint64_t value) {
  const unsigned __int128 word = static_cast<unsigned __int128>(value) << (bit % 8);
  const size_t first = bit / 8, last = (bit + static_cast<size_t>(count) - 1) / 8;
  for (size_t n = first; n <= last; ++n) raw[n] = static_cast<uint8_t>(raw[n] | static_cast<uint8_t>(word >> (8 * (n - first))));
}

template <int W> UInt<W> get_u(const uint8_t* raw, size_t bit) {
  if (W <= 64) return UInt<W>(get_bits(raw, bit, W < 64 ? W : 64));
  UInt<W> word = 0;
  for (int at = 0; at < W; at += 32) {
    const int n = W - at < 32 ? W - at : 32;
    word = word | (UInt<W>(get_bits(raw, bit + static_cast<size_t>(at), n)) << static_cast<unsigned>(at));
  }
  return word;
}
template <int W> Int<W> get_i(const uint8_t* raw, size_t bit) { return wrap_i<W>(get_u<W>(raw, bit)); }

template <int W, class T> void put(uint8_t* raw, size_t bit, const T& x) {
  const UInt<W> word = wrap_u<W>(x);
  for (int at = 0; at < W; at += 32) {
    const int n = W - at < 32 ? W - at : 32;
    const UInt<W> part = word >> static_cast<unsigned>(at);
    put_bits(raw, bit + static_cast<size_t>(at), n, static_cast<uint64_t>(wrap_u<32>(part)) & ((uint64_t(1) << n) - 1));
  }
}

}  // namespace sim
}  // namespace ew

#endif
