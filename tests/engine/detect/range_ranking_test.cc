#include "engine/detect/range_ranking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "engine/base/random.h"

namespace astray {
namespace {

struct Series {
  std::vector<float> scores;
  std::vector<uint8_t> labels;
};

// Ranges of one to thirty rows, some touching the ends; scores rounded so that there are ties.
Series MakeSeries(size_t rows, int ranges, Random& random) {
  Series series;
  series.labels.assign(rows, 0);
  for (int r = 0; r < ranges; ++r) {
    const size_t begin = random.NextUint64() % rows;
    const size_t end = std::min<size_t>(rows, begin + 1 + random.NextUint64() % 30);
    std::fill(series.labels.begin() + begin, series.labels.begin() + end, uint8_t{1});
  }
  for (size_t i = 0; i < rows; ++i) {
    const double score = random.Normal() + 1.2 * series.labels[i];
    series.scores.push_back(static_cast<float>(std::round(score * 8) / 8));
  }
  return series;
}

// The header's formulas word by word: for each width and threshold, label by label.
double BruteVusPr(const Series& s, int window) {
  const int n = static_cast<int>(s.scores.size());
  std::vector<float> sorted = s.scores;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  double anomalous = 0;
  for (const uint8_t label : s.labels) anomalous += label;
  double volume = 0;
  for (int w = 0; w <= window; ++w) {
    // Soft labels, and which widened ranges each row is in.
    std::vector<double> label(n, 0);
    std::vector<std::pair<int, int>> widened;
    for (int i = 0; i < n; ++i) {
      if (s.labels[i] == 0 || (i > 0 && s.labels[i - 1] != 0)) continue;
      int last = i;
      while (last + 1 < n && s.labels[last + 1] != 0) ++last;
      for (int row = std::max(0, i - w / 2); row <= std::min(n - 1, last + w / 2); ++row) {
        const int distance = std::max({i - row, row - last, 0});
        label[row] += distance == 0 ? 1 : std::sqrt(1 - distance / static_cast<double>(w));
      }
      if (!widened.empty() && i - w / 2 <= widened.back().second) {
        widened.back().second = last + w / 2;
      } else {
        widened.emplace_back(i - w / 2, last + w / 2);
      }
    }
    double last_recall = 0;
    for (int k = 0; k < 250; ++k) {
      const float threshold = sorted[k == 249 ? n - 1 : static_cast<int>(k * ((n - 1) / 249.0))];
      double flagged = 0;
      double found = 0;
      double outside = 0;
      for (int i = 0; i < n; ++i) {
        if (s.scores[i] < threshold) continue;
        flagged += 1;
        found += std::min(1.0, label[i]);
        if (s.labels[i] == 0) outside += std::min(1.0, label[i]);
      }
      double touched = 0;
      for (const auto& [first, last] : widened) {
        bool any = false;
        for (int i = std::max(0, first); i <= std::min(n - 1, last); ++i) any = any || s.scores[i] >= threshold;
        touched += any ? 1 : 0;
      }
      const double labels = (anomalous + anomalous + outside) / 2;
      const double recall = std::min(1.0, found / labels) * touched / static_cast<double>(widened.size());
      volume += (recall - last_recall) * found / flagged;
      last_recall = recall;
    }
  }
  return volume / (window + 1);
}

TEST(VusPrTest, IsItsDefinition) {
  Random random(41);
  for (int round = 0; round < 20; ++round) {
    const Series series = MakeSeries(40 + random.NextUint64() % 500, 1 + round % 7, random);
    const int window = static_cast<int>(random.NextUint64() % 40);
    EXPECT_NEAR(VusPr(series.scores, series.labels, window), BruteVusPr(series, window), 1e-12)
        << round << " window " << window;
  }
}

TEST(VusPrTest, AgreesWithAnotherProgramForIt) {
  // Made with numpy, after the authors' procedure, of the same rows.
  Series series;
  for (int i = 0; i < 600; ++i) {
    series.labels.push_back((i >= 100 && i < 130) || i == 250 || (i >= 258 && i < 270) || i >= 590 ? 1 : 0);
    series.scores.push_back(static_cast<float>((i * 7919 % 601 + (series.labels.back() != 0 ? 200 : 0)) / 16));
  }
  EXPECT_NEAR(VusPr(series.scores, series.labels, 0), 0.376122603263037, 1e-12);
  EXPECT_NEAR(VusPr(series.scores, series.labels, 25), 0.49439037518584, 1e-12);
  EXPECT_NEAR(VusPr(series.scores, series.labels, 125), 0.658439772509232, 1e-12);
}

TEST(VusPrTest, AnAlarmBesideARangeCountsMoreThanOneFarAway) {
  Series near;
  near.labels.assign(600, 0);
  std::fill(near.labels.begin() + 300, near.labels.begin() + 320, uint8_t{1});
  near.scores.assign(600, 0.0f);
  Series far = near;
  std::fill(near.scores.begin() + 292, near.scores.begin() + 300, 1.0f);
  std::fill(far.scores.begin() + 100, far.scores.begin() + 108, 1.0f);
  EXPECT_DOUBLE_EQ(VusPr(near.scores, near.labels, 0), VusPr(far.scores, far.labels, 0));
  EXPECT_GT(VusPr(near.scores, near.labels, 40), 2 * VusPr(far.scores, far.labels, 40));
}

TEST(VusPrTest, ARangeAndItsBufferEndWithTheirEntity) {
  // The second entity begins with an anomaly, so the first one's last rows are beside it, but no part of it. With an
  // entity that is far away the result must be the same.
  Random random(42);
  Series a = MakeSeries(300, 2, random);
  Series b = MakeSeries(300, 2, random);
  std::fill(a.labels.end() - 120, a.labels.end(), uint8_t{0});
  std::fill(b.labels.begin(), b.labels.begin() + 10, uint8_t{1});
  Series joined = a;
  joined.scores.insert(joined.scores.end(), b.scores.begin(), b.scores.end());
  joined.labels.insert(joined.labels.end(), b.labels.begin(), b.labels.end());
  Series turned = b;
  turned.scores.insert(turned.scores.end(), a.scores.begin(), a.scores.end());
  turned.labels.insert(turned.labels.end(), a.labels.begin(), a.labels.end());
  const uint32_t begins[] = {0, 300};
  EXPECT_NEAR(VusPr(joined.scores, joined.labels, 60, begins), VusPr(turned.scores, turned.labels, 60, begins), 1e-12);
  EXPECT_GT(std::fabs(VusPr(joined.scores, joined.labels, 60) - VusPr(joined.scores, joined.labels, 60, begins)), 1e-6);
}

TEST(VusPrTest, OneClassAloneHasNoValue) {
  const std::vector<float> scores = {1, 2, 3};
  EXPECT_TRUE(std::isnan(VusPr(scores, std::vector<uint8_t>{0, 0, 0}, 5)));
  EXPECT_TRUE(std::isnan(VusPr(scores, std::vector<uint8_t>{1, 1, 1}, 5)));
  EXPECT_TRUE(std::isnan(VusPr({}, {}, 5)));
}

std::vector<float> Wave(size_t rows, double period, double noise, uint64_t seed) {
  Random random(seed);
  std::vector<float> series;
  for (size_t i = 0; i < rows; ++i) {
    const double angle = 2 * std::numbers::pi * static_cast<double>(i) / period;
    series.push_back(static_cast<float>(5 + std::sin(angle) + noise * random.Normal()));
  }
  return series;
}

TEST(DominantPeriodTest, IsThePeriodOfAWave) {
  EXPECT_EQ(DominantPeriod(Wave(5000, 50, 0, 1)), 50u);
  EXPECT_EQ(DominantPeriod(Wave(30000, 288, 0.1, 2)), 288u);
  std::vector<float> missing = Wave(5000, 50, 0, 1);
  for (size_t i = 0; i < missing.size(); i += 97) missing[i] = NAN;
  EXPECT_EQ(DominantPeriod(missing), 50u);
}

TEST(DominantPeriodTest, WithoutAPeriodOfUseItIs125) {
  EXPECT_EQ(DominantPeriod(Wave(20000, 350, 0, 3)), 125u);  // a local maximum beyond 303
  EXPECT_EQ(DominantPeriod(std::vector<float>(1000, 2.0f)), 125u);
  EXPECT_EQ(DominantPeriod({}), 125u);
  EXPECT_EQ(DominantPeriod(std::vector<float>{1, 2, 3, 1, 5}), 125u);
  std::vector<float> ramp(3000);
  for (size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<float>(i);
  EXPECT_EQ(DominantPeriod(ramp), 125u);
}

TEST(LabelledRangesTest, EndWhereTheirEntityEnds) {
  const std::vector<uint8_t> labels = {1, 1, 0, 0, 1, 1, 0, 1};
  const auto one = LabelledRanges(labels);
  ASSERT_EQ(one.size(), 3u);
  EXPECT_EQ(one[1].begin, 4u);
  EXPECT_EQ(one[1].end, 6u);
  EXPECT_EQ(one[2].end, 8u);
  const uint32_t begins[] = {0, 5};
  const auto two = LabelledRanges(labels, begins);
  ASSERT_EQ(two.size(), 4u);
  EXPECT_EQ(two[1].end, 5u);
  EXPECT_EQ(two[1].entity_end, 5u);
  EXPECT_EQ(two[2].begin, 5u);
  EXPECT_EQ(two[2].end, 6u);
  EXPECT_EQ(two[2].entity_begin, 5u);
}

TEST(DetectRangesTest, CountsRowsToTheFirstFlag) {
  //                                    range 0        missed   at once, and beside it   late
  const std::vector<uint8_t> labels = {0, 1, 1, 1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 1};
  const std::vector<uint8_t> flags = {1, 0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1};
  const RangeDetection detection = DetectRanges(flags, labels);
  EXPECT_EQ(detection.ranges, 4u);
  EXPECT_EQ(detection.detected, 3u);
  EXPECT_DOUBLE_EQ(detection.delay_mean, (1 + 0 + 3) / 3.0);
  EXPECT_DOUBLE_EQ(detection.delay_median, 1);
  // Cut before the last row, another entity's range of one row, found at once.
  const uint32_t begins[] = {0, 15};
  const RangeDetection cut = DetectRanges(flags, labels, begins);
  EXPECT_EQ(cut.ranges, 5u);
  EXPECT_EQ(cut.detected, 3u);
  EXPECT_DOUBLE_EQ(cut.delay_mean, 1 / 3.0);
  EXPECT_DOUBLE_EQ(cut.delay_median, 0);
  const RangeDetection none = DetectRanges(std::vector<uint8_t>(16, 0), labels);
  EXPECT_EQ(none.detected, 0u);
  EXPECT_TRUE(std::isnan(none.delay_mean));
}

}  // namespace
}  // namespace astray
