#define _GNU_SOURCE
#include "threads.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(ew_group) == 16, "layout of TVMParallelGroupEnv");
_Static_assert(sizeof(atomic_uint) == 4 && sizeof(atomic_uint_fast64_t) == 8, "a futex has 32 bits, a ticket 64");

enum {
    PAUSES = 256,      /* some microseconds: what the next parallel step mostly takes to come */
    SPIN_NS = 200000,  /* then other programs may have the processor; after that a futex wakes us */
    LINE = 64
};

/* A launch is `ticket`: its number in the upper half, how many tasks are not taken in the lower. Whoever takes one
 * may read the launch's fields until it has counted the task as done. So a worker that comes late, because other
 * programs have its processor, costs nothing: the others have done its share. */
struct ew_pool {
    _Alignas(LINE) atomic_uint generation; /* the launch's number again, for the kernel to look at */
    atomic_int sleepers;
    atomic_bool closing;
    ew_task task;
    void *data;
    int count;
    _Alignas(LINE) atomic_uint_fast64_t ticket;
    _Alignas(LINE) atomic_uint pending; /* tasks that are not done */
    atomic_bool waiter_sleeps;
    atomic_int failure;
    _Alignas(LINE) int threads;
    pthread_t *workers;
};

static _Thread_local ew_pool *current;

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void futex_wait(atomic_uint *word, unsigned value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Whether `word` left `value` within the time that is worth a wait without sleep. */
static bool spin(atomic_uint *word, unsigned value)
{
    for (int i = 0; i < PAUSES; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != value)
            return true;
        relax();
    }
    for (int64_t end = now_ns() + SPIN_NS; now_ns() < end; sched_yield())
        if (atomic_load_explicit(word, memory_order_acquire) != value)
            return true;
    return false;
}

static void await_launch(ew_pool *pool, unsigned seen)
{
    if (spin(&pool->generation, seen))
        return;
    /* A launch that misses this count has changed the generation before, so that the kernel does not put us to sleep. */
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->generation) == seen)
        futex_wait(&pool->generation, seen);
    atomic_fetch_sub(&pool->sleepers, 1);
}

static void await_workers(ew_pool *pool)
{
    unsigned left;
    while ((left = atomic_load_explicit(&pool->pending, memory_order_acquire)) != 0) {
        if (spin(&pool->pending, left))
            continue;
        atomic_store(&pool->waiter_sleeps, true);
        while ((left = atomic_load(&pool->pending)) != 0)
            futex_wait(&pool->pending, left);
        atomic_store(&pool->waiter_sleeps, false);
    }
}

static void run_tasks(ew_pool *pool)
{
    uint_fast64_t ticket = atomic_load(&pool->ticket);
    while ((uint32_t)ticket != 0) {
        if (!atomic_compare_exchange_weak(&pool->ticket, &ticket, ticket - 1))
            continue;
        int count = pool->count;
        ew_group group = {NULL, count};
        if (pool->task(count - (int)(uint32_t)ticket, &group, pool->data) != 0)
            atomic_store(&pool->failure, -1);
        if (atomic_fetch_sub(&pool->pending, 1) == 1 && atomic_load(&pool->waiter_sleeps))
            futex_wake(&pool->pending);
        ticket = atomic_load(&pool->ticket);
    }
}

static void *work(void *argument)
{
    ew_pool *pool = argument;
    for (unsigned seen = 0;;) {
        await_launch(pool, seen);
        seen = atomic_load(&pool->generation); /* before the tasks, so that no later launch is missed */
        if (atomic_load(&pool->closing))
            return NULL;
        run_tasks(pool);
    }
}

static void announce(ew_pool *pool)
{
    atomic_fetch_add(&pool->generation, 1);
    if (atomic_load(&pool->sleepers) > 0)
        futex_wake(&pool->generation);
}

ew_pool *ew_pool_open(int threads)
{
    ew_pool *pool = NULL;
    if (posix_memalign((void **)&pool, LINE, sizeof *pool) != 0)
        return NULL;
    *pool = (ew_pool){.threads = 1};
    pool->workers = calloc((size_t)threads, sizeof *pool->workers);
    while (pool->workers && pool->threads < threads) {
        pthread_t *one = &pool->workers[pool->threads];
        if (pthread_create(one, NULL, work, pool) != 0)
            break;
        pool->threads++;
    }
    if (pool->threads == threads && pool->workers)
        return pool;
    ew_pool_close(pool);
    return NULL;
}

void ew_pool_close(ew_pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->closing, true);
    announce(pool);
    for (int i = 1; i < pool->threads; i++)
        pthread_join(pool->workers[i], NULL);
    free(pool->workers);
    free(pool);
}

int ew_pool_threads(const ew_pool *pool)
{
    return pool->threads;
}

void ew_pool_use(ew_pool *pool)
{
    current = pool;
}

int ew_parallel_launch(ew_task task, void *data, int count)
{
    ew_pool *pool = current;
    if (count <= 0)
        count = pool ? pool->threads : 1;
    if (!pool || pool->threads == 1 || count == 1) {
        ew_group group = {NULL, count};
        int failure = 0;
        for (int i = 0; i < count; i++)
            failure |= task(i, &group, data);
        return failure ? -1 : 0;
    }
    pool->task = task;
    pool->data = data;
    pool->count = count;
    atomic_store_explicit(&pool->failure, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->pending, (unsigned)count, memory_order_relaxed);
    atomic_store(&pool->ticket, ((uint_fast64_t)atomic_load(&pool->generation) + 1) << 32 | (uint32_t)count);
    announce(pool);
    current = NULL; /* what a task launches itself runs serially */
    run_tasks(pool);
    current = pool;
    await_workers(pool);
    return atomic_load_explicit(&pool->failure, memory_order_relaxed);
}

/* Scratch memory of one thread: blocks are kept for the next step, and given back as the thread ends. */
typedef struct block {
    struct block *next;
    uint64_t bytes;
    bool used;
} block;
enum { BLOCK_HEAD = 64 };
_Static_assert(sizeof(block) <= BLOCK_HEAD, "the head keeps the memory aligned");

static _Thread_local block *blocks;
static pthread_key_t blocks_key;
static pthread_once_t blocks_once = PTHREAD_ONCE_INIT;

static void free_blocks(void *first)
{
    for (block *one = first, *next; one; one = next) {
        next = one->next;
        free(one);
    }
    blocks = NULL;
}

static void make_key(void)
{
    pthread_key_create(&blocks_key, free_blocks);
}

void *ew_alloc_workspace(int device_type, int device, uint64_t bytes, int code_hint, int bits_hint)
{
    (void)device_type, (void)device, (void)code_hint, (void)bits_hint;
    for (block *one = blocks; one; one = one->next)
        if (!one->used && one->bytes >= bytes) {
            one->used = true;
            return (char *)one + BLOCK_HEAD;
        }
    for (block **link = &blocks; *link; link = &(*link)->next)
        if (!(*link)->used) { /* too small: the larger one takes its place */
            block *small = *link;
            *link = small->next;
            free(small);
            break;
        }
    block *made = NULL;
    if (bytes <= UINT64_MAX / 2 && posix_memalign((void **)&made, BLOCK_HEAD, BLOCK_HEAD + bytes) == 0) {
        *made = (block){.next = blocks, .bytes = bytes, .used = true};
        blocks = made;
    }
    pthread_once(&blocks_once, make_key);
    pthread_setspecific(blocks_key, blocks);
    return made ? (char *)made + BLOCK_HEAD : NULL;
}

int ew_free_workspace(int device_type, int device, void *memory)
{
    (void)device_type, (void)device;
    ((block *)((char *)memory - BLOCK_HEAD))->used = false;
    return 0;
}
