// Finds a number's place among many sorted ones without a branch that depends on them: a search tree of blocks of 16
// (Comer 1979, "The ubiquitous B-tree"), whose lowest level is the numbers themselves. A binary search of 4,000 errors
// mispredicts half of its 12 steps; this reads three blocks.
//
// Memory beside the numbers: a fifteenth of theirs. Immutable once made; thread-safe.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace astray {

class RankIndex {
 public:
  RankIndex() = default;                             // of no numbers
  explicit RankIndex(std::span<const float> sorted);  // ascending, no NaN

  // How many of `sorted`, which are those it was made of, are below `value`.
  size_t Below(std::span<const float> sorted, float value) const;

 private:
  static constexpr size_t kBlock = 16;

  // Levels above the numbers, lowest first: each has the last number of every block of the level below it, and is
  // filled up with infinity to whole blocks. The highest is one block.
  std::vector<std::vector<float>> levels_;
};

}  // namespace astray
