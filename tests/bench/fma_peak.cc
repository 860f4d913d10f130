#include "tests/bench/fma_peak.h"

#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/fma_peak.cc"
// clang-format off
#include "hwy/foreach_target.h"  // must come before highway.h
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace astray::bench {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

double FmaLoop() {
  const hn::ScalableTag<float> floats;
  constexpr size_t kRounds = 40000;
  const auto factor = hn::Set(floats, 0.9999f), step = hn::Set(floats, 1e-4f);
  // More chains than two units have steps in flight (two times four).
  auto a = hn::Zero(floats), b = a, c = a, d = a, e = a, f = a, g = a, h = a, i = a, j = a, k = a, l = a;
  for (size_t round = 0; round < kRounds; ++round) {
    a = hn::MulAdd(a, factor, step);
    b = hn::MulAdd(b, factor, step);
    c = hn::MulAdd(c, factor, step);
    d = hn::MulAdd(d, factor, step);
    e = hn::MulAdd(e, factor, step);
    f = hn::MulAdd(f, factor, step);
    g = hn::MulAdd(g, factor, step);
    h = hn::MulAdd(h, factor, step);
    i = hn::MulAdd(i, factor, step);
    j = hn::MulAdd(j, factor, step);
    k = hn::MulAdd(k, factor, step);
    l = hn::MulAdd(l, factor, step);
    // Twelve sums that begin alike are one sum to a compiler that looks.
#if HWY_COMPILER_GCC || HWY_COMPILER_CLANG
    asm volatile("" : "+v"(a.raw), "+v"(b.raw), "+v"(c.raw), "+v"(d.raw), "+v"(e.raw), "+v"(f.raw));
    asm volatile("" : "+v"(g.raw), "+v"(h.raw), "+v"(i.raw), "+v"(j.raw), "+v"(k.raw), "+v"(l.raw));
#endif
  }
  const auto sum = hn::Add(hn::Add(hn::Add(a, b), hn::Add(c, d)),
                           hn::Add(hn::Add(hn::Add(e, f), hn::Add(g, h)), hn::Add(hn::Add(i, j), hn::Add(k, l))));
  volatile float kept = hn::GetLane(sum);
  static_cast<void>(kept);
  return 2.0 * 12 * kRounds * static_cast<double>(hn::Lanes(floats));
}

}  // namespace HWY_NAMESPACE
}  // namespace astray::bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace astray::bench {

HWY_EXPORT(FmaLoop);

double RunFmaLoop() { return HWY_DYNAMIC_DISPATCH(FmaLoop)(); }

}  // namespace astray::bench
#endif  // HWY_ONCE
