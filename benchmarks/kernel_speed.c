/* Loops around the kernels for kernel_speed.py: a call through Python costs more than a tile. */
#include "ew_kernels.h"

#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of one call with these integer arguments and one float; both calling conventions pass them apart. */
double bench_call(void *function, int64_t times, const int64_t *a, float x) {
  typedef void callee(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, float);
  double start = now();
  for (int64_t i = 0; i < times; ++i)
    ((callee *)function)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], x);
  return (now() - start) / (double)times;
}

/* Seconds of a whole product (rows x k) (k x panels*nr) whose tiles are `block` rows high, the right side packed. */
double bench_product_f32(const float *a, const float *b, int64_t rows, int64_t k, int64_t panels, int32_t block,
                         float *acc) {
  double start = now();
  for (int64_t i = 0; i < rows; i += block)
    for (int64_t p = 0; p < panels; ++p)
      ew_gemm_f32(a + i * k, k, b + p * k * EW_F32_NR, k, acc, EW_F32_NR, (int32_t)(rows - i < block ? rows - i : block));
  return now() - start;
}

/* The same in int8, with packing of the left side where `pack` is not 0. */
double bench_product_s8(const int8_t *a, int8_t *a_panel, const int8_t *b, int64_t b_size, int64_t rows, int64_t k,
                        int64_t panels, int32_t block, int32_t *acc, int32_t pack) {
  double start = now();
  for (int64_t i = 0; i < rows; i += block) {
    int32_t m = (int32_t)(rows - i < block ? rows - i : block);
    if (pack) ew_pack_a_s8(a + i * k, k, m, k, a_panel);
    for (int64_t p = 0; p < panels; ++p) ew_gemm_s8(a_panel, b + p * b_size, k, acc, EW_S8_NR, m);
  }
  return now() - start;
}

typedef float vf __attribute__((vector_size(EW_VECTOR_BYTES)));
#define CHAINS 12
#if defined(__x86_64__)
#define REGISTER "v"
#else
#define REGISTER "w"
#endif

/* 1e9 float operations per second of independent multiply-adds. */
double bench_peak_f32(int64_t times, float *out) {
  vf sum[CHAINS] = {0}, x, y;
  for (unsigned j = 0; j < EW_VECTOR_BYTES / 4; ++j) x[j] = 1.0f + (float)j, y[j] = 0.5f;
  double start = now();
  for (int64_t i = 0; i < times; ++i)
    for (int j = 0; j < CHAINS; ++j) {
      sum[j] += x * y;
      __asm__ volatile("" : "+" REGISTER(sum[j]), "+" REGISTER(x));
    }
  double seconds = now() - start;
  for (int j = 1; j < CHAINS; ++j) sum[0] += sum[j];
  out[0] = sum[0][0];
  return (double)times * CHAINS * (EW_VECTOR_BYTES / 4) * 2e-9 / seconds;
}

/* 1e9 integer operations per second of independent products of bytes, by the instruction the variant has for them. */
double bench_peak_s8(int64_t times, int32_t *out) {
#if defined(__AVX512VNNI__)
  __m512i sum[CHAINS] = {0}, x = _mm512_set1_epi8(3);
#define STEP(s) (s = _mm512_dpbusd_epi32(s, x, x))
#define MACS 64
#elif defined(__AVX512BW__)
  __m512i sum[CHAINS] = {0}, x = _mm512_set1_epi16(3);
#define STEP(s) (s = _mm512_add_epi32(s, _mm512_madd_epi16(x, x)))
#define MACS 32
#elif defined(__AVX2__)
  __m256i sum[CHAINS] = {0}, x = _mm256_set1_epi16(3);
#define STEP(s) (s = _mm256_add_epi32(s, _mm256_madd_epi16(x, x)))
#define MACS 16
#elif defined(__x86_64__)
  __m128i sum[CHAINS] = {0}, x = _mm_set1_epi16(3);
#define STEP(s) (s = _mm_add_epi32(s, _mm_madd_epi16(x, x)))
#define MACS 8
#else
  return 0.0 * (double)times * out[0];
#endif
#ifdef STEP
  double start = now();
  for (int64_t i = 0; i < times; ++i)
    for (int j = 0; j < CHAINS; ++j) {
      STEP(sum[j]);
      __asm__ volatile("" : "+v"(sum[j]), "+v"(x));
    }
  double seconds = now() - start;
  for (int j = 0; j < CHAINS; ++j) out[0] += ((int32_t *)&sum[j])[0];
  return (double)times * CHAINS * MACS * 2e-9 / seconds;
#endif
}
