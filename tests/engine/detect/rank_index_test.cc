#include "engine/detect/rank_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "engine/base/random.h"

namespace astray {
namespace {

size_t BelowByBinarySearch(const std::vector<float>& sorted, float value) {
  return static_cast<size_t>(std::lower_bound(sorted.begin(), sorted.end(), value) - sorted.begin());
}

// Every number, what lies right below and above it, and what lies outside.
void ExpectTheSameAsBinarySearch(const std::vector<float>& sorted) {
  const RankIndex index(sorted);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> values = {-kInfinity, -1, 0, 1, std::numeric_limits<float>::max(), kInfinity};
  for (const float number : sorted) {
    values.insert(values.end(), {number, std::nextafterf(number, -kInfinity), std::nextafterf(number, kInfinity)});
  }
  std::vector<uint32_t> below(values.size());
  index.CountBelow(sorted, values, below.data());
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(below[i], BelowByBinarySearch(sorted, values[i])) << sorted.size() << " " << values[i];
    ASSERT_EQ(index.CountBelow(sorted, values[i]), below[i]);
  }
}

TEST(RankIndex, IsABinarySearchForEverySize) {
  Random random(1);
  ExpectTheSameAsBinarySearch({});
  for (const size_t size :
       {1, 2, 15, 16, 17, 31, 32, 33, 255, 256, 257, 271, 272, 273, 4095, 4096, 4097, 4112, 70001}) {
    std::vector<float> sorted(size);
    random.FillNormal(sorted);
    std::ranges::sort(sorted);
    ExpectTheSameAsBinarySearch(sorted);
  }
}

TEST(RankIndex, CountsEqualNumbersAsNotBelow) {
  Random random(2);
  for (const size_t size : {3, 40, 300, 5000}) {
    std::vector<float> sorted(size);
    for (float& number : sorted) number = static_cast<float>(random.UniformInt(4));
    std::ranges::sort(sorted);
    ExpectTheSameAsBinarySearch(sorted);
  }
  ExpectTheSameAsBinarySearch(std::vector<float>(1000, std::numeric_limits<float>::max()));
  ExpectTheSameAsBinarySearch(std::vector<float>(1000, 0.0f));
}

}  // namespace
}  // namespace astray
