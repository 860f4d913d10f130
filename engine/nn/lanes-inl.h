// Loops over floats in vectors as wide as the target's, for sources that Highway compiles once a target.
#include <cstddef>

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
