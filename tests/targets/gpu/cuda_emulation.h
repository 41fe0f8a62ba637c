// CUDA on a CPU, for tests: the very source that nvcc would compile, each CUDA thread a fibre of one host thread.
// Blocks run one after the other. __syncthreads and __shfl_xor_sync give way to the next fibre; a barrier that not all
// threads reach ends the program with a message. cuda_emulation_order chooses who runs first between two barriers: a
// result that depends on it is a race. Device memory ends at a page that may not be touched.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(threads)

struct uint3 { unsigned x, y, z; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) int2 { int x, y; };
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }

template <class T> T max(T a, T b) { return a > b ? a : b; }
template <class T> T min(T a, T b) { return a < b ? a : b; }
inline int __clzll(int64_t x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; i++) c += (int)(int8_t)(a >> 8 * i) * (int)(int8_t)(b >> 8 * i);
    return c;
}

namespace emulation {

enum State { READY, AT_BARRIER, AT_SHUFFLE, DONE };
const int MOST_THREADS = 1024, WARP = 32, STACK_BYTES = 1 << 16;

struct Fibre {
    ucontext_t context;
    State state;
    char *stack = nullptr;
};

inline Fibre fibres[MOST_THREADS];
inline ucontext_t scheduler;
inline int current, running;
inline unsigned long long slots[MOST_THREADS];
inline int order = 0;
inline void (*entry)(void *);
inline void *entry_data;

inline void stop(const char *why) {
    fprintf(stderr, "cuda emulation: %s\n", why);
    fflush(stderr);
    _exit(70);
}

}  // namespace emulation

inline uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

inline void give_way(State state) {
    const int me = current;
    fibres[me].state = state;
    swapcontext(&fibres[me].context, &scheduler);
}

inline void start() {
    entry(entry_data);
    fibres[current].state = DONE;
    swapcontext(&fibres[current].context, &scheduler);
}

inline void release(int from, int to, State waiting) {
    for (int i = from; i < to; i++)
        if (fibres[i].state != waiting) return;
    for (int i = from; i < to; i++) fibres[i].state = READY;
}

inline void run_block() {
    for (int i = 0; i < running; i++) {
        Fibre &fibre = fibres[i];
        if (!fibre.stack) fibre.stack = (char *)malloc(STACK_BYTES);
        getcontext(&fibre.context);
        fibre.context.uc_stack.ss_sp = fibre.stack;
        fibre.context.uc_stack.ss_size = STACK_BYTES;
        fibre.context.uc_link = nullptr;
        fibre.state = READY;
        makecontext(&fibre.context, start, 0);
    }
    for (;;) {
        bool ran = false, all_done = true;
        for (int i = 0; i < running; i++) {
            current = order ? running - 1 - i : i;
            if (fibres[current].state != READY) continue;
            ran = true;
            threadIdx = {(unsigned)current, 0, 0};
            swapcontext(&scheduler, &fibres[current].context);
        }
        for (int i = 0; i < running; i++) all_done = all_done && fibres[i].state == DONE;
        if (all_done) return;
        if (!ran) stop("some threads of a block or a warp never come to a barrier that others wait at");
        for (int warp = 0; warp < running; warp += WARP) release(warp, min(warp + WARP, running), AT_SHUFFLE);
        release(0, running, AT_BARRIER);
    }
}

template <class... A, size_t... I> void call(void (*kernel)(A...), void **p, std::index_sequence<I...>) {
    kernel(*(A *)p[I]...);
}

template <class... A> struct Bound {
    void (*kernel)(A...);
    void **parameters;
    static void run(void *data) {
        Bound *self = (Bound *)data;
        call(self->kernel, self->parameters, std::index_sequence_for<A...>{});
    }
};

template <class... A> void launch(void (*kernel)(A...), unsigned blocks, unsigned threads, void **parameters) {
    Bound<A...> bound{kernel, parameters};
    entry = Bound<A...>::run;
    entry_data = &bound;
    running = (int)threads;
    blockDim = {threads, 1, 1};
    gridDim = {blocks, 1, 1};
    for (unsigned i = 0; i < blocks; i++) {
        blockIdx = {order ? blocks - 1 - i : i, 0, 0};
        run_block();
    }
}

// One kernel by its name; the test prints the list.
struct Kernel {
    const char *name;
    void (*launch)(unsigned blocks, unsigned threads, void **parameters);
};
extern const Kernel kernels[];
extern const int kernel_count;
extern const int capability_major, capability_minor;

}  // namespace emulation

extern "C" inline void cuda_emulation_order(int order) { emulation::order = order; }

inline void __syncthreads() { emulation::give_way(emulation::AT_BARRIER); }

template <class T> T __shfl_xor_sync(unsigned, T value, int distance) {
    using namespace emulation;
    const int me = current;
    memcpy(&slots[me], &value, sizeof value);
    give_way(AT_SHUFFLE);
    memcpy(&value, &slots[me ^ distance], sizeof value);
    give_way(AT_SHUFFLE);
    return value;
}

// As much of the driver API as the runner uses.
typedef int CUresult, CUdevice;
typedef void *CUcontext, *CUmodule, *CUstream;
typedef double *CUevent;
typedef const emulation::Kernel *CUfunction;
typedef unsigned long long CUdeviceptr;
enum { CUDA_SUCCESS = 0, CUDA_ERROR_OUT_OF_MEMORY = 2, CUDA_ERROR_INVALID_DEVICE = 101, CUDA_ERROR_NOT_FOUND = 500 };
enum CUdevice_attribute { CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR };
enum { CU_EVENT_DEFAULT = 0 };

inline CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
inline CUresult cuDeviceGet(CUdevice *device, int number) {
    *device = number;
    return number ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}
inline CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute which, CUdevice) {
    *value = which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? emulation::capability_major : emulation::capability_minor;
    return CUDA_SUCCESS;
}
inline CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice) {
    *context = &emulation::scheduler;
    return CUDA_SUCCESS;
}
inline CUresult cuDevicePrimaryCtxRelease(CUdevice) { return CUDA_SUCCESS; }
inline CUresult cuCtxSetCurrent(CUcontext) { return CUDA_SUCCESS; }
inline CUresult cuCtxSynchronize() { return CUDA_SUCCESS; }
inline CUresult cuGetErrorString(CUresult result, const char **text) {
    *text = result == CUDA_ERROR_INVALID_DEVICE ? "invalid device ordinal" : "named symbol not found";
    return CUDA_SUCCESS;
}
inline CUresult cuModuleLoadData(CUmodule *module, const void *) {
    *module = &emulation::scheduler;
    return CUDA_SUCCESS;
}
inline CUresult cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }
inline CUresult cuModuleGetFunction(CUfunction *function, CUmodule, const char *name) {
    for (int i = 0; i < emulation::kernel_count; i++)
        if (!strcmp(emulation::kernels[i].name, name)) {
            *function = &emulation::kernels[i];
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_NOT_FOUND;
}
inline CUresult cuLaunchKernel(CUfunction function, unsigned x, unsigned, unsigned, unsigned threads, unsigned, unsigned,
                               unsigned, CUstream, void **parameters, void **) {
    function->launch(x, threads, parameters);
    return CUDA_SUCCESS;
}

namespace emulation {
struct Allocation { char *memory, *begin; size_t mapped; };
inline std::vector<Allocation> allocations;
}  // namespace emulation

inline CUresult cuMemAlloc(CUdeviceptr *pointer, size_t bytes) {
    const size_t page = 4096, held = (bytes + 63) / 64 * 64, pages = (held + page - 1) / page * page;
    char *memory = (char *)mmap(nullptr, pages + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + page, pages, PROT_READ | PROT_WRITE)) return CUDA_ERROR_OUT_OF_MEMORY;
    char *begin = memory + page + pages - held;
    memset(memory + page, 0xFE, pages);  // not a number, and no small integer
    emulation::allocations.push_back({memory, begin, pages + 2 * page});
    *pointer = (CUdeviceptr)begin;
    return CUDA_SUCCESS;
}
inline CUresult cuMemFree(CUdeviceptr pointer) {
    for (auto &one : emulation::allocations)
        if ((CUdeviceptr)one.begin == pointer && one.memory) {
            munmap(one.memory, one.mapped);
            one.memory = nullptr;
            return CUDA_SUCCESS;
        }
    emulation::stop("memory is freed that was not allocated");
    return CUDA_ERROR_NOT_FOUND;
}
inline CUresult cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) {
    memcpy((void *)to, from, bytes);
    return CUDA_SUCCESS;
}
inline CUresult cuMemcpyDtoH(void *to, CUdeviceptr from, size_t bytes) {
    memcpy(to, (const void *)from, bytes);
    return CUDA_SUCCESS;
}
inline CUresult cuEventCreate(CUevent *event, unsigned) {
    *event = new double(0);
    return CUDA_SUCCESS;
}
inline CUresult cuEventDestroy(CUevent event) {
    delete event;
    return CUDA_SUCCESS;
}
inline CUresult cuEventRecord(CUevent event, CUstream) {
    static double now = 0;
    *event = now += 1;
    return CUDA_SUCCESS;
}
inline CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
    *milliseconds = (float)(*to - *from);
    return CUDA_SUCCESS;
}

// g++ takes the standard spelling only at the front of a declaration, behind `static` it takes its own
#define alignas(bytes) __attribute__((aligned(bytes)))
