#include "engine/detect/rank_index.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/detect/rank_index.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace astray {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, RankIndex::kBlock>;

// Of one block.
HWY_INLINE size_t CountInBlock(const float* block, hn::Vec<Floats> value) {
  const Floats floats;
  size_t count = 0;
  for (size_t i = 0; i < RankIndex::kBlock; i += hn::Lanes(floats)) {
    count += hn::CountTrue(floats, hn::Lt(hn::LoadU(floats, block + i), value));
  }
  return count;
}

void CountBelowWithVectors(std::span<const float> tree, std::span<const uint32_t> level_begin,
                           std::span<const float> sorted, std::span<const float> values, uint32_t* below) {
  constexpr size_t kBlock = RankIndex::kBlock;
  for (size_t i = 0; i < values.size(); ++i) {
    if (sorted.empty() || sorted.back() < values[i]) {
      below[i] = static_cast<uint32_t>(sorted.size());
      continue;
    }
    // Every level has a number that is not below the value.
    const auto value = hn::Set(Floats(), values[i]);
    size_t place = 0;
    for (const uint32_t begin : level_begin) {
      place = place * kBlock + CountInBlock(tree.data() + begin + place * kBlock, value);
    }
    place *= kBlock;
    if (place + kBlock <= sorted.size()) {
      place += CountInBlock(sorted.data() + place, value);
    } else {
      while (place < sorted.size() && sorted[place] < values[i]) ++place;
    }
    below[i] = static_cast<uint32_t>(place);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace astray
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace astray {

HWY_EXPORT(CountBelowWithVectors);

RankIndex::RankIndex(std::span<const float> sorted) {
  std::vector<std::vector<float>> levels;  // lowest first
  for (std::span<const float> below = sorted; below.size() > kBlock; below = levels.back()) {
    std::vector<float> level((below.size() + kBlock - 1) / kBlock);
    for (size_t i = 0; i < level.size(); ++i) level[i] = below[std::min((i + 1) * kBlock, below.size()) - 1];
    level.resize((level.size() + kBlock - 1) / kBlock * kBlock, std::numeric_limits<float>::infinity());
    levels.push_back(std::move(level));
  }
  size_t size = 0;
  for (const std::vector<float>& level : levels) size += level.size();
  tree_.reserve(size);
  level_begin_.reserve(levels.size());
  for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
    level_begin_.push_back(static_cast<uint32_t>(tree_.size()));
    tree_.insert(tree_.end(), level->begin(), level->end());
  }
}

void RankIndex::CountBelow(std::span<const float> sorted, std::span<const float> values, uint32_t* below) const {
  HWY_DYNAMIC_DISPATCH(CountBelowWithVectors)(tree_, level_begin_, sorted, values, below);
}

size_t RankIndex::CountBelow(std::span<const float> sorted, float value) const {
  uint32_t below = 0;
  CountBelow(sorted, std::span(&value, 1), &below);
  return below;
}

}  // namespace astray
#endif
