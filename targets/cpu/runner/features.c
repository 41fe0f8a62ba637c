#define _GNU_SOURCE
#include "host_features.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)

#include <cpuid.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EAX, EBX, ECX, EDX };
/* What the operating system has to save on a switch: bits of XCR0. */
enum { STATE_NONE = 0, STATE_AVX = 0x6, STATE_AVX512 = 0xe6, STATE_AMX = 0x60000 };

/* Where CPUID has it: Intel's Software Developer's Manual, volume 2A, CPUID; abm: AMD's CPUID specification. */
static const struct {
    const char *name;
    unsigned leaf, subleaf, word, bit, state;
} known[] = {
    {"abm", 0x80000001, 0, ECX, 5, STATE_NONE},    {"amx_int8", 7, 0, EDX, 25, STATE_AMX},
    {"amx_tile", 7, 0, EDX, 24, STATE_AMX},        {"avx", 1, 0, ECX, 28, STATE_AVX},
    {"avx2", 7, 0, EBX, 5, STATE_AVX},             {"avx512_bf16", 7, 1, EAX, 5, STATE_AVX512},
    {"avx512_vnni", 7, 0, ECX, 11, STATE_AVX512},  {"avx512bw", 7, 0, EBX, 30, STATE_AVX512},
    {"avx512cd", 7, 0, EBX, 28, STATE_AVX512},     {"avx512dq", 7, 0, EBX, 17, STATE_AVX512},
    {"avx512f", 7, 0, EBX, 16, STATE_AVX512},      {"avx512vbmi", 7, 0, ECX, 1, STATE_AVX512},
    {"avx512vl", 7, 0, EBX, 31, STATE_AVX512},     {"avx_vnni", 7, 1, EAX, 4, STATE_AVX},
    {"bmi1", 7, 0, EBX, 3, STATE_NONE},            {"bmi2", 7, 0, EBX, 8, STATE_NONE},
    {"f16c", 1, 0, ECX, 29, STATE_AVX},            {"fma", 1, 0, ECX, 12, STATE_AVX},
    {"movbe", 1, 0, ECX, 22, STATE_NONE},
};

static uint64_t saved_state(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) /* OSXSAVE */
        return 0;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

const char *ew_host_arch(void)
{
    return "x86_64";
}

/* Linux enables the registers of AMX only on request: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA). */
static bool tiles_granted(void)
{
    return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}

ew_presence ew_host_has(const char *feature)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, feature) != 0)
            continue;
        unsigned words[4];
        if (!__get_cpuid_count(known[i].leaf, known[i].subleaf, &words[0], &words[1], &words[2], &words[3]))
            return EW_LACKS;
        bool there = words[known[i].word] >> known[i].bit & 1;
        bool saved = (saved_state() & known[i].state) == known[i].state;
        return there && saved && (known[i].state != STATE_AMX || tiles_granted()) ? EW_HAS : EW_LACKS;
    }
    return EW_UNKNOWN_FEATURE;
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

/* Bits of AT_HWCAP and AT_HWCAP2: Linux, arch/arm64/include/uapi/asm/hwcap.h. */
static const struct {
    const char *name;
    unsigned long vector;
    unsigned bit;
} known[] = {
    {"fp", AT_HWCAP, 0},      {"asimd", AT_HWCAP, 1},    {"fphp", AT_HWCAP, 9},  {"asimdhp", AT_HWCAP, 10},
    {"atomics", AT_HWCAP, 8}, {"asimddp", AT_HWCAP, 20}, {"sve", AT_HWCAP, 22},  {"sve2", AT_HWCAP2, 1},
    {"i8mm", AT_HWCAP2, 13},  {"bf16", AT_HWCAP2, 14},
};

const char *ew_host_arch(void)
{
    return "aarch64";
}

ew_presence ew_host_has(const char *feature)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, feature) == 0)
            return getauxval(known[i].vector) >> known[i].bit & 1 ? EW_HAS : EW_LACKS;
    return EW_UNKNOWN_FEATURE;
}

#else

const char *ew_host_arch(void)
{
    return "other";
}

ew_presence ew_host_has(const char *feature)
{
    (void)feature;
    return EW_UNKNOWN_FEATURE;
}

#endif
