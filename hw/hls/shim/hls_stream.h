// hls::stream for C simulation with cooperative tasks. Not bounded unless asked for: a writer far ahead lets others run first.
#ifndef EW_SHIM_HLS_STREAM_H
#define EW_SHIM_HLS_STREAM_H

#include <vector>

#include "ew_schedule.h"

namespace hls {

template <class T, int Depth = 0> class stream;

template <class T> class stream<T, 0> : public ew::sim::Place {
 public:
  explicit stream(const char* name = "stream") : ring_(16) {
    this->name = name;
    ew::sim::schedule().places.push_back(this);
  }
  stream(const stream&) = delete;
  stream& operator=(const stream&) = delete;

  T read() {
    ew::sim::Task* task = ew::sim::schedule().current;
    if (task) task->reads = true;
    while (empty()) ew::sim::wait_for_token(this);
    if (task) ++task->actions;
    T token = ring_[head_++ & (ring_.size() - 1)];
    if (writer) ew::sim::wake(writer);
    return token;
  }
  void read(T& token) { token = read(); }

  void write(const T& token) {
    if (size() >= depth_) make_room();
    if (size() == ring_.size()) grow();
    ring_[tail_++ & (ring_.size() - 1)] = token;
    if (ew::sim::schedule().current) ++ew::sim::schedule().current->actions;
    if (reader) ew::sim::wake(reader);
  }

  bool empty() const { return head_ == tail_; }
  size_t size() const { return tail_ - head_; }
  size_t waiting() const override { return size(); }
  void limit(size_t depth) { depth_ = depth; }
  void unbounded() { port_ = true; }  // a port of the block: only a task that never reads is held back

 private:
  void make_room() {
    const ew::sim::Schedule& s = ew::sim::schedule();
    if (!s.current) return;
    const bool hard = !s.current->reads || (s.bounded && !port_);
    const size_t soft = port_ ? ~size_t(0) : depth_ + 16 + (size_t(1) << 18) / sizeof(T);
    while (size() >= (hard ? depth_ : soft))
      if (ew::sim::wait_for_room(this)) return;
  }
  void grow() {
    std::vector<T> wider(ring_.size() * 2);
    for (size_t n = head_; n != tail_; ++n) wider[n & (wider.size() - 1)] = ring_[n & (ring_.size() - 1)];
    ring_.swap(wider);
  }
  std::vector<T> ring_;
  size_t head_ = 0, tail_ = 0, depth_ = 2;
  bool port_ = false;
};

template <class T, int Depth> class stream : public stream<T, 0> {
 public:
  explicit stream(const char* name = "stream") : stream<T, 0>(name) { this->limit(Depth); }
};

}  // namespace hls

#endif
