#include "engine/features/row_scaling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/base/random.h"
#include "tests/testing/each_target.h"

namespace astray {
namespace {

constexpr double kLimit = 1e4;

struct Columns {
  std::vector<double> offset, factor;
};

Columns RandomColumns(size_t columns, uint64_t seed) {
  Random random(seed);
  Columns made;
  for (size_t i = 0; i < columns; ++i) {
    made.offset.push_back(100 * random.Normal());
    made.factor.push_back(0.01 + random.Uniform());
  }
  for (size_t i = 0; i < kScalingPadding; ++i) {
    made.offset.push_back(made.offset[i]);
    made.factor.push_back(made.factor[i]);
  }
  return made;
}

// Value by value, and so the same bits on every processor.
TEST(ScaleRows, HasTheBitsOfTheFormulaForEveryShape) {
  size_t targets = 0;
  OnEachTarget([&] {
    ++targets;
    for (size_t columns = 1; columns < 41; ++columns) {
      const Columns scale = RandomColumns(columns, columns);
      for (const size_t rows : {1, 2, 7}) {
        std::vector<float> values(rows * columns), scaled(values.size());
        Random random(rows);
        random.FillNormal(values);
        for (float& value : values) value *= random.Uniform() < 0.1 ? 1e30f : 100.0f;
        ASSERT_TRUE(ScaleRows(values, columns, scale.offset.data(), scale.factor.data(), kLimit, scaled.data()));
        for (size_t i = 0; i < values.size(); ++i) {
          const double exact = (values[i] - scale.offset[i % columns]) * scale.factor[i % columns];
          ASSERT_EQ(scaled[i], static_cast<float>(std::clamp(exact, -kLimit, kLimit))) << columns << " " << i;
        }
        // In place, too.
        ASSERT_TRUE(ScaleRows(values, columns, scale.offset.data(), scale.factor.data(), kLimit, values.data()));
        ASSERT_EQ(values, scaled);
      }
    }
  });
  EXPECT_GT(targets, 1u);
}

TEST(ScaleRows, SaysWhereANumberIsNotFinite) {
  OnEachTarget([] {
    const Columns scale = RandomColumns(5, 1);
    std::vector<float> values(35, 1.0f), scaled(35);
    constexpr float kInfinity = std::numeric_limits<float>::infinity(), kMax = std::numeric_limits<float>::max();
    for (float& value : values) {
      for (const float bad : {kInfinity, -kInfinity, std::nanf(""), -std::nanf("")}) {
        value = bad;
        EXPECT_FALSE(ScaleRows(values, 5, scale.offset.data(), scale.factor.data(), kLimit, scaled.data()));
      }
      for (const float fine : {kMax, -kMax, 0.0f, std::numeric_limits<float>::denorm_min(), 1.0f}) {
        value = fine;
        EXPECT_TRUE(ScaleRows(values, 5, scale.offset.data(), scale.factor.data(), kLimit, scaled.data()));
      }
    }
  });
}

TEST(FillMissing, MarksCountsAndFillsForEveryShape) {
  OnEachTarget([] {
    Random random(4);
    for (size_t columns = 1; columns < 70; ++columns) {
      constexpr size_t kRows = 6;
      std::vector<float> values(kRows * columns), scaled(values.size()), observed(values.size(), 7), fill(columns);
      random.FillNormal(values);
      random.FillNormal(scaled);
      random.FillNormal(fill);
      for (float& value : values) value = random.Uniform() < 0.3 ? std::nanf("") : value;
      const std::vector<float> before = scaled;
      std::vector<uint32_t> missing(kRows, 7);
      ASSERT_TRUE(FillMissing(values, columns, fill.data(), scaled.data(), observed.data(), missing.data()));
      std::vector<uint32_t> expected_missing(kRows);
      for (size_t i = 0; i < values.size(); ++i) {
        const bool is_missing = std::isnan(values[i]);
        ASSERT_EQ(scaled[i], is_missing ? fill[i % columns] : before[i]) << columns;
        ASSERT_EQ(observed[i], is_missing ? 0 : 1) << columns;
        expected_missing[i / columns] += is_missing ? 1 : 0;
      }
      ASSERT_EQ(missing, expected_missing);
      values[random.UniformInt(values.size())] = -std::numeric_limits<float>::infinity();
      EXPECT_FALSE(FillMissing(values, columns, fill.data(), scaled.data(), observed.data(), missing.data()));
    }
  });
}

}  // namespace
}  // namespace astray
