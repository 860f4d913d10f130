#include "engine/detect/rank_index.h"

#include <algorithm>
#include <limits>

namespace astray {
namespace {

// Written so that the compiler makes vector code of it.
template <size_t kCount>
size_t CountBelow(const float* numbers, float value) {
  int count = 0;
  for (size_t i = 0; i < kCount; ++i) count += numbers[i] < value ? 1 : 0;
  return static_cast<size_t>(count);
}

}  // namespace

RankIndex::RankIndex(std::span<const float> sorted) {
  for (std::span<const float> below = sorted; below.size() > kBlock; below = levels_.back()) {
    std::vector<float> level((below.size() + kBlock - 1) / kBlock);
    for (size_t i = 0; i < level.size(); ++i) level[i] = below[std::min((i + 1) * kBlock, below.size()) - 1];
    level.resize((level.size() + kBlock - 1) / kBlock * kBlock, std::numeric_limits<float>::infinity());
    levels_.push_back(std::move(level));
  }
}

size_t RankIndex::Below(std::span<const float> sorted, float value) const {
  // From here on every level has a number that is not below it.
  if (sorted.empty() || sorted.back() < value) return sorted.size();
  size_t block = 0;
  for (size_t level = levels_.size(); level-- > 0;) {
    block = block * kBlock + CountBelow<kBlock>(levels_[level].data() + block * kBlock, value);
  }
  const size_t begin = block * kBlock;
  if (begin + kBlock <= sorted.size()) return begin + CountBelow<kBlock>(sorted.data() + begin, value);
  return begin + static_cast<size_t>(std::count_if(sorted.begin() + static_cast<std::ptrdiff_t>(begin), sorted.end(),
                                                   [value](float number) { return number < value; }));
}

}  // namespace astray
