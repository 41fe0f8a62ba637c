/* QEMU TCG plugin: counts the guest instructions that are executed, in all and at marks.
 *
 * A mark is the guest's system call close(-1163000000 - i), 0 <= i < 64, which does nothing (EBADF). On exit the
 * plugin writes one line to the file named by the argument `out`: the total, then one `i:count` per mark in order.
 * The count of a translation block is added when it starts; a system call ends its block, so marks are exact.
 *
 * The declarations below are the part of QEMU's plugin interface that is used here; Debian ships no header.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
typedef void (*tb_trans_cb)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*udata_cb)(qemu_plugin_id_t, void *);
typedef void (*vcpu_udata_cb)(unsigned int, void *);
typedef void (*syscall_cb)(qemu_plugin_id_t, unsigned int, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                           uint64_t, uint64_t, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, tb_trans_cb);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, vcpu_udata_cb, enum qemu_plugin_cb_flags, void *);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, syscall_cb);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, udata_cb, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = EW_PLUGIN_VERSION;

enum { CLOSE_AARCH64 = 57, MARK = -1163000000, MARK_KINDS = 64, MARKS = 4096 };
static uint64_t executed;
static struct {
    int kind;
    uint64_t at;
} marks[MARKS];
static unsigned marked;
static char out[4096];

static void block_runs(unsigned int cpu, void *instructions) {
    (void)cpu;
    __atomic_fetch_add(&executed, (uint64_t)(uintptr_t)instructions, __ATOMIC_RELAXED);
}

static void block_translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(block, block_runs, QEMU_PLUGIN_CB_NO_REGS,
                                         (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void system_call(qemu_plugin_id_t id, unsigned int cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                        uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    (void)id, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    int64_t kind = (int64_t)MARK - (int32_t)a1;
    if (number != CLOSE_AARCH64 || kind < 0 || kind >= MARK_KINDS)
        return;
    unsigned i = __atomic_fetch_add(&marked, 1, __ATOMIC_RELAXED);
    if (i < MARKS) {
        marks[i].kind = (int)kind;
        marks[i].at = __atomic_load_n(&executed, __ATOMIC_RELAXED);
    }
}

static void leave(qemu_plugin_id_t id, void *nothing) {
    (void)id, (void)nothing;
    FILE *file = fopen(out, "w");
    if (!file)
        return;
    fprintf(file, "%" PRIu64, executed);
    for (unsigned i = 0; i < marked && i < MARKS; i++)
        fprintf(file, " %d:%" PRIu64, marks[i].kind, marks[i].at);
    fputs("\n", file);
    fclose(file);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4))
            snprintf(out, sizeof out, "%s", argv[i] + 4);
    if (!out[0])
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, block_translated);
    qemu_plugin_register_vcpu_syscall_cb(id, system_call);
    qemu_plugin_register_atexit_cb(id, leave, NULL);
    return 0;
}
