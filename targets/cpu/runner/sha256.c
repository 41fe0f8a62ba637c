#define _GNU_SOURCE
#include "sha256.h"

#include <stdint.h>
#include <string.h>

enum { BLOCK = 64, ROUNDS = 64 };

typedef void (*compress_function)(uint32_t state[8], const uint8_t *data, size_t blocks);

static const uint32_t initial[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint32_t constants[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t turned(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

/* One round on a, b ... h; afterwards *d is the next round's e and *h its a. */
static inline __attribute__((always_inline)) void mix(uint32_t a, uint32_t b, uint32_t c, uint32_t *d, uint32_t e,
                                                      uint32_t f, uint32_t g, uint32_t *h, uint32_t word)
{
    uint32_t t1 = *h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + word;
    *d += t1;
    *h = t1 + (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
}

static void compress_plain(uint32_t state[8], const uint8_t *data, size_t blocks)
{
    for (; blocks; blocks--, data += BLOCK) {
        uint32_t w[ROUNDS];
        for (int t = 0; t < 16; t++)
            w[t] = (uint32_t)data[4 * t] << 24 | (uint32_t)data[4 * t + 1] << 16 | (uint32_t)data[4 * t + 2] << 8 |
                   data[4 * t + 3];
        for (int t = 16; t < ROUNDS; t++) {
            uint32_t s0 = turned(w[t - 15], 7) ^ turned(w[t - 15], 18) ^ w[t - 15] >> 3;
            uint32_t s1 = turned(w[t - 2], 17) ^ turned(w[t - 2], 19) ^ w[t - 2] >> 10;
            w[t] = s1 + w[t - 7] + s0 + w[t - 16];
        }
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (int t = 0; t < ROUNDS; t += 8) { /* the names move on, not the values */
            mix(a, b, c, &d, e, f, g, &h, constants[t] + w[t]);
            mix(h, a, b, &c, d, e, f, &g, constants[t + 1] + w[t + 1]);
            mix(g, h, a, &b, c, d, e, &f, constants[t + 2] + w[t + 2]);
            mix(f, g, h, &a, b, c, d, &e, constants[t + 3] + w[t + 3]);
            mix(e, f, g, &h, a, b, c, &d, constants[t + 4] + w[t + 4]);
            mix(d, e, f, &g, h, a, b, &c, constants[t + 5] + w[t + 5]);
            mix(c, d, e, &f, g, h, a, &b, constants[t + 6] + w[t + 6]);
            mix(b, c, d, &e, f, g, h, &a, constants[t + 7] + w[t + 7]);
        }
        const uint32_t found[8] = {a, b, c, d, e, f, g, h};
        for (int i = 0; i < 8; i++)
            state[i] += found[i];
    }
}

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

/* Intel's SHA extensions: the state as ABEF and CDGH, four rounds with two instructions. */
__attribute__((target("sha,sse4.1"))) static void compress_fast(uint32_t state[8], const uint8_t *data, size_t blocks)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i abef = _mm_set_epi32((int)state[0], (int)state[1], (int)state[4], (int)state[5]);
    __m128i cdgh = _mm_set_epi32((int)state[2], (int)state[3], (int)state[6], (int)state[7]);
    for (; blocks; blocks--, data += BLOCK) {
        __m128i w[4], before_abef = abef, before_cdgh = cdgh;
        for (int i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(data + 16 * i)), swap);
        for (int i = 0; i < ROUNDS / 4; i++) {
            __m128i k = _mm_add_epi32(w[0], _mm_loadu_si128((const __m128i *)(const void *)(constants + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, k);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(k, 0x0e));
            __m128i next = _mm_add_epi32(_mm_sha256msg1_epu32(w[0], w[1]), _mm_alignr_epi8(w[3], w[2], 4));
            next = _mm_sha256msg2_epu32(next, w[3]);
            w[0] = w[1], w[1] = w[2], w[2] = w[3], w[3] = next;
        }
        abef = _mm_add_epi32(abef, before_abef);
        cdgh = _mm_add_epi32(cdgh, before_cdgh);
    }
    uint32_t high[4], low[4]; /* F E B A and H G D C */
    _mm_storeu_si128((__m128i *)(void *)high, abef);
    _mm_storeu_si128((__m128i *)(void *)low, cdgh);
    const uint32_t found[8] = {high[3], high[2], low[3], low[2], high[1], high[0], low[1], low[0]};
    memcpy(state, found, sizeof found);
}

/* CPUID leaf 7, EBX bit 29; SSE4.1 and SSSE3: leaf 1, ECX bits 19 and 9. */
static bool has_fast(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 19 & 1) || !(c >> 9 & 1))
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1;
}

#elif defined(__aarch64__)

#include <arm_neon.h>
#include <sys/auxv.h>

/* Armv8's SHA2 extension: the state as ABCD and EFGH. */
__attribute__((target("+crypto"))) static void compress_fast(uint32_t state[8], const uint8_t *data, size_t blocks)
{
    uint32x4_t abcd = vld1q_u32(state), efgh = vld1q_u32(state + 4);
    for (; blocks; blocks--, data += BLOCK) {
        uint32x4_t w[4], before_abcd = abcd, before_efgh = efgh;
        for (int i = 0; i < 4; i++)
            w[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data + 16 * i)));
        for (int i = 0; i < ROUNDS / 4; i++) {
            uint32x4_t k = vaddq_u32(w[0], vld1q_u32(constants + 4 * i)), old = abcd;
            abcd = vsha256hq_u32(abcd, efgh, k);
            efgh = vsha256h2q_u32(efgh, old, k);
            uint32x4_t next = vsha256su1q_u32(vsha256su0q_u32(w[0], w[1]), w[2], w[3]);
            w[0] = w[1], w[1] = w[2], w[2] = w[3], w[3] = next;
        }
        abcd = vaddq_u32(abcd, before_abcd);
        efgh = vaddq_u32(efgh, before_efgh);
    }
    vst1q_u32(state, abcd);
    vst1q_u32(state + 4, efgh);
}

/* HWCAP_SHA2: Linux, arch/arm64/include/uapi/asm/hwcap.h. */
static bool has_fast(void)
{
    return getauxval(AT_HWCAP) >> 6 & 1;
}

#else

#define compress_fast compress_plain

static bool has_fast(void)
{
    return false;
}

#endif

static void digest(compress_function compress, const void *data, size_t bytes, char text[EW_SHA256_TEXT])
{
    uint32_t state[8];
    uint8_t last[2 * BLOCK] = {0};
    size_t whole = bytes / BLOCK, rest = bytes % BLOCK, padded = rest + 9 <= BLOCK ? 1 : 2;
    memcpy(state, initial, sizeof state);
    compress(state, data, whole);
    if (rest)
        memcpy(last, (const uint8_t *)data + whole * BLOCK, rest);
    last[rest] = 0x80;
    for (int i = 0; i < 8; i++)
        last[padded * BLOCK - 1 - (size_t)i] = (uint8_t)((uint64_t)bytes * 8 >> 8 * i);
    compress(state, last, padded);
    for (int i = 0; i < EW_SHA256_TEXT - 1; i++)
        text[i] = "0123456789abcdef"[state[i / 8] >> (28 - 4 * (i % 8)) & 15];
    text[EW_SHA256_TEXT - 1] = '\0';
}

void ew_sha256_plain(const void *data, size_t bytes, char text[EW_SHA256_TEXT])
{
    digest(compress_plain, data, bytes, text);
}

void ew_sha256(const void *data, size_t bytes, char text[EW_SHA256_TEXT])
{
    digest(has_fast() ? compress_fast : compress_plain, data, bytes, text);
}
