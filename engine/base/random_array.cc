#include "engine/base/random_array.h"

#include <numbers>

#include "engine/base/random.h"

// Compiled once for each kind of vector.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/base/random_array.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace astray {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kLanes = 8;           // generators
constexpr size_t kBlock = 4 * kLanes;  // numbers of two of their words
using Words = hn::CappedTag<uint64_t, kLanes>;
// As wide as Words; the scalar target has one lane of anything.
using Floats = hn::CappedTag<float, HWY_TARGET == HWY_SCALAR ? 1 : 2 * kLanes>;
using Ints = hn::RebindToSigned<Floats>;

template <class V>
HWY_INLINE V RotateLeft45(V x) {
  return hn::Or(hn::ShiftLeft<45>(x), hn::ShiftRight<19>(x));
}
template <class V>
HWY_INLINE V RotateLeft23(V x) {
  return hn::Or(hn::ShiftLeft<23>(x), hn::ShiftRight<41>(x));
}

// ln(x) for normal x > 0, within 1e-7 of the larger of 1 and |ln x|. With x = 2^k m and m in [√½, √2):
// ln m = 2 artanh(s), s = (m - 1) / (m + 1).
template <class V>
HWY_INLINE V Log(V x) {
  const Floats f;
  const Ints i;
  const auto sqrt_half = hn::Set(i, 0x3f3504f3);  // the bits of √½
  const auto bits = hn::Sub(hn::BitCast(i, x), sqrt_half);
  const V k = hn::ConvertTo(f, hn::ShiftRight<23>(bits));
  const V m = hn::BitCast(f, hn::Add(hn::And(bits, hn::Set(i, 0x7fffff)), sqrt_half));
  const V one = hn::Set(f, 1.0f);
  const V s = hn::Div(hn::Sub(m, one), hn::Add(m, one));
  const V z = hn::Mul(s, s);
  const V series =
      hn::Add(hn::Set(f, 1.0f / 3), hn::Mul(z, hn::Add(hn::Set(f, 1.0f / 5), hn::Mul(z, hn::Set(f, 1.0f / 7)))));
  const V artanh = hn::Add(s, hn::Mul(hn::Mul(s, z), series));
  return hn::Add(hn::Mul(k, hn::Set(f, std::numbers::ln2_v<float>)), hn::Mul(hn::Set(f, 2.0f), artanh));
}

// Box & Muller 1958, without branches. `low` gives the radius, `high` the angle: a quadrant and a place in it.
template <class VI, class V>
HWY_INLINE void BoxMuller(VI low, VI high, V& first, V& second) {
  const Floats f;
  const Ints i;
  const V half = hn::Set(f, 0.5f);
  const auto at_most = [&](VI bits, int32_t mask) { return hn::ConvertTo(f, hn::And(bits, hn::Set(i, mask))); };
  const V u = hn::Mul(hn::Add(at_most(low, 0x7fffffff), half), hn::Set(f, 0x1p-31f));  // (0, 1]
  const V sign = hn::ConvertTo(f, hn::Or(hn::ShiftRight<31>(high), hn::Set(i, 1)));    // turns by π
  const V radius = hn::Mul(sign, hn::Sqrt(hn::Mul(hn::Set(f, -2.0f), Log(u))));
  // From -π/4 to π/4, where short Taylor series are exact to a float's last digits.
  const V place = hn::Sub(hn::Mul(at_most(high, 0x3fffffff), hn::Set(f, 0x1p-30f)), half);
  const V angle = hn::Mul(place, hn::Set(f, std::numbers::pi_v<float> / 2));
  const V z = hn::Mul(angle, angle);
  const auto term = [&](float a, V rest) { return hn::Sub(hn::Set(f, a), hn::Mul(z, rest)); };
  const V sine_series = term(1.0f / 6, term(1.0f / 120, term(1.0f / 5040, hn::Set(f, 1.0f / 362880))));
  const V cosine_series = term(0.5f, term(1.0f / 24, term(1.0f / 720, hn::Set(f, 1.0f / 40320))));
  const V sine = hn::Mul(radius, hn::Sub(angle, hn::Mul(hn::Mul(angle, z), sine_series)));
  const V cosine = hn::Mul(radius, hn::Sub(hn::Set(f, 1.0f), hn::Mul(z, cosine_series)));
  const auto swap = hn::MaskFromVec(hn::BitCast(f, hn::ShiftRight<31>(hn::ShiftLeft<1>(high))));  // mirrors at π/4
  first = hn::IfThenElse(swap, sine, cosine);
  second = hn::IfThenElse(swap, cosine, sine);
}

struct Uniforms {
  template <class VI, class V>
  HWY_INLINE void operator()(VI low, VI high, V& first, V& second) const {
    const Floats f;
    const Ints i;
    const auto unit = [&](VI bits) {
      const auto upper = hn::ShiftRight<8>(hn::BitCast(hn::RebindToUnsigned<Ints>(), bits));
      return hn::Mul(hn::ConvertTo(f, hn::BitCast(i, upper)), hn::Set(f, 0x1p-24f));
    };
    first = unit(low);
    second = unit(high);
  }
};

struct Normals {
  template <class VI, class V>
  HWY_INLINE void operator()(VI low, VI high, V& first, V& second) const {
    BoxMuller(low, high, first, second);
  }
};

struct Assign {
  template <class D, class V>
  HWY_INLINE void operator()(D d, V v, float* values) const {
    hn::StoreU(v, d, values);
  }
};

struct AddScaled {
  float scale;
  template <class D, class V>
  HWY_INLINE void operator()(D d, V v, float* values) const {
    hn::StoreU(hn::Add(hn::LoadU(d, values), hn::Mul(hn::Set(d, scale), v)), d, values);
  }
};

// `blocks` of kBlock values, and advances the generators. In a block: the first numbers of the pairs of one word, lane
// by lane, those of the next word, then the second numbers.
template <class Numbers, class Put>
HWY_INLINE void Generate(uint64_t (*state)[kLanes], size_t blocks, Numbers numbers, Put put, float* values) {
  const Words words;
  const Floats f;
  const Ints ints;
  const size_t width = hn::Lanes(words);
  for (size_t lane = 0; lane < kLanes; lane += width) {
    auto s0 = hn::LoadU(words, state[0] + lane), s1 = hn::LoadU(words, state[1] + lane);
    auto s2 = hn::LoadU(words, state[2] + lane), s3 = hn::LoadU(words, state[3] + lane);
    const auto next = [&] {
      const auto result = hn::Add(RotateLeft23(hn::Add(s0, s3)), s0);
      const auto t = hn::ShiftLeft<17>(s1);
      s2 = hn::Xor(s2, s0);
      s3 = hn::Xor(s3, s1);
      s1 = hn::Xor(s1, s2);
      s0 = hn::Xor(s0, s3);
      s2 = hn::Xor(s2, t);
      s3 = RotateLeft45(s3);
      return result;
    };
    float* out = values + lane;
    for (size_t block = 0; block < blocks; ++block, out += kBlock) {
      const auto one = next(), two = next();
      auto first = hn::Undefined(f), second = hn::Undefined(f);
#if HWY_TARGET == HWY_SCALAR
      const uint64_t both[] = {hn::GetLane(one), hn::GetLane(two)};
      for (size_t k = 0; k < 2; ++k) {
        const auto low = static_cast<int32_t>(both[k]), high = static_cast<int32_t>(both[k] >> 32);
        numbers(hn::Set(ints, low), hn::Set(ints, high), first, second);
        put(f, first, out + k * kLanes);
        put(f, second, out + (2 + k) * kLanes);
      }
#else
      const auto even = hn::BitCast(ints, one), odd = hn::BitCast(ints, two);
      numbers(hn::ConcatEven(ints, odd, even), hn::ConcatOdd(ints, odd, even), first, second);
      const hn::Half<Floats> half;
      put(half, hn::LowerHalf(half, first), out);
      put(half, hn::UpperHalf(half, first), out + kLanes);
      put(half, hn::LowerHalf(half, second), out + 2 * kLanes);
      put(half, hn::UpperHalf(half, second), out + 3 * kLanes);
#endif
    }
    hn::StoreU(s0, words, state[0] + lane);
    hn::StoreU(s1, words, state[1] + lane);
    hn::StoreU(s2, words, state[2] + lane);
    hn::StoreU(s3, words, state[3] + lane);
  }
}

template <class Numbers, class Put>
HWY_INLINE void Run(uint64_t (*state)[kLanes], float* values, size_t count, Numbers numbers, Put put) {
  const size_t whole = count / kBlock;
  Generate(state, whole, numbers, put, values);
  if (count % kBlock == 0) return;
  float last[kBlock];
  for (size_t i = 0; i < kBlock; ++i) last[i] = whole * kBlock + i < count ? values[whole * kBlock + i] : 0.0f;
  Generate(state, 1, numbers, put, last);
  for (size_t i = whole * kBlock; i < count; ++i) values[i] = last[i - whole * kBlock];
}

void FillUniform(uint64_t (*state)[kLanes], float* values, size_t count) {
  Run(state, values, count, Uniforms(), Assign());
}
void FillNormal(uint64_t (*state)[kLanes], float* values, size_t count) {
  Run(state, values, count, Normals(), Assign());
}
void AddNormal(uint64_t (*state)[kLanes], float sigma, float* values, size_t count) {
  Run(state, values, count, Normals(), AddScaled{sigma});
}

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace astray {
namespace {

HWY_EXPORT(FillUniform);
HWY_EXPORT(FillNormal);
HWY_EXPORT(AddNormal);

constexpr size_t kGenerators = 8;

struct ChunkState {
  // Lane by lane, the words that Random would be seeded with, one after another.
  ChunkState(uint64_t key, size_t chunk) {
    uint64_t mix = key;
    mix = SplitMix64(mix) + chunk * 0xd1342543de82ef95;
    for (size_t lane = 0; lane < kGenerators; ++lane) {
      for (auto& word : words) word[lane] = SplitMix64(mix);
    }
  }
  uint64_t words[4][kGenerators];
};

}  // namespace

void RandomArray::FillUniform(size_t chunk, std::span<float> values) const {
  ChunkState state(key_, chunk);
  HWY_DYNAMIC_DISPATCH(FillUniform)(state.words, values.data(), values.size());
}

void RandomArray::FillNormal(size_t chunk, std::span<float> values) const {
  ChunkState state(key_, chunk);
  HWY_DYNAMIC_DISPATCH(FillNormal)(state.words, values.data(), values.size());
}

void RandomArray::AddNormal(size_t chunk, float sigma, std::span<float> values) const {
  ChunkState state(key_, chunk);
  HWY_DYNAMIC_DISPATCH(AddNormal)(state.words, sigma, values.data(), values.size());
}

}  // namespace astray
#endif  // HWY_ONCE
