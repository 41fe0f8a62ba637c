// hls::task with the interface that UG1399 documents: a thread that calls its function for ever, on streams only.
#ifndef TEST_HLS_TASK_H
#define TEST_HLS_TASK_H

#include <functional>
#include <thread>
#include <type_traits>

#include "hls_stream.h"
#include "hls_streamofblocks.h"

#define hls_thread_local thread_local

namespace hls {

template <class T> struct Streams : std::false_type {};
template <class T, int D> struct Streams<stream<T, D>&> : std::true_type {};
template <class T, int D> struct Streams<stream_of_blocks<T, D>&> : std::true_type {};

template <class... Args> struct All : std::true_type {};
template <class First, class... Rest> struct All<First, Rest...> : std::integral_constant<bool, Streams<First>::value && All<Rest...>::value> {};

class task {
 public:
  template <class F, class... Args> explicit task(F function, Args&&... args) {
    static_assert(All<Args...>::value, "the arguments of a task are streams and streams of blocks");
    std::thread made(
        [function](typename std::add_lvalue_reference<Args>::type... kept) {
          for (;;) function(kept...);
        },
        std::ref(args)...);
    made.detach();
  }
};

}  // namespace hls

#endif
