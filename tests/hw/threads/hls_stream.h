// hls::stream with the interface that UG1399 documents, safe for threads, as tasks of C simulation in Vitis are.
#ifndef TEST_HLS_STREAM_H
#define TEST_HLS_STREAM_H

#ifndef TEST_HLS_TASK_H
#error "include hls_task.h before hls_stream.h"
#endif

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <queue>

namespace hls {

template <class T, int Depth = 0> class stream;

template <class T> class stream<T, 0> {
 public:
  stream() = default;
  explicit stream(const char*) {}
  stream(const stream&) = delete;
  stream& operator=(const stream&) = delete;

  T read() {
    std::unique_lock<std::mutex> lock(held_->mutex);
    held_->more.wait(lock, [this] { return !held_->tokens.empty(); });
    T token = held_->tokens.front();
    held_->tokens.pop();
    return token;
  }
  void read(T& token) { token = read(); }
  void write(const T& token) {
    std::lock_guard<std::mutex> lock(held_->mutex);
    held_->tokens.push(token);
    held_->more.notify_one();
  }
  bool empty() {
    std::lock_guard<std::mutex> lock(held_->mutex);
    return held_->tokens.empty();
  }
  size_t size() {
    std::lock_guard<std::mutex> lock(held_->mutex);
    return held_->tokens.size();
  }

 private:
  struct Held {
    std::mutex mutex;
    std::condition_variable more;
    std::queue<T> tokens;
  };
  Held* held_ = new Held;  // never destroyed: at the end of main tasks still wait for it
};

template <class T, int Depth> class stream : public stream<T, 0> {
 public:
  stream() = default;
  explicit stream(const char* name) : stream<T, 0>(name) {}
};

}  // namespace hls

#endif
