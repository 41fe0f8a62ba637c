/* Vectors of EW_VECTOR_BYTES in GNU C, so that one source serves every instruction set.
 *
 * Lanes beyond the end of an array are filled with its last value, so that a function of the lanes never meets rubbish. */
#ifndef EW_VECTOR_H
#define EW_VECTOR_H

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define EW_LANES (EW_VECTOR_BYTES / 4)

typedef float ew_vf __attribute__((vector_size(EW_VECTOR_BYTES)));
typedef int32_t ew_vi __attribute__((vector_size(EW_VECTOR_BYTES)));

static inline ew_vf ew_load(const float *p) {
  ew_vf v;
  memcpy(&v, p, sizeof v);
  return v;
}

static inline void ew_store(float *p, ew_vf v) { memcpy(p, &v, sizeof v); }

static inline ew_vf ew_splat(float x) { return x - (ew_vf){0}; }

#if defined(__AVX512F__) && EW_VECTOR_BYTES == 64
#define EW_FIRST(n) ((__mmask16)((1u << (n)) - 1))
static inline ew_vf ew_load_some(const float *p, int64_t n) {
  return (ew_vf)_mm512_mask_loadu_ps(_mm512_set1_ps(p[n - 1]), EW_FIRST(n), p);
}
static inline void ew_store_some(float *p, ew_vf v, int64_t n) { _mm512_mask_storeu_ps(p, EW_FIRST(n), (__m512)v); }
#elif defined(__AVX2__) && EW_VECTOR_BYTES == 32
static inline __m256i ew_first(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline ew_vf ew_load_some(const float *p, int64_t n) {
  __m256i some = ew_first(n);
  return (ew_vf)_mm256_blendv_ps(_mm256_set1_ps(p[n - 1]), _mm256_maskload_ps(p, some), (__m256)some);
}
static inline void ew_store_some(float *p, ew_vf v, int64_t n) { _mm256_maskstore_ps(p, ew_first(n), (__m256)v); }
#else
static inline ew_vf ew_load_some(const float *p, int64_t n) {
  float lanes[EW_LANES];
  for (int i = 0; i < EW_LANES; ++i) lanes[i] = p[i < n ? i : n - 1];
  return ew_load(lanes);
}

static inline void ew_store_some(float *p, ew_vf v, int64_t n) {
  float lanes[EW_LANES];
  ew_store(lanes, v);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}
#endif

static inline ew_vf ew_select(ew_vi mask, ew_vf yes, ew_vf no) {
  return (ew_vf)((mask & (ew_vi)yes) | (~mask & (ew_vi)no));
}

static inline ew_vf ew_max(ew_vf a, ew_vf b) { return ew_select(a > b, a, b); } /* b where one is nan */
static inline ew_vf ew_min(ew_vf a, ew_vf b) { return ew_select(a < b, a, b); }

#if defined(__AVX512F__) && EW_VECTOR_BYTES == 64
static inline float ew_sum(ew_vf v) { return _mm512_reduce_add_ps((__m512)v); }
static inline float ew_largest(ew_vf v) { return _mm512_reduce_max_ps((__m512)v); }
#elif defined(__AVX2__) && EW_VECTOR_BYTES == 32
static inline float ew_sum(ew_vf v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline float ew_largest(ew_vf v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
#else
static inline float ew_sum(ew_vf v) {
  float lanes[EW_LANES];
  ew_store(lanes, v);
  for (int half = EW_LANES / 2; half; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}

static inline float ew_largest(ew_vf v) {
  float lanes[EW_LANES];
  ew_store(lanes, v);
  for (int half = EW_LANES / 2; half; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
  return lanes[0];
}
#endif

#endif
