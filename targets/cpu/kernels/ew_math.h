/* exp, erf and what follows from them on vectors; nan stays nan.
 *
 * exp: 2^k e^r with |r| <= ln 2 / 2 and a polynomial of degree 6 (relative error 1.9e-9 before rounding). erf: z P(z^2)
 * with P of degree 14 about the middle of [0, 3.9^2], beyond which erf is 1 to 4e-8; absolute error 8.4e-8 before
 * rounding. Both minimax by iteratively reweighted least squares. */
#ifndef EW_MATH_H
#define EW_MATH_H

#include "ew_vector.h"

#define EW_ERF_END 3.9f

/* p * 2^k for whole |k| <= 256 */
static inline ew_vf ew_scale(ew_vf p, ew_vf k) {
#if defined(__AVX512F__) && EW_VECTOR_BYTES == 64
  return (ew_vf)_mm512_scalef_ps((__m512)p, (__m512)k);
#else
  ew_vi whole = __builtin_convertvector(k, ew_vi), first = whole >> 1;
  return p * (ew_vf)((first + 127) << 23) * (ew_vf)((whole - first + 127) << 23);
#endif
}

/* e^x for x <= 89 */
static inline ew_vf ew_exp_limited(ew_vf x) {
  x = ew_max(ew_splat(-104.0f), x);
  ew_vf k = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
  ew_vf r = x - k * 0.693359375f - k * -2.12194440e-4f; /* the first factor has 9 bits: exact products */
  ew_vf s = r * r;
  ew_vf p = 0.0416682325f + r * 0.00837489869f + s * 0.00138367421f;
  p = 1.0f + r + s * (0.499999911f + r * 0.166664198f + s * p);
  return ew_scale(p, k);
}

static inline ew_vf ew_exp(ew_vf x) { return ew_exp_limited(ew_min(ew_splat(89.0f), x)); }

static inline ew_vf ew_erf(ew_vf x) {
  x = ew_max(ew_splat(-EW_ERF_END), ew_min(ew_splat(EW_ERF_END), x));
  ew_vf u = x * x * (2.0f / (EW_ERF_END * EW_ERF_END)) - 1.0f, s = u * u;
  ew_vf odd = -0.00347950053f + s * -0.00404268689f, even = 0.0122482786f + s * (0.0029609683f + s * 0.00159607141f);
  odd = -0.109515764f + s * (-0.0739973336f + s * (-0.0417854637f + s * (-0.0221518595f + s * odd)));
  even = 0.134688929f + s * (0.0907090306f + s * (0.0576439612f + s * (0.0299631506f + s * even)));
  even = 0.362583995f + s * even;
  odd = -0.181011498f + s * odd;
  return ew_max(ew_splat(-1.0f), ew_min(ew_splat(1.0f), x * (even + u * odd))); /* rounding may pass 1 */
}

static inline ew_vf ew_sigmoid(ew_vf x) { return 1.0f / (1.0f + ew_exp(-x)); }
static inline ew_vf ew_silu(ew_vf x) { return x / (1.0f + ew_exp(-x)); }
static inline ew_vf ew_tanh(ew_vf x) { return 1.0f - 2.0f / (1.0f + ew_exp(x + x)); }

#if defined(__AVX512DQ__) && EW_VECTOR_BYTES == 64
#include "gelu_tables.h"

/* x gate(x) = x / 2 + |x| (gate(|x|) - 1/2), the coefficients of 16 intervals from registers. */
static inline ew_vf ew_gated(ew_vf x, const float table[5][16]) {
  __m512 a = _mm512_abs_ps((__m512)x);
  __m512 s = _mm512_min_ps(_mm512_set1_ps(15.5f), _mm512_mul_ps(a, _mm512_set1_ps(15.0f / 5.2f))); /* nan stays */
  __m512i interval = _mm512_cvttps_epi32(s);
  __m512 t = _mm512_reduce_ps(s, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC), p = {0};
  for (int i = 4; i >= 0; --i) p = _mm512_fmadd_ps(p, t, _mm512_permutexvar_ps(interval, _mm512_loadu_ps(table[i])));
  return (ew_vf)_mm512_fmadd_ps(a, p, _mm512_mul_ps((__m512)x, _mm512_set1_ps(0.5f)));
}

static inline ew_vf ew_gelu(ew_vf x) { return ew_gated(x, ew_gelu_table); }
static inline ew_vf ew_gelu_tanh(ew_vf x) { return ew_gated(x, ew_gelu_tanh_table); }
#else

static inline ew_vf ew_gelu(ew_vf x) {
  ew_vf half = x * 0.5f;
  return half + half * ew_erf(x * 0.707106781f);
}

/* x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)); beyond +-20 the argument is limited, or inf - inf would appear. */
static inline ew_vf ew_gelu_tanh(ew_vf x) {
  ew_vf z = ew_max(ew_splat(-20.0f), ew_min(ew_splat(20.0f), x));
  ew_vf e = ew_exp(z * (-1.59576912f - 0.0713548163f * (z * z)));
  return x / (1.0f + e);
}
#endif

#endif
