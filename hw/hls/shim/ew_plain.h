// Plain integers that stand for ap_int in C simulation: 8 to 128 bits from the compiler, wider ones as limbs.
#ifndef EW_PLAIN_H
#define EW_PLAIN_H

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace ew {
namespace plain {

__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

// A two's complement number of N bits in 64-bit limbs, sign- or zero-extended to whole limbs.
template <int N, bool S> struct Wide {
  static constexpr int limbs = (N + 63) / 64;
  uint64_t w[limbs];

  Wide() = default;
  template <class T, std::enable_if_t<std::is_integral<T>::value || sizeof(T) == 16, int> = 0, class = decltype(T(0) + 1)>
  Wide(T x) {
    const int128 low = static_cast<int128>(x);
    const uint64_t fill = x < T(0) ? ~uint64_t(0) : 0;
    for (int n = 0; n < limbs; ++n) w[n] = fill;
    w[0] = static_cast<uint64_t>(low);
    if (sizeof(T) == 16 && limbs > 1) w[1] = static_cast<uint64_t>(low >> 64);
    settle();
  }
  template <int M, bool R> explicit Wide(const Wide<M, R>& x) {
    const uint64_t fill = x.negative() ? ~uint64_t(0) : 0;
    for (int n = 0; n < limbs; ++n) w[n] = n < Wide<M, R>::limbs ? x.w[n] : fill;
    settle();
  }
  void settle() {
    constexpr int top = N - 64 * (limbs - 1);
    constexpr int spare = 64 - top;
    const uint64_t up = w[limbs - 1] << spare;
    w[limbs - 1] = S ? static_cast<uint64_t>(static_cast<int64_t>(up) >> spare) : up >> spare;
  }
  bool negative() const { return S && (w[limbs - 1] >> 63); }

  template <class T, std::enable_if_t<!std::is_class<T>::value, int> = 0> explicit operator T() const {
    if (std::is_same<T, bool>::value) {
      for (uint64_t limb : w)
        if (limb) return T(1);
      return T(0);
    }
    uint128 low = w[0];
    low |= static_cast<uint128>(limbs > 1 ? w[limbs > 1 ? 1 : 0] : (negative() ? ~uint64_t(0) : 0)) << 64;
    return static_cast<T>(low);
  }

  Wide operator+(const Wide& b) const {
    Wide r;
    uint128 carry = 0;
    for (int n = 0; n < limbs; ++n) {
      carry += static_cast<uint128>(w[n]) + b.w[n];
      r.w[n] = static_cast<uint64_t>(carry);
      carry >>= 64;
    }
    r.settle();
    return r;
  }
  Wide operator~() const {
    Wide r;
    for (int n = 0; n < limbs; ++n) r.w[n] = ~w[n];
    r.settle();
    return r;
  }
  Wide operator-() const { return ~*this + Wide(1); }
  Wide operator-(const Wide& b) const { return *this + ~b + Wide(1); }
  Wide operator*(const Wide& b) const {
    Wide r(0);
    for (int i = 0; i < limbs; ++i) {
      uint64_t carry = 0;
      for (int j = 0; i + j < limbs; ++j) {
        const uint128 t = static_cast<uint128>(w[i]) * b.w[j] + r.w[i + j] + carry;
        r.w[i + j] = static_cast<uint64_t>(t);
        carry = static_cast<uint64_t>(t >> 64);
      }
    }
    r.settle();
    return r;
  }
  template <class F> Wide each(const Wide& b, F f) const {
    Wide r;
    for (int n = 0; n < limbs; ++n) r.w[n] = f(w[n], b.w[n]);
    return r;
  }
  Wide operator&(const Wide& b) const {
    return each(b, [](uint64_t x, uint64_t y) { return x & y; });
  }
  Wide operator|(const Wide& b) const {
    return each(b, [](uint64_t x, uint64_t y) { return x | y; });
  }
  Wide operator^(const Wide& b) const {
    return each(b, [](uint64_t x, uint64_t y) { return x ^ y; });
  }
  Wide operator<<(unsigned s) const {
    Wide r(0);
    const int skip = s / 64, bit = s % 64;
    for (int n = limbs - 1; n >= skip; --n) {
      r.w[n] = w[n - skip] << bit;
      if (bit && n > skip) r.w[n] |= w[n - skip - 1] >> (64 - bit);
    }
    r.settle();
    return r;
  }
  uint64_t limb(int n) const { return n < limbs ? w[n] : negative() ? ~uint64_t(0) : 0; }
  uint64_t word(int bit) const {  // the 64 bits from `bit` up
    const int skip = bit / 64, low = bit % 64;
    return low ? limb(skip) >> low | limb(skip + 1) << (64 - low) : limb(skip);
  }
  Wide operator>>(unsigned s) const {
    Wide r;
    for (int n = 0; n < limbs; ++n) r.w[n] = word(64 * n + static_cast<int>(s < (1u << 24) ? s : (1u << 24)));
    r.settle();
    return r;
  }
  bool operator==(const Wide& b) const { return std::memcmp(w, b.w, sizeof w) == 0; }
  bool operator!=(const Wide& b) const { return !(*this == b); }
  bool operator<(const Wide& b) const {
    if (negative() != b.negative()) return negative();
    for (int n = limbs - 1; n >= 0; --n)
      if (w[n] != b.w[n]) return w[n] < b.w[n];
    return false;
  }
  bool operator>(const Wide& b) const { return b < *this; }
  bool operator<=(const Wide& b) const { return !(b < *this); }
  bool operator>=(const Wide& b) const { return !(*this < b); }
};

template <class T> struct IsWide : std::false_type {};
template <int N, bool S> struct IsWide<Wide<N, S>> : std::true_type {};

constexpr int storage_bits(int n) { return n == 1 ? 1 : n <= 8 ? 8 : n <= 16 ? 16 : n <= 32 ? 32 : n <= 64 ? 64 : n <= 128 ? 128 : 0; }

template <int B, int N, bool S> struct Pick { using type = Wide<N, S>; };
template <int N> struct Pick<1, N, true> { using type = int8_t; };
template <int N> struct Pick<1, N, false> { using type = bool; };
template <int N> struct Pick<8, N, true> { using type = int8_t; };
template <int N> struct Pick<8, N, false> { using type = uint8_t; };
template <int N> struct Pick<16, N, true> { using type = int16_t; };
template <int N> struct Pick<16, N, false> { using type = uint16_t; };
template <int N> struct Pick<32, N, true> { using type = int32_t; };
template <int N> struct Pick<32, N, false> { using type = uint32_t; };
template <int N> struct Pick<64, N, true> { using type = int64_t; };
template <int N> struct Pick<64, N, false> { using type = uint64_t; };
template <int N> struct Pick<128, N, true> { using type = int128; };
template <int N> struct Pick<128, N, false> { using type = uint128; };
template <int N, bool S> struct Storage : Pick<storage_bits(N), N, S> {};

template <int B> struct Unsigned { using type = typename Pick<B, B, false>::type; };
template <> struct Unsigned<1> { using type = uint8_t; };

template <int N, bool S, class T> typename Storage<N, S>::type low_bits(const T& x) {
  using R = typename Storage<N, S>::type;
  if constexpr (N > 128) {
    return R(x);
  } else {
    using U = typename Unsigned<storage_bits(N)>::type;
    constexpr int spare = static_cast<int>(8 * sizeof(U)) - N;
    const U low = static_cast<U>(x);
    if constexpr (S) {
      using I = std::conditional_t<sizeof(U) == 16, int128, typename Pick<8 * sizeof(U), 8 * sizeof(U), true>::type>;
      return static_cast<R>(static_cast<I>(static_cast<U>(low << spare)) >> spare);
    } else {
      return static_cast<R>(static_cast<U>(static_cast<U>(low << spare) >> spare));
    }
  }
}

template <class T> T shift_right(const T& x, unsigned n) {
  if constexpr (IsWide<T>::value) {
    return x >> n;
  } else {
    constexpr unsigned bits = 8 * sizeof(T);
    return n >= bits ? static_cast<T>(x < T(0) ? -1 : 0) : static_cast<T>(x >> n);
  }
}

template <int W, class T> typename Storage<W, false>::type take_bits(const T& x, int low) {
  if constexpr (!IsWide<T>::value) {
    return low_bits<W, false>(x >> low);
  } else if constexpr (W <= 64) {
    return low_bits<W, false>(x.word(low));
  } else {
    typename Storage<W, false>::type r(0);
    if constexpr (W <= 128) {
      r = static_cast<uint128>(x.word(low)) | static_cast<uint128>(x.word(low + 64)) << 64;
      return low_bits<W, false>(r);
    } else {
      for (int n = 0; n < r.limbs; ++n) r.w[n] = x.word(low + 64 * n);
      r.settle();
      return r;
    }
  }
}

template <int W, class D, class T> void put_bits(D& word, int low, const T& x) {
  if constexpr (!IsWide<D>::value) {
    word = static_cast<D>(word | static_cast<D>(low_bits<W, false>(x)) << low);
  } else if constexpr (W <= 64) {
    const uint64_t v = static_cast<uint64_t>(low_bits<W, false>(x));
    const int skip = low / 64, bit = low % 64;
    word.w[skip] |= v << bit;
    if (bit && bit + W > 64) word.w[skip + 1] |= v >> (64 - bit);
  } else if constexpr (W <= 128) {
    const auto v = low_bits<W, false>(x);
    put_bits<64>(word, low, static_cast<uint64_t>(v));
    put_bits<W - 64>(word, low + 64, static_cast<uint64_t>(v >> 64));
  } else {
    word = word | D(low_bits<W, false>(x)) << static_cast<unsigned>(low);
  }
}

template <class T> int count_bits(const T& x) {
  if constexpr (IsWide<T>::value) {
    for (int n = T::limbs - 1; n >= 0; --n)
      if (x.w[n]) return 64 * n + 64 - __builtin_clzll(x.w[n]);
    return 0;
  } else if constexpr (sizeof(T) == 16) {
    const uint64_t high = static_cast<uint64_t>(x >> 64), low = static_cast<uint64_t>(x);
    return high ? 128 - __builtin_clzll(high) : low ? 64 - __builtin_clzll(low) : 0;
  } else {
    return x ? 64 - __builtin_clzll(static_cast<uint64_t>(x)) : 0;
  }
}

}  // namespace plain
}  // namespace ew

#endif
