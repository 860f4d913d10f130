// A verdict has the same bits whichever rows share its batch, however rows are cut into calls, on whichever thread.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <thread>
#include <vector>

#include "engine/base/random.h"
#include "engine/detect/detector.h"
#include "engine/detect/row_history.h"
#include "tests/engine/detect/detector_scoring.h"
#include "tests/engine/detect/small_detector.h"

namespace astray {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Windows of many streams, scored together: each has the bits that it has in its own.
TEST(Detector, WindowsOneBehindTheOtherHaveTheBitsOfTheirStream) {
  for (const uint32_t window : {1u, 3u, 10u}) {
    const auto detector = MakeSmallDetector({.window = window, .kind = v1::WINDOW_NORMALISED, .noise_level = 0.5f});
    std::vector<float> rows = SmallRows(500, 5);
    Random random(window);
    for (int i = 0; i < 200; ++i) rows[random.UniformInt(rows.size())] = i % 3 == 0 ? kNaN : 1e5f;
    const ScoreOptions options = {
        .top_contributors = 3, .explain_all = true, .reconstruction = true, .imputation = true, .counterfactual = 2};
    const ScoreResult stream = Score(*detector, rows, options);
    std::vector<size_t> picked;
    std::vector<float> windows;
    for (size_t i = 0; i < 700; ++i) {  // over several chunks
      picked.push_back(random.UniformInt(stream.verdicts.size()));
      const auto rows_of = std::span(rows).subspan(picked.back() * 3, window * 3);
      windows.insert(windows.end(), rows_of.begin(), rows_of.end());
    }
    ScoreResult result;
    ASSERT_TRUE(detector->ScoreWindows(windows, options, &result).ok());
    ASSERT_EQ(result.verdicts.size(), picked.size());
    for (size_t i = 0; i < picked.size(); ++i) {
      ASSERT_TRUE(SameBits(result.verdicts[i], stream.verdicts[picked[i]])) << i;
      for (size_t k = 0; k < result.verdicts[i].contributions; ++k) {
        ASSERT_TRUE(SameBits(result.contributions[i * 3 + k], stream.contributions[picked[i] * 3 + k]));
      }
      ASSERT_TRUE(SameRepairs(result, i, stream, picked[i]));
      for (size_t k = 0; k < 3; ++k) {
        ASSERT_TRUE(SameBits(result.reconstruction[i * 3 + k], stream.reconstruction[picked[i] * 3 + k]));
        ASSERT_TRUE(SameBits(result.imputed[i * 3 + k], stream.imputed[picked[i] * 3 + k]));
      }
    }
  }
}

TEST(Detector, VerdictsAreTheSameBitForBitHoweverRowsAreCut) {
  for (const uint32_t window : {1u, 3u, 10u}) {
    const auto detector = MakeSmallDetector({.window = window, .kind = v1::WINDOW_NORMALISED, .noise_level = 0.5f});
    std::vector<float> rows = SmallRows(900, 5);
    Random random(window);
    for (int i = 0; i < 200; ++i) rows[random.UniformInt(rows.size())] = i % 3 == 0 ? kNaN : 1e5f;
    const ScoreOptions options = {.top_contributors = 2,
                                  .explain_all = true,
                                  .reconstruction = true,
                                  .code = true,
                                  .imputation = true,
                                  .purification_passes = 2,
                                  .score_function = true,
                                  .counterfactual = 3};
    const ScoreResult whole = Score(*detector, rows, options);
    ASSERT_EQ(whole.verdicts.size(), 900 - window + 1);

    RowHistory history(3, window);
    ScoreResult part;
    size_t read = 0;
    size_t vector = 0;
    while (read < 900) {
      const size_t count = std::min<size_t>(random.UniformInt(read < 300 ? 5 : 300), 900 - read);
      ASSERT_TRUE(detector->Score(history.Extend(std::span(rows).subspan(read * 3, count * 3)), options, &part).ok());
      ASSERT_EQ(part.verdicts.size(), count - history.warming_up_rows());
      for (size_t i = 0; i < part.verdicts.size(); ++i, ++vector) {
        ASSERT_TRUE(SameBits(part.verdicts[i], whole.verdicts[vector])) << "vector " << vector;
        for (size_t k = 0; k < whole.verdicts[vector].contributions; ++k) {
          ASSERT_TRUE(SameBits(part.contributions[i * 3 + k], whole.contributions[vector * 3 + k]));
        }
        ASSERT_TRUE(SameRepairs(part, i, whole, vector));
        for (size_t k = 0; k < 3; ++k) {
          ASSERT_TRUE(SameBits(part.reconstruction[i * 3 + k], whole.reconstruction[vector * 3 + k]));
          ASSERT_TRUE(SameBits(part.imputed[i * 3 + k], whole.imputed[vector * 3 + k]));
          ASSERT_TRUE(SameBits(part.purified[i * 3 + k], whole.purified[vector * 3 + k]));
          ASSERT_TRUE(SameBits(part.score_function[i * 3 + k], whole.score_function[vector * 3 + k]));
        }
        const size_t units = detector->code_size();
        for (size_t k = 0; k < units; ++k) {
          ASSERT_TRUE(SameBits(part.code[i * units + k], whole.code[vector * units + k]));
        }
      }
      read += count;
    }
    EXPECT_EQ(vector, whole.verdicts.size());
  }
}

TEST(Detector, ScoresOnManyThreadsAtOnce) {
  const auto detector = MakeSmallDetector();
  const std::vector<float> rows = SmallRows(500, 11);
  const ScoreResult expected = Score(*detector, rows);
  std::vector<int> different(6, 0);
  std::vector<std::thread> threads;
  threads.reserve(different.size());
  for (int& count : different) {
    threads.emplace_back([&detector, &rows, &expected, &count] {
      for (int round = 0; round < 5; ++round) {
        const ScoreResult result = Score(*detector, rows);
        for (size_t i = 0; i < expected.verdicts.size(); ++i) {
          count += SameBits(result.verdicts[i], expected.verdicts[i]) ? 0 : 1;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(different, ::testing::Each(0));
}

}  // namespace
}  // namespace astray
