// Integers of exact width. Synthesis and EW_AP_INT: ap_int<N>, ap_uint<N>. Otherwise the smallest plain integer that holds
// N bits, which simulates several times faster; values are always in the range of N bits, so both give the same results.
#ifndef EW_INT_H
#define EW_INT_H

#if defined(__SYNTHESIS__) && !defined(EW_AP_INT)
#define EW_AP_INT
#endif

#ifdef EW_AP_INT
#define AP_INT_MAX_W 4096  // of 1,024 by default; no word is wider
#include <ap_int.h>
#else
#include <ew_plain.h>
#endif

namespace ew {

#ifdef EW_AP_INT

template <int N> using Int = ap_int<N>;
template <int N> using UInt = ap_uint<N>;

// The low N bits of x.
template <int N, class T> Int<N> wrap_i(const T& x) { return Int<N>(x); }
template <int N, class T> UInt<N> wrap_u(const T& x) { return UInt<N>(x); }

// floor(x / 2^n) for n of any size.
template <class T, class A> T shr(const T& x, const A& n) { return x >> n; }

// Bits low + W - 1 .. low of x.
template <int W, int N, bool S> UInt<W> slice(const ap_int_base<N, S>& x, int low) { return x.range(low + W - 1, low); }

// Puts the low W bits of x at bit `low` of word, where word was 0.
template <int W, int N, class T> void place(ap_uint<N>& word, int low, const T& x) {
  word.range(low + W - 1, low) = UInt<W>(x);
}

// Number of significant bits, 0 for 0.
template <int N> int bit_length(const ap_uint<N>& x) {
  ap_uint<N> copy = x;
  return x == 0 ? 0 : N - copy.countLeadingZeros();
}

#else

template <int N> using Int = typename plain::Storage<N, true>::type;
template <int N> using UInt = typename plain::Storage<N, false>::type;

template <int N, class T> Int<N> wrap_i(const T& x) { return plain::low_bits<N, true>(x); }
template <int N, class T> UInt<N> wrap_u(const T& x) { return plain::low_bits<N, false>(x); }
template <class T, class A> T shr(const T& x, const A& n) { return plain::shift_right(x, static_cast<unsigned>(n)); }
template <int W, class T> UInt<W> slice(const T& x, int low) { return plain::take_bits<W>(x, low); }
template <int W, class D, class T> void place(D& word, int low, const T& x) { plain::put_bits<W>(word, low, x); }
template <class T> int bit_length(const T& x) { return plain::count_bits(x); }

#endif

// x, known to be in the range of N bits. With EW_CHECK the simulation stops where it is not.
#if defined(EW_CHECK) && !defined(__SYNTHESIS__)
template <class T> void check(bool fits, const T&) {
  if (!fits) __builtin_trap();
}
#else
template <class T> void check(bool, const T&) {}
#endif
template <int N, class T> Int<N> fit_i(const T& x) {
  const Int<N> r = wrap_i<N>(x);
  check(T(r) == x, x);
  return r;
}
template <int N, class T> UInt<N> fit_u(const T& x) {
  const UInt<N> r = wrap_u<N>(x);
  check(T(r) == x, x);
  return r;
}

// x * 2^n, its low N bits; n of any size.
template <int N, class T, class A> Int<N> shl_i(const T& x, const A& n) {
  return n >= N ? Int<N>(0) : wrap_i<N>(Int<N>(x) << static_cast<unsigned>(n));
}
template <int N, class T, class A> UInt<N> shl_u(const T& x, const A& n) {
  return n >= N ? UInt<N>(0) : wrap_u<N>(UInt<N>(x) << static_cast<unsigned>(n));
}

// The smaller and the larger of two numbers, as an R.
template <class R, class A, class B> R min_of(const A& a, const B& b) { return a < b ? R(a) : R(b); }
template <class R, class A, class B> R max_of(const A& a, const B& b) { return a > b ? R(a) : R(b); }
template <class R, class A> R abs_of(const A& a) { return a < 0 ? R(-a) : R(a); }

// x clamped to low .. high.
template <class R, class T, class L> R clamp(const T& x, const L& low, const L& high) {
  return x < low ? R(low) : x > high ? R(high) : R(x);
}

// Elements First .. First + Count - 1 of an array from the bits of a word, W bits each from bit `low` up.
template <int W, int First, int Count, int N, class T> void take_i(Int<W> (&x)[N], const T& word, int low) {
#pragma HLS INLINE
  for (int n = 0; n < Count; ++n) {
#pragma HLS UNROLL
    x[First + n] = wrap_i<W>(slice<W>(word, low + W * n));
  }
}
template <int W, int First, int Count, int N, class T> void take_u(UInt<W> (&x)[N], const T& word, int low) {
#pragma HLS INLINE
  for (int n = 0; n < Count; ++n) {
#pragma HLS UNROLL
    x[First + n] = slice<W>(word, low + W * n);
  }
}

// Those elements into a word whose bits there are 0.
template <int W, int First, int Count, class D, class T, int N> void put(D& word, int low, const T (&x)[N]) {
#pragma HLS INLINE
  for (int n = 0; n < Count; ++n) {
#pragma HLS UNROLL
    place<W>(word, low + W * n, x[First + n]);
  }
}

// Those elements as a word of B bits, the first in the low bits.
template <int B, int W, int First, int Count, class T, int N> UInt<B> packed(const T (&x)[N]) {
#pragma HLS INLINE
  UInt<B> word = 0;
  put<W, First, Count>(word, 0, x);
  return word;
}

// A whole array from the bits of a word, element 0 in the low bits; and back.
template <int W, int N, class T> void unpack_i(Int<W> (&x)[N], const T& word) {
#pragma HLS INLINE
  take_i<W, 0, N>(x, word, 0);
}
template <int W, int N, class T> void unpack_u(UInt<W> (&x)[N], const T& word) {
#pragma HLS INLINE
  take_u<W, 0, N>(x, word, 0);
}
template <int W, int N, class D, class T> void pack(D& word, const T (&x)[N]) {
#pragma HLS INLINE
  word = 0;
  put<W, 0, N>(word, 0, x);
}

}  // namespace ew

#endif
