// Loops over floats in vectors as wide as the target's, for sources that Highway compiles once a target.
#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

#if defined(ASTRAY_ENGINE_NN_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ASTRAY_ENGINE_NN_LANES_INL_H_
#undef ASTRAY_ENGINE_NN_LANES_INL_H_
#else
#define ASTRAY_ENGINE_NN_LANES_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace astray {
namespace HWY_NAMESPACE {

// A lambda that is a piece of its function, and compiled for the same processor.
#undef ASTRAY_INLINE_LAMBDA
#define ASTRAY_INLINE_LAMBDA HWY_ATTR __attribute__((always_inline))

// body(0), ..., body(N - 1), with constants for arguments: an array indexed by them is so many registers.
template <size_t N, typename Body>
HWY_INLINE void Unrolled(const Body& body) {
  [&]<size_t... I>(std::index_sequence<I...>) ASTRAY_INLINE_LAMBDA { (body(std::integral_constant<size_t, I>()), ...); }
  (std::make_index_sequence<N>());
}

// The first `count` lanes, at most all; the others are 0.
template <class Tag>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<Tag> LoadFirst(Tag tag, const float* from, size_t count) {
  namespace hn = hwy::HWY_NAMESPACE;
  if (HWY_LIKELY(count >= hn::Lanes(tag))) return hn::LoadU(tag, from);
#if HWY_TARGET <= HWY_AVX2
  return hn::MaskedLoad(hn::FirstN(tag, count), tag, from);
#else
  HWY_ALIGN float whole[HWY_LANES(float)] = {};
  std::copy_n(from, count, whole);
  return hn::Load(tag, whole);
#endif
}

// Nothing beyond the first `count` lanes is touched.
template <class Tag>
HWY_INLINE void StoreFirst(Tag tag, hwy::HWY_NAMESPACE::Vec<Tag> values, size_t count, float* to) {
  namespace hn = hwy::HWY_NAMESPACE;
  if (HWY_LIKELY(count >= hn::Lanes(tag))) {
    hn::StoreU(values, tag, to);
    return;
  }
#if HWY_TARGET <= HWY_AVX2
  hn::BlendedStore(values, hn::FirstN(tag, count), tag, to);
#else
  HWY_ALIGN float whole[HWY_LANES(float)];
  hn::Store(values, tag, whole);
  std::copy_n(whole, count, to);
#endif
}

// Calls body(tag, i) for lanes i, i + 1, ...: wide vectors, then narrower ones, then single values. Nothing outside of
// 0 ... count - 1 is touched.
template <class Body>
HWY_INLINE void ForEachLanes(size_t count, Body body) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> wide;
  size_t i = 0;
  for (; i + hn::Lanes(wide) <= count; i += hn::Lanes(wide)) body(wide, i);
#if HWY_TARGET != HWY_SCALAR
  const hn::CappedTag<float, 4> narrow;
  for (; i + hn::Lanes(narrow) <= count; i += hn::Lanes(narrow)) body(narrow, i);
#endif
  const hn::CappedTag<float, 1> single;
  for (; i < count; ++i) body(single, i);
}

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#endif  // ASTRAY_ENGINE_NN_LANES_INL_H_
