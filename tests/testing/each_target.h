// Vector code that is chosen at run time, on every kind of processor that this one can be.
#pragma once

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <cstdint>

namespace astray {

// Calls `body` once for each. No other thread may run vector code meanwhile.
template <typename Body>
void OnEachTarget(Body body) {
  const auto choose = [](int64_t targets) {
    hwy::SetSupportedTargetsForTest(targets);  // 0: the processor's own
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  };
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    choose(target);
    SCOPED_TRACE(hwy::TargetName(target));
    body();
  }
  choose(0);
}

}  // namespace astray
