#include "engine/detect/row_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "engine/base/random.h"

namespace astray {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(RowHistory, PutsTheRowsBeforeInFront) {
  RowHistory history(2, 3);
  EXPECT_THAT(history.Extend(std::vector<float>{1, 2}), ElementsAre(1, 2));
  EXPECT_EQ(history.warming_up_rows(), 1u);
  EXPECT_THAT(history.Extend(std::vector<float>{3, 4, 5, 6}), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(history.warming_up_rows(), 1u);
  EXPECT_THAT(history.Extend(std::vector<float>{7, 8}), ElementsAre(3, 4, 5, 6, 7, 8));
  EXPECT_EQ(history.warming_up_rows(), 0u);
  EXPECT_THAT(history.Extend({}), ElementsAre(5, 6, 7, 8));
  EXPECT_EQ(history.warming_up_rows(), 0u);
}

TEST(RowHistory, AWindowOfOneNeedsNoHistory) {
  RowHistory history(1, 1);
  const std::vector<float> rows = {1, 2, 3};
  EXPECT_EQ(history.Extend(rows).data(), rows.data());
  EXPECT_EQ(history.warming_up_rows(), 0u);
  EXPECT_THAT(history.Extend({}), IsEmpty());
}

TEST(RowHistory, WindowsAreTheSameHoweverRowsAreCut) {
  constexpr size_t kRows = 200;
  for (const size_t window : {1u, 2u, 5u, 40u}) {
    Random random(window);
    RowHistory history(1, window);
    std::vector<float> rows(kRows);
    std::iota(rows.begin(), rows.end(), 0.0f);
    size_t read = 0;
    size_t verdict_row = window - 1;
    while (read < kRows) {
      const size_t count = std::min<size_t>(random.UniformInt(12), kRows - read);
      const std::span<const float> extended = history.Extend(std::span(rows).subspan(read, count));
      const size_t vectors = extended.size() < window ? 0 : extended.size() - window + 1;
      ASSERT_EQ(vectors, count - history.warming_up_rows());
      for (size_t i = 0; i < vectors; ++i, ++verdict_row) {
        ASSERT_EQ(extended[i + window - 1], static_cast<float>(verdict_row));
      }
      read += count;
    }
    EXPECT_EQ(verdict_row, kRows);
  }
}

}  // namespace
}  // namespace astray
