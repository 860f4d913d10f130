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

constexpr float kLimit = 1e4f;

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
        const float stretch = columns % 2 == 0 ? 100.0f : 1e30f;  // 1e30: most are held
        for (float& value : values) value *= random.Uniform() < 0.1 ? stretch : 100.0f;
        bool within = true;
        std::vector<float> expected(values.size());
        for (size_t i = 0; i < values.size(); ++i) {
          const double exact = (values[i] - scale.offset[i % columns]) * scale.factor[i % columns];
          expected[i] = static_cast<float>(exact);
          within = within && std::abs(exact) <= kLimit;
        }
        ASSERT_EQ(ScaleRows(values, columns, scale.offset.data(), scale.factor.data(), kLimit, scaled.data()), within);
        ASSERT_EQ(scaled, expected);
        std::vector<float> fill(columns), observed(values.size());
        std::vector<uint32_t> missing(rows);
        ASSERT_TRUE(HoldAndFill(values, columns, kLimit, fill.data(), scaled.data(), observed.data(), missing.data()));
        for (float& value : expected) value = std::clamp(value, -kLimit, kLimit);
        ASSERT_EQ(scaled, expected);
        ASSERT_EQ(missing, std::vector<uint32_t>(rows));
        ScaleRows(values, columns, scale.offset.data(), scale.factor.data(), kLimit, scaled.data());
        // In place, too.
        ScaleRows(values, columns, scale.offset.data(), scale.factor.data(), kLimit, values.data());
        ASSERT_EQ(values, scaled);
      }
    }
  });
  EXPECT_GT(targets, 1u);
}

TEST(ScaleRows, SaysWhereAResultIsNotWithinTheLimit) {
  OnEachTarget([] {
    const Columns scale = RandomColumns(5, 1);
    std::vector<float> values(35, 1.0f), scaled(35);
    constexpr float kInfinity = std::numeric_limits<float>::infinity(), kMax = std::numeric_limits<float>::max();
    for (float& value : values) {
      for (const float bad : {kInfinity, -kInfinity, std::nanf(""), -std::nanf(""), kMax, -kMax}) {
        value = bad;
        EXPECT_FALSE(ScaleRows(values, 5, scale.offset.data(), scale.factor.data(), kLimit, scaled.data()));
      }
      for (const float fine : {0.0f, std::numeric_limits<float>::denorm_min(), 1.0f}) {
        value = fine;
        EXPECT_TRUE(ScaleRows(values, 5, scale.offset.data(), scale.factor.data(), kLimit, scaled.data()));
      }
    }
    // The limit itself is within it.
    const std::vector<double> zero(1 + kScalingPadding), one(1 + kScalingPadding, 1.0);
    for (float& value : values) {
      value = -kLimit;
      EXPECT_TRUE(ScaleRows(values, 1, zero.data(), one.data(), kLimit, scaled.data()));
      value = std::nextafter(kLimit, 2 * kLimit);
      EXPECT_FALSE(ScaleRows(values, 1, zero.data(), one.data(), kLimit, scaled.data()));
      value = 1;
    }
  });
}

TEST(HoldAndFill, MarksCountsAndFillsForEveryShape) {
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
      ASSERT_TRUE(HoldAndFill(values, columns, kLimit, fill.data(), scaled.data(), observed.data(), missing.data()));
      std::vector<uint32_t> expected_missing(kRows);
      for (size_t i = 0; i < values.size(); ++i) {
        const bool is_missing = std::isnan(values[i]);
        ASSERT_EQ(scaled[i], is_missing ? fill[i % columns] : before[i]) << columns;
        ASSERT_EQ(observed[i], is_missing ? 0 : 1) << columns;
        expected_missing[i / columns] += is_missing ? 1 : 0;
      }
      ASSERT_EQ(missing, expected_missing);
      values[random.UniformInt(values.size())] = -std::numeric_limits<float>::infinity();
      EXPECT_FALSE(HoldAndFill(values, columns, kLimit, fill.data(), scaled.data(), observed.data(), missing.data()));
    }
  });
}

}  // namespace
}  // namespace astray
