#include "engine/detect/contribution.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "engine/base/random.h"

namespace astray {
namespace {

TEST(SelectLargest, IsTheBeginningOfAStableSort) {
  Random random(1);
  for (const size_t features : {1, 3, 38, 200}) {
    for (const uint64_t different : {2, 5, 1000}) {  // with 0 among them, and many that are equal
      std::vector<float> shares(features);
      for (float& share : shares) share = static_cast<float>(random.UniformInt(different));
      std::vector<uint32_t> sorted;
      for (uint32_t f = 0; f < features; ++f) {
        if (shares[f] > 0) sorted.push_back(f);
      }
      std::ranges::stable_sort(sorted, [&](uint32_t a, uint32_t b) { return shares[a] > shares[b]; });
      for (const size_t room : {0, 1, 3, 16, 17, 200}) {
        std::vector<Contribution> slots(room);
        const size_t used = SelectLargest(shares, slots);
        ASSERT_EQ(used, std::min(room, sorted.size()));
        for (size_t k = 0; k < used; ++k) {
          EXPECT_EQ(slots[k].feature, sorted[k]) << features << " " << room;
          EXPECT_EQ(slots[k].share, shares[sorted[k]]);
        }
      }
    }
  }
}

}  // namespace
}  // namespace astray
