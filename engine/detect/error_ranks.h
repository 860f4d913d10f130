// Smoothed p-values of a sequence of errors, each ranked among all before it.
//
// Exchangeable errors have p-values that are exactly uniform and independent, whatever their distribution and however
// many ties (Vovk, Gammerman & Shafer 2005, "Algorithmic Learning in a Random World", 2.2 and 8.1: smoothed conformal
// predictors). Ranks against a fixed set of errors would not be independent: a test on them would alarm in the end.
//
// Errors are kept as counts on a fixed grid of 128 cells an octave, which depends on no data, so that the law above
// holds for the cells' numbers. Memory is 1 KiB for each octave that has had an error, 64 KiB at most and mostly below
// 10: a server may hold a thousand of these. A step takes at most two hundred additions for any number of rows. Not
// thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/base/random.h"

namespace astray {

class ErrorRanks {
 public:
  // Begins with errors of which at_least(x) are x or more. Each counts as `weight` ones: below 1 where they resemble
  // their neighbours, so that n of them know less than n independent ones.
  ErrorRanks(const std::function<double(float)>& at_least, double weight, uint64_t seed);

  // (#{errors before it that are larger} + U (1 + #{equal ones})) / (1 + #{errors before it}), U uniform on [0, 1);
  // then adds it. Small where the error is large.
  double Next(float error);

 private:
  static constexpr size_t kOctaves = 64, kCells = 128;  // cells of an octave

  std::vector<double>& CellsOf(size_t octave);  // made where there are none

  Random random_;
  double count_ = 0;
  std::array<double, kOctaves> octave_counts_ = {};
  std::array<std::vector<double>, kOctaves> cells_;  // [kCells] each; empty: all 0
};

}  // namespace astray
