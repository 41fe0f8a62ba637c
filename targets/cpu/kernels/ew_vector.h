/* Vectors of EW_VECTOR_BYTES in GNU C, so that one source serves every instruction set.
 *
 * Lanes beyond the end of an array are filled with its last value, so that a function of the lanes never meets rubbish. */
#ifndef EW_VECTOR_H
#define EW_VECTOR_H

#include <stdint.h>
#include <string.h>

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

static inline ew_vf ew_select(ew_vi mask, ew_vf yes, ew_vf no) {
  return (ew_vf)((mask & (ew_vi)yes) | (~mask & (ew_vi)no));
}

static inline ew_vf ew_max(ew_vf a, ew_vf b) { return ew_select(a > b, a, b); } /* b where one is nan */
static inline ew_vf ew_min(ew_vf a, ew_vf b) { return ew_select(a < b, a, b); }

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
