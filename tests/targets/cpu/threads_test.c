/* Drives threads.c: every task of a launch runs exactly once, whatever their numbers; exits with 0 when all held. */
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "threads.h"

enum { TASKS_MAX = 64, LAUNCHES = 300, MOST_THREADS = 6 };

static atomic_int ran[TASKS_MAX];
static atomic_int inner;
static int plain_sum; /* not atomic: written by one task only, read after the launch */

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                                    \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static int inner_task(int task, ew_group *group, void *data)
{
    (void)data;
    CHECK(task >= 0 && task < group->num_task);
    atomic_fetch_add(&inner, 1);
    return 0;
}

static int task(int number, ew_group *group, void *data)
{
    int count = *(int *)data;
    CHECK(group->num_task == count && number >= 0 && number < count);
    atomic_fetch_add(&ran[number], 1);
    unsigned char *block = ew_alloc_workspace(1, 0, 100u + (unsigned)number * 1000u, 1, 8);
    unsigned char *other = ew_alloc_workspace(1, 0, 64, 1, 8);
    CHECK(block && other && (uintptr_t)block % 64 == 0 && (uintptr_t)other % 64 == 0);
    memset(block, number, 100u + (unsigned)number * 1000u);
    memset(other, 255, 64);
    if (number == 0)
        plain_sum += count;
    CHECK(ew_parallel_launch(inner_task, NULL, 2) == 0);
    CHECK(block[0] == number && block[99 + number * 1000] == number);
    CHECK(ew_free_workspace(1, 0, other) == 0 && ew_free_workspace(1, 0, block) == 0);
    return 0;
}

static int failing(int number, ew_group *group, void *data)
{
    (void)group, (void)data;
    return number == 1 ? -1 : 0;
}

int main(void)
{
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        ew_pool *pool = ew_pool_open(threads);
        CHECK(pool && ew_pool_threads(pool) == threads);
        ew_pool_use(pool);
        for (int launch = 0; launch < LAUNCHES; launch++) {
            int count = launch % TASKS_MAX + 1, before = plain_sum;
            for (int i = 0; i < TASKS_MAX; i++)
                atomic_store(&ran[i], 0);
            atomic_store(&inner, 0);
            CHECK(ew_parallel_launch(task, &count, count) == 0);
            for (int i = 0; i < TASKS_MAX; i++)
                CHECK(atomic_load(&ran[i]) == (i < count));
            CHECK(atomic_load(&inner) == 2 * count && plain_sum == before + count);
        }
        for (int i = 0; i < TASKS_MAX; i++)
            atomic_store(&ran[i], 0);
        CHECK(ew_parallel_launch(task, &threads, 0) == 0); /* as many tasks as threads */
        CHECK(ew_parallel_launch(failing, NULL, 3) != 0);
        CHECK(ew_parallel_launch(inner_task, NULL, 3) == 0); /* a failure does not stick */
        ew_pool_use(NULL);
        ew_pool_close(pool);
    }
    CHECK(ew_parallel_launch(inner_task, NULL, 4) == 0); /* without a pool */
    return 0;
}
