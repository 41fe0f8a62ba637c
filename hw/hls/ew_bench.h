// What the test bench of an engine needs: its memory, its ports with the tokens that passed, and its movers as functions.
#ifndef EW_BENCH_H
#define EW_BENCH_H

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "ew_int.h"
#include "ew_tokens.h"

namespace ew {
namespace sim {

// Lets the tasks go on. The headers of Vitis run each in a thread, the shim in this one until none can go on.
inline void proceed() {
#ifdef EW_SHIM_HLS_TASK_H
  run();
#else
  std::this_thread::yield();
#endif
}

inline void fail(const std::string& message) {
  std::fprintf(stderr, "ERROR: %s\n", message.c_str());
  std::fflush(nullptr);
  std::exit(1);
}

// A stream at the edge of the design, and all tokens that went through it, as bytes.
template <int W> class Port {
 public:
  Port(const char* name, hls::stream<UInt<W>>& stream) : name_(name), stream_(stream) {}

  bool waits() const { return !stream_.empty(); }
  UInt<W> take() {
    const UInt<W> token = stream_.read();
    note(token);
    return token;
  }
  void give(const UInt<W>& token) {
    stream_.write(token);
    note(token);
  }
  size_t count() const { return tokens_.size() / (W / 8); }

  void save(const std::string& folder) const { sim::save(folder + "/" + name_ + ".tokens", tokens_); }
  // Gives the tokens of a file.
  void replay(const std::string& folder) {
    const std::vector<uint8_t> raw = load(folder + "/" + name_ + ".tokens");
    for (size_t at = 0; at < raw.size(); at += W / 8) give(get_u<W>(raw.data() + at, 0));
  }
  // Takes what waits; returns whether there are as many as in a file now.
  bool gather(const std::string& folder) {
    if (expected_.empty()) expected_ = load(folder + "/" + name_ + ".tokens");
    while (tokens_.size() < expected_.size() && waits()) take();
    return tokens_.size() >= expected_.size();
  }
  void compare() const {
    if (waits()) fail(std::string(name_) + ": more tokens than expected");
    for (size_t at = 0; at < expected_.size(); ++at)
      if (at >= tokens_.size() || tokens_[at] != expected_[at])
        fail(std::string(name_) + ": token " + std::to_string(at / (W / 8)) + " is not the expected one");
  }

 private:
  void note(const UInt<W>& token) {
    tokens_.resize(tokens_.size() + W / 8);
    put<W>(tokens_.data() + tokens_.size() - W / 8, 0, token);
  }
  const char* name_;
  hls::stream<UInt<W>>& stream_;
  std::vector<uint8_t> tokens_, expected_;
};

// The memory that the lines of program.txt describe: "memory <bytes>", "start <address> <descriptors>", "load <address>
// <file>", and "expect <address> <bytes>": where the next bytes of outputs.bin are in the end.
class Memory {
 public:
  explicit Memory(const std::string& folder) {
    const std::vector<uint8_t> outputs = load(folder + "/outputs.bin");
    size_t taken = 0;
    std::FILE* file = std::fopen((folder + "/program.txt").c_str(), "r");
    if (!file) fail("there is no " + folder + "/program.txt");
    char what[16], name[256];
    unsigned long long number = 0, size = 0;
    while (std::fscanf(file, "%15s %llu", what, &number) == 2) {
      const std::string line = what;
      if (line == "memory") {
        octets_.resize(number);
      } else if (line == "start") {
        program = number;
        if (std::fscanf(file, "%llu", &descriptors) != 1) fail("program.txt: a start without the number of descriptors");
      } else if (line == "load") {
        if (std::fscanf(file, "%255s", name) != 1) fail("program.txt: a load without a file");
        const std::vector<uint8_t> content = load(folder + "/" + name);
        check(number, content.size());
        for (size_t n = 0; n < content.size(); ++n) octets_[number + n] = content[n];
      } else if (line == "expect") {
        if (std::fscanf(file, "%llu", &size) != 1) fail("program.txt: an expect without a size");
        check(number, size);
        if (taken + size > outputs.size()) fail("outputs.bin is too short");
        expected_.push_back({static_cast<size_t>(number), {outputs.begin() + taken, outputs.begin() + taken + size}});
        taken += size;
      } else {
        fail("program.txt: unknown line " + line);
      }
    }
    std::fclose(file);
  }

  UInt<128> read(size_t address) const {
    check(address, 16);
    return get_u<128>(octets_.data() + address, 0);
  }
  void write(size_t address, const UInt<128>& word) {
    check(address, 16);
    for (size_t n = 0; n < 16; ++n) octets_[address + n] = 0;
    put<128>(octets_.data() + address, 0, word);
  }
  void compare() const {
    for (const Content& region : expected_)
      for (size_t n = 0; n < region.octets.size(); ++n)
        if (octets_[region.address + n] != region.octets[n])
          fail("byte " + std::to_string(region.address + n) + " is " + std::to_string(octets_[region.address + n]) +
               ", expected " + std::to_string(region.octets[n]));
  }

  unsigned long long program = 0, descriptors = 0;

 private:
  struct Content {
    size_t address;
    std::vector<uint8_t> octets;
  };
  void check(size_t address, size_t size) const {
    if (address + size > octets_.size()) fail("an access at " + std::to_string(address) + " is outside of the memory");
  }
  std::vector<uint8_t> octets_;
  std::vector<Content> expected_;
};

// A request: address in bytes, beats of 16 bytes, mark, the first lowest.
struct Span {
  size_t address, beats;
  bool mark;
  explicit Span(const UInt<64>& word)
      : address(static_cast<size_t>(slice<40>(word, 0))),
        beats(static_cast<size_t>(slice<16>(word, 40))),
        mark(static_cast<bool>(slice<1>(word, 56))) {}
};

// Serves the requests that wait; returns whether there were any.
inline bool read_mover(Memory& memory, Port<64>& requests, Port<128>& data) {
  bool moved = false;
  for (; requests.waits(); moved = true) {
    const Span span(requests.take());
    for (size_t n = 0; n < span.beats; ++n) data.give(memory.read(span.address + 16 * n));
  }
  return moved;
}

// The same of writes; a marked request is done when all before it are in memory. What it waits for stays in `left`.
struct WriteMover {
  bool busy = false;
  Span left = Span(UInt<64>(0));

  bool serve(Memory& memory, Port<64>& requests, Port<128>& data, Port<8>& done) {
    bool moved = false;
    for (;;) {
      if (!busy) {
        if (!requests.waits()) return moved;
        left = Span(requests.take());
        busy = moved = true;
      }
      for (; left.beats && data.waits(); moved = true) {
        memory.write(left.address, data.take());
        left.address += 16;
        --left.beats;
      }
      if (left.beats) return moved;
      if (left.mark) done.give(UInt<8>(1));
      busy = false;
    }
  }
};

// Ends the simulation where nothing has moved for a minute, or nothing will with the tasks of the shim.
class Watchdog {
 public:
  void check(bool moved) {
    const auto now = std::chrono::steady_clock::now();
    if (moved) {
      last_ = now;
      idle_ = 0;
      return;
    }
#ifdef EW_SHIM_HLS_TASK_H
    if (++idle_ > 2) fail("nothing moves any more");
#else
    if (now - last_ > std::chrono::minutes(1)) fail("nothing has moved for a minute");
#endif
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  int idle_ = 0;
};

}  // namespace sim
}  // namespace ew

#endif
