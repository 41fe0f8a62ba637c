/* Worker threads that share a loop, as compiled models ask for it. Internal to edgewright.c. */
#ifndef EW_THREADS_H
#define EW_THREADS_H

#include <stdint.h>

/* What compiled code passes and expects: TVM's c_backend_api.h. */
typedef struct {
    void *sync_handle;
    int32_t num_task;
} ew_group;
typedef int (*ew_task)(int task, ew_group *group, void *data);

typedef struct ew_pool ew_pool;

ew_pool *ew_pool_open(int threads); /* threads - 1 workers; NULL when they cannot be had */
void ew_pool_close(ew_pool *pool);
int ew_pool_threads(const ew_pool *pool);

/* The pool that the launches of this thread use from now on; NULL: they run serially. */
void ew_pool_use(ew_pool *pool);

/* The functions that a loaded model calls. */
int ew_parallel_launch(ew_task task, void *data, int count);
void *ew_alloc_workspace(int device_type, int device, uint64_t bytes, int code_hint, int bits_hint);
int ew_free_workspace(int device_type, int device, void *memory);

#endif
