// hls::task for C simulation: the function is called again and again by a cooperative task.
#ifndef EW_SHIM_HLS_TASK_H
#define EW_SHIM_HLS_TASK_H

#include <tuple>
#include <type_traits>

#include "ew_schedule.h"
#include "hls_stream.h"

#define hls_thread_local static

namespace hls {

class task {
 public:
  template <class F, class... Args> explicit task(F&& function, Args&&... args) {
    std::tuple<Kept<Args>...> kept(args...);
    auto* called = &function;
    ew::sim::spawn([called, kept] { std::apply(*called, kept); });
  }

 private:
  // Streams by reference, pointers and scalars by value: they are parameters of a function that returns.
  template <class A>
  using Kept = std::conditional_t<std::is_class<std::remove_reference_t<A>>::value, A, std::decay_t<A>>;
};

}  // namespace hls

#endif
