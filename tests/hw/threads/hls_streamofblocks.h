// hls::stream_of_blocks and its locks with the interface that UG1399 documents, between two threads.
#ifndef TEST_HLS_STREAMOFBLOCKS_H
#define TEST_HLS_STREAMOFBLOCKS_H

#include <condition_variable>
#include <mutex>

namespace hls {

template <class Block, int Depth = 2> class stream_of_blocks;

template <class Block> class stream_of_blocks<Block, 2> {
 public:
  explicit stream_of_blocks(int depth = 2) : depth_(depth), banks_(new Bank[depth]) {}

  Block& take_free() {
    std::unique_lock<std::mutex> lock(held_->mutex);
    held_->changed.wait(lock, [this] { return written_ - read_ < depth_; });
    return banks_[written_ % depth_].data;
  }
  void give_full() { count(written_); }
  Block& take_full() {
    std::unique_lock<std::mutex> lock(held_->mutex);
    held_->changed.wait(lock, [this] { return written_ > read_; });
    return banks_[read_ % depth_].data;
  }
  void give_free() { count(read_); }

 private:
  struct Bank {
    Block data;
  };
  void count(long& which) {
    std::lock_guard<std::mutex> lock(held_->mutex);
    ++which;
    held_->changed.notify_all();
  }
  const int depth_;
  Bank* banks_;
  long written_ = 0, read_ = 0;
  struct Held {
    std::mutex mutex;
    std::condition_variable changed;
  };
  Held* held_ = new Held;  // never destroyed: at the end of main tasks still wait for it
};

template <class Block, int Depth> class stream_of_blocks : public stream_of_blocks<Block, 2> {
 public:
  stream_of_blocks() : stream_of_blocks<Block, 2>(Depth) {}
};

template <class Block> class write_lock {
 public:
  explicit write_lock(stream_of_blocks<Block>& blocks) : blocks_(blocks), bank_(blocks.take_free()) {}
  ~write_lock() { blocks_.give_full(); }
  operator Block&() { return bank_; }

 private:
  stream_of_blocks<Block>& blocks_;
  Block& bank_;
};

template <class Block> class read_lock {
 public:
  explicit read_lock(stream_of_blocks<Block>& blocks) : blocks_(blocks), bank_(blocks.take_full()) {}
  ~read_lock() { blocks_.give_free(); }
  operator Block&() { return bank_; }

 private:
  stream_of_blocks<Block>& blocks_;
  Block& bank_;
};

}  // namespace hls

#endif
