// hls::stream_of_blocks and its locks for C simulation with cooperative tasks.
#ifndef EW_SHIM_HLS_STREAMOFBLOCKS_H
#define EW_SHIM_HLS_STREAMOFBLOCKS_H

#include <deque>
#include <vector>

#include "ew_schedule.h"

namespace hls {

template <class Block, int Depth = 2> class stream_of_blocks;

template <class Block> class BlockPool : public ew::sim::Place {
 public:
  struct Bank {
    Block data;
  };
  explicit BlockPool(size_t banks) : banks_(banks) { ew::sim::schedule().places.push_back(this); }
  size_t waiting() const override { return full_.size(); }

  Bank* take_free() {
    ew::sim::Task* task = ew::sim::schedule().current;
    while (free_.empty()) {
      if (made_ < banks_ || ew::sim::wait_for_room(this)) {
        ++made_;
        ++task->actions;
        return new Bank();
      }
    }
    ++task->actions;
    Bank* bank = free_.back();
    free_.pop_back();
    return bank;
  }
  void give_full(Bank* bank) {
    full_.push_back(bank);
    if (reader) ew::sim::wake(reader);
  }
  Bank* take_full() {
    ew::sim::Task* task = ew::sim::schedule().current;
    task->reads = true;
    while (full_.empty()) ew::sim::wait_for_token(this);
    ++task->actions;
    Bank* bank = full_.front();
    full_.pop_front();
    return bank;
  }
  void give_free(Bank* bank) {
    free_.push_back(bank);
    if (writer) ew::sim::wake(writer);
  }

 private:
  size_t banks_, made_ = 0;
  std::vector<Bank*> free_;
  std::deque<Bank*> full_;
};

template <class Block> class stream_of_blocks<Block, 2> : public BlockPool<Block> {
 public:
  explicit stream_of_blocks(size_t banks = 2) : BlockPool<Block>(banks) {}
};

template <class Block, int Depth> class stream_of_blocks : public stream_of_blocks<Block, 2> {
 public:
  stream_of_blocks() : stream_of_blocks<Block, 2>(Depth) {}
};

template <class Block> class write_lock {
 public:
  explicit write_lock(stream_of_blocks<Block>& blocks) : blocks_(blocks), bank_(blocks.take_free()) {}
  ~write_lock() { blocks_.give_full(bank_); }
  write_lock(const write_lock&) = delete;
  operator Block&() { return bank_->data; }

 private:
  stream_of_blocks<Block>& blocks_;
  typename BlockPool<Block>::Bank* bank_;
};

template <class Block> class read_lock {
 public:
  explicit read_lock(stream_of_blocks<Block>& blocks) : blocks_(blocks), bank_(blocks.take_full()) {}
  ~read_lock() { blocks_.give_free(bank_); }
  read_lock(const read_lock&) = delete;
  operator Block&() { return bank_->data; }

 private:
  stream_of_blocks<Block>& blocks_;
  typename BlockPool<Block>::Bank* bank_;
};

}  // namespace hls

#endif
