// Cooperative tasks for C simulation: a task runs until a stream it reads is empty (or one it writes is full), then the next
// ready one does. When none can go on the simulation is quiescent.
#ifndef EW_SCHEDULE_H
#define EW_SCHEDULE_H

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ew {
namespace sim {

struct Task;

// What tasks wait for: a stream, or a stream of blocks.
struct Place {
  std::string name;
  Task* reader = nullptr;  // waiting to read
  Task* writer = nullptr;  // waiting to write
  virtual size_t waiting() const = 0;  // tokens or blocks written and not yet read
  virtual ~Place() = default;
};

struct Task {
  std::string name;
  std::function<void()> body;
  ucontext_t context;
  Place* on = nullptr;
  bool reads = false;     // has ever tried to read
  bool writing = false;   // waits to write, not to read
  bool grow = false;      // may go on although the place is full
  uint64_t actions = 0;   // since its function was called last
};

struct Schedule {
  std::vector<std::unique_ptr<Task>> tasks;
  std::vector<Place*> places;
  std::deque<Task*> ready;
  std::deque<Task*> soft;  // wait for room, but may grow the place when nothing else can run
  Task* current = nullptr;
  ucontext_t home;
  bool bounded = false;  // streams hold `depth` tokens only
};

inline Schedule& schedule() {
  static Schedule* s = new Schedule;  // never destroyed: tasks are left where they wait
  return *s;
}

inline void wake(Task*& task) {
  schedule().ready.push_back(task);
  task->on = nullptr;
  task = nullptr;
}

inline void suspend(Place* place, bool writing) {
  Schedule& s = schedule();
  Task* task = s.current;
  if (!task) {
    std::fprintf(stderr, "%s: would wait outside any task\n", place->name.c_str());
    std::exit(3);
  }
  task->on = place;
  task->writing = writing;
  swapcontext(&task->context, &s.home);
}

inline void wait_for_token(Place* place) {
  place->reader = schedule().current;
  suspend(place, false);
}

// Returns when there may be room, or when the place may grow (true).
inline bool wait_for_room(Place* place) {
  Schedule& s = schedule();
  Task* task = s.current;
  if (task && !s.bounded && task->reads) s.soft.push_back(task);
  place->writer = task;
  suspend(place, true);
  const bool grow = task->grow;
  task->grow = false;
  return grow;
}

inline void enter(unsigned low, unsigned high) {
  Task* task = reinterpret_cast<Task*>(static_cast<uintptr_t>(high) << 32 | low);
  for (;;) {
    task->actions = 0;
    task->body();
  }
}

inline void spawn(std::function<void()> body) {
  Schedule& s = schedule();
  auto task = std::make_unique<Task>();
  task->name = "task " + std::to_string(s.tasks.size());
  task->body = std::move(body);
  getcontext(&task->context);
  const size_t size = 8u << 20;  // reserved; touched pages only are used
  task->context.uc_stack.ss_sp = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  task->context.uc_stack.ss_size = size;
  task->context.uc_link = &s.home;
  const uintptr_t at = reinterpret_cast<uintptr_t>(task.get());
  makecontext(&task->context, reinterpret_cast<void (*)()>(enter), 2, static_cast<unsigned>(at), static_cast<unsigned>(at >> 32));
  s.ready.push_back(task.get());
  s.tasks.push_back(std::move(task));
}

// Runs until no task can go on.
inline void run() {
  Schedule& s = schedule();
  for (;;) {
    if (s.ready.empty()) {
      Task* task = nullptr;
      while (!s.soft.empty() && !task) {
        Task* first = s.soft.front();
        s.soft.pop_front();
        if (first->on && first->writing) task = first;
      }
      if (!task) return;
      task->on->writer = nullptr;
      task->on = nullptr;
      task->grow = true;
      s.ready.push_back(task);
    }
    s.current = s.ready.front();
    s.ready.pop_front();
    swapcontext(&s.home, &s.current->context);
    s.current = nullptr;
  }
}

// What is left: tokens never read, and tasks stopped after their function's first action.
inline void report(std::FILE* out) {
  Schedule& s = schedule();
  for (const Place* place : s.places)
    if (place->waiting()) std::fprintf(out, "left %s %zu\n", place->name.c_str(), place->waiting());
  for (const auto& task : s.tasks)
    if (task->on && task->actions)
      std::fprintf(out, "waits %s %s %s\n", task->name.c_str(), task->writing ? "write" : "read", task->on->name.c_str());
}

}  // namespace sim
}  // namespace ew

#endif
