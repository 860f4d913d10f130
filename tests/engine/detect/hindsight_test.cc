#include "engine/detect/hindsight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "engine/detect/score_kind.h"
#include "tests/engine/detect/detector_scoring.h"
#include "tests/engine/detect/small_detector.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr size_t kFeatures = 3;
constexpr uint32_t kWindow = 10;

std::shared_ptr<const Detector> MakeDetector(v1::ScoreKind kind, uint32_t t_squared_rows = 0) {
  return MakeSmallDetector({.window = kWindow, .kind = kind, .t_squared_rows = t_squared_rows});
}

v1::HindsightScale OldScaleOf(const Detector& detector) {
  v1::HindsightScale scale;
  if (detector.model().score_scale.kind() == v1::WINDOW_SCALES) {
    for (const float variance : {0.5f, 1.0f, 3.0f}) scale.add_variance(variance);
  }
  return scale;
}

v1::HindsightScale ScaleOf(const Detector& detector) {
  v1::HindsightScale scale = OldScaleOf(detector);
  if (detector.model().score_scale.kind() == v1::WINDOW_SCALES) {
    for (const uint32_t rows : {3, 6}) scale.add_rows_near(rows);
    scale.set_first_place(4);
  } else {
    for (const uint32_t rows : {21, 40, 61}) scale.add_rows_near(rows);
  }
  return scale;
}

std::vector<float> HindsightOf(const Detector& detector, std::span<const float> rows, const v1::HindsightScale& scale) {
  const auto errors = HindsightErrors(detector, scale, rows);
  EXPECT_TRUE(errors.ok()) << errors.status();
  return *errors;
}

std::vector<float> HindsightOf(const Detector& detector, std::span<const float> rows) {
  return HindsightOf(detector, rows, ScaleOf(detector));
}

// A window and what the network made of it, as the detector judges it.
struct Judged {
  std::vector<float> input, output, observed;
  float error = 0;
};

std::vector<Judged> JudgedWindows(const Detector& detector, std::span<const float> rows) {
  std::vector<Judged> windows;
  const auto keep = [&](const RebuiltVectors& judged, std::span<const float> errors) {
    for (size_t i = 0; i < judged.count; ++i) {
      const auto of = [&](const float* values) {
        return std::vector<float>(values + i * judged.width, values + (i + 1) * judged.width);
      };
      windows.push_back({of(judged.input), of(judged.output), of(judged.observed), errors[i]});
    }
    return absl::OkStatus();
  };
  EXPECT_TRUE(detector.VisitJudged(rows, 1, keep).ok());
  return windows;
}

// The header's c_f of a row, from its definition; NaN where nothing is observed.
double MeanOverWindows(const Detector& detector, const std::vector<Judged>& windows, size_t first_place, size_t row,
                       size_t f) {
  double sum = 0, count = 0;
  for (size_t w = 0; w < windows.size(); ++w) {
    const size_t oldest = w == 0 ? 0 : w + first_place;
    if (row < oldest || row >= w + kWindow) continue;
    const size_t j = (row - w) * kFeatures + f;
    if (windows[w].observed[j] == 0) continue;
    const double residual = static_cast<double>(windows[w].output[j]) - windows[w].input[j];
    sum += residual * residual / detector.model().score_scale.residual_variance(static_cast<int>(j));
    count += 1;
  }
  return count > 0 ? sum / count : kNaN;
}

// The header's s(k) of a row, by what is known of each row; NaN where that is nothing.
double MeanNear(const std::function<double(size_t row)>& known, size_t rows, size_t row, size_t k) {
  double sum = 0, count = 0;
  for (size_t near = row - std::min(row, k / 2); near <= std::min(row + k - 1 - k / 2, rows - 1); ++near) {
    const double value = known(near);
    if (std::isnan(value)) continue;
    sum += value;
    count += 1;
  }
  return count > 0 ? sum / count : kNaN;
}

// And its error by the residuals.
double ErrorByDefinition(const Detector& detector, const std::vector<Judged>& windows, const v1::HindsightScale& scale,
                         size_t row) {
  double error = 0, known = 0;
  for (size_t f = 0; f < kFeatures; ++f) {
    const auto near = [&](size_t k) {
      const auto of = [&](size_t at) { return MeanOverWindows(detector, windows, scale.first_place(), at, f); };
      return MeanNear(of, windows.size() + kWindow - 1, row, k);
    };
    double largest = near(scale.rows_near(0));
    if (std::isnan(largest)) continue;
    for (const uint32_t k : scale.rows_near()) largest = std::max(largest, near(k));
    error += std::sqrt(largest / scale.variance(static_cast<int>(f)));
    known += 1;
  }
  return known > 0 ? error / known : kNaN;
}

TEST(Hindsight, OfWindowScalesIsByTheWindowsThatARowLiesInAndNotByTSquared) {
  const auto detector = MakeDetector(v1::WINDOW_SCALES, /*t_squared_rows=*/5);
  std::vector<float> rows = SmallRows(37, 5);
  for (size_t row = 20; row < 25; ++row) rows[row * kFeatures + 1] += 9;  // longer than the fewest rows near
  const v1::HindsightScale scale = ScaleOf(*detector);
  const std::vector<Judged> windows = JudgedWindows(*detector, rows);
  const std::vector<float> errors = HindsightOf(*detector, rows);
  ASSERT_EQ(errors.size(), 37u) << "the first rows, too, which have no verdict as they come";
  for (size_t row = 0; row < errors.size(); ++row) {
    const double expected = ErrorByDefinition(*detector, windows, scale, row);
    EXPECT_NEAR(errors[row], expected, 1e-5 * expected) << row;
  }
}

TEST(Hindsight, OfAnOlderArtifactIsOverOneLengthAndAllWindows) {
  for (const v1::ScoreKind kind : {v1::WINDOW_SCALES, v1::WINDOW_NORMALISED}) {
    const auto detector = MakeDetector(kind, /*t_squared_rows=*/5);
    const std::vector<float> rows = SmallRows(60, 5);
    v1::HindsightScale said = OldScaleOf(*detector);
    said.add_rows_near(kind == v1::WINDOW_SCALES ? 3 : 21);
    said.set_first_place(0);
    const std::vector<float> errors = HindsightOf(*detector, rows, OldScaleOf(*detector));
    EXPECT_EQ(errors, HindsightOf(*detector, rows, said));
    EXPECT_NE(errors, HindsightOf(*detector, rows));
  }
}

TEST(Hindsight, LeavesOutWhatIsMissing) {
  const auto detector = MakeDetector(v1::WINDOW_SCALES);
  std::vector<float> rows = SmallRows(60, 5);
  rows[20 * kFeatures + 1] = kNaN;
  for (size_t row = 30; row < 34; ++row) rows[row * kFeatures + 2] = kNaN;        // longer than the fewest rows near
  std::fill(rows.begin() + 40 * kFeatures, rows.begin() + 43 * kFeatures, kNaN);  // and so is this, of all features
  const v1::HindsightScale scale = ScaleOf(*detector);
  const std::vector<Judged> windows = JudgedWindows(*detector, rows);
  const std::vector<float> errors = HindsightOf(*detector, rows);
  ASSERT_EQ(errors.size(), 60u);
  for (size_t row = 0; row < errors.size(); ++row) {
    const double expected = ErrorByDefinition(*detector, windows, scale, row);
    if (row == 41) {
      EXPECT_TRUE(std::isnan(errors[row]));
      EXPECT_TRUE(std::isnan(expected));
    } else {
      EXPECT_NEAR(errors[row], expected, 1e-5 * expected) << row;
    }
  }
}

TEST(Hindsight, OfOtherKindsIsByTheErrorsOfTheWindowsAround) {
  for (const v1::ScoreKind kind : {v1::WINDOW_NORMALISED, v1::MEAN_SQUARED, v1::MAHALANOBIS}) {
    const auto detector = MakeDetector(kind, /*t_squared_rows=*/2);
    const std::vector<float> rows = SmallRows(73, 5);
    const std::vector<Judged> windows = JudgedWindows(*detector, rows);
    const std::vector<float> errors = HindsightOf(*detector, rows);
    ASSERT_EQ(errors.size(), 73u);
    const auto of = [&](size_t row) {
      const size_t middle = kWindow / 2;
      return row < middle || row >= windows.size() + middle ? kNaN : static_cast<double>(windows[row - middle].error);
    };
    for (size_t row = 0; row < errors.size(); ++row) {
      const double expected =
          std::max({MeanNear(of, 73, row, 21), MeanNear(of, 73, row, 40), MeanNear(of, 73, row, 61)});
      EXPECT_NEAR(errors[row], expected, 1e-6 * expected) << row;
    }
  }
}

// The q of a window, from its definition; NaN where nothing is observed.
double DistanceFromSubspace(const v1::SubspaceScale& scale, const Judged& window) {
  const size_t width = window.input.size();
  const auto component = [&](size_t c, size_t j) {
    return static_cast<double>(scale.component(static_cast<int>(c * width + j)));
  };
  const auto centred = [&](size_t j) { return window.input[j] - static_cast<double>(scale.mean(static_cast<int>(j))); };
  double sum = 0, count = 0;
  for (size_t j = 0; j < width; ++j) {
    if (window.observed[j] == 0) continue;
    double off = centred(j);
    for (size_t c = 0; c < static_cast<size_t>(scale.component_size()) / width; ++c) {
      double coordinate = 0;
      for (size_t i = 0; i < width; ++i) coordinate += centred(i) * component(c, i);
      off -= coordinate * component(c, j);
    }
    sum += off * off / scale.variance(static_cast<int>(j));
    count += 1;
  }
  return count > 0 ? sum / count : kNaN;
}

TEST(Hindsight, OfOtherKindsIsAlsoByHowFarTheWindowsLieFromNormalOnes) {
  const auto detector = MakeDetector(v1::WINDOW_NORMALISED, /*t_squared_rows=*/2);
  std::vector<float> rows = SmallRows(73, 5);
  rows[30 * kFeatures + 1] = kNaN;
  std::fill(rows.begin() + 40 * kFeatures, rows.begin() + 51 * kFeatures, kNaN);  // two windows of nothing
  v1::HindsightScale scale = ScaleOf(*detector);
  *scale.mutable_subspace() = SmallSubspace(kWindow * kFeatures, 3);
  const std::vector<Judged> windows = JudgedWindows(*detector, rows);
  const std::vector<float> errors = HindsightOf(*detector, rows, scale);
  ASSERT_EQ(errors.size(), 73u);
  const auto of = [&](size_t row) {
    const size_t middle = kWindow / 2;
    if (row < middle || row >= windows.size() + middle) return static_cast<double>(kNaN);
    const Judged& window = windows[row - middle];
    return std::sqrt(window.error * DistanceFromSubspace(scale.subspace(), window));
  };
  EXPECT_TRUE(std::isnan(of(45)));
  for (size_t row = 0; row < errors.size(); ++row) {
    const double expected = std::max({MeanNear(of, 73, row, 21), MeanNear(of, 73, row, 40), MeanNear(of, 73, row, 61)});
    EXPECT_NEAR(errors[row], expected, 1e-6 * expected) << row;
  }
}

TEST(Hindsight, DoesNotGoByHowWindowsCome) {
  for (const v1::ScoreKind kind : {v1::WINDOW_SCALES, v1::WINDOW_NORMALISED}) {
    const auto detector = MakeDetector(kind, /*t_squared_rows=*/5);
    const std::vector<float> rows = SmallRows(700, 5);  // more windows than a chunk
    v1::HindsightScale scale = ScaleOf(*detector);
    if (kind != v1::WINDOW_SCALES) *scale.mutable_subspace() = SmallSubspace(kWindow * kFeatures, 3);
    const std::vector<float> errors = HindsightOf(*detector, rows, scale);
    std::vector<float> one_by_one;
    Hindsight hindsight(*detector, scale);
    const auto add = [&](const RebuiltVectors& judged, std::span<const float> judged_errors) {
      hindsight.Add(judged, judged_errors, &one_by_one);
      return absl::OkStatus();
    };
    for (size_t row = 0; row + kWindow <= 700; ++row) {
      const auto window = std::span(rows).subspan(row * kFeatures, kWindow * kFeatures);
      ASSERT_TRUE(detector->VisitJudged(window, 1, add).ok());
    }
    hindsight.Finish(&one_by_one);
    EXPECT_TRUE(std::ranges::equal(errors, one_by_one, [](float a, float b) { return SameBits(a, b); }));
  }
}

TEST(Hindsight, OfAModelIsByItsScale) {
  const auto detector = MakeSmallDetector({.window = kWindow, .kind = v1::WINDOW_NORMALISED, .hindsight = true});
  const v1::HindsightScale& scale = detector->model().hindsight->scale;
  ASSERT_TRUE(scale.has_subspace());
  const std::vector<float> rows = SmallRows(60, 5);
  for (const auto& of : {detector, detector->WithCalibration(nullptr)}) {
    Hindsight hindsight(*of);
    std::vector<float> errors;
    const auto add = [&](const RebuiltVectors& judged, std::span<const float> judged_errors) {
      hindsight.Add(judged, judged_errors, &errors);
      return absl::OkStatus();
    };
    ASSERT_TRUE(of->VisitJudged(rows, 1, add).ok());
    hindsight.Finish(&errors);
    EXPECT_EQ(errors, HindsightOf(*detector, rows, scale));
  }
}

TEST(Hindsight, BeginsAfreshWithEachStream) {
  const auto detector = MakeDetector(v1::WINDOW_SCALES, /*t_squared_rows=*/5);
  Hindsight hindsight(*detector, ScaleOf(*detector));
  std::vector<float> errors;
  const auto add = [&](const RebuiltVectors& judged, std::span<const float> judged_errors) {
    hindsight.Add(judged, judged_errors, &errors);
    return absl::OkStatus();
  };
  hindsight.Finish(&errors);
  EXPECT_TRUE(errors.empty()) << "a stream without a window";
  std::vector<float> wild = SmallRows(25, 6);
  for (float& value : wild) value *= 100;
  ASSERT_TRUE(detector->VisitJudged(wild, 1, add).ok());
  hindsight.Finish(&errors);
  EXPECT_EQ(errors.size(), 25u);
  errors.clear();
  const std::vector<float> rows = SmallRows(31, 5);
  ASSERT_TRUE(detector->VisitJudged(rows, 1, add).ok());
  EXPECT_EQ(errors.size(), 20u) << "those in no later window, but the last, whose two neighbours are not known yet";
  EXPECT_EQ(hindsight.rows_later(), 31u - 20);
  hindsight.Finish(&errors);
  EXPECT_EQ(errors, HindsightOf(*detector, rows));
}

TEST(Hindsight, OfWhatOverflowsIsTheLargestNumber) {
  const auto detector = MakeDetector(v1::WINDOW_NORMALISED);
  Hindsight hindsight(*detector, {});
  const std::vector<float> values(kWindow * kFeatures, 1), error = {std::numeric_limits<float>::max()};
  const RebuiltVectors window = {.count = 1,
                                 .width = values.size(),
                                 .outputs = values.size(),
                                 .input = values.data(),
                                 .output = values.data(),
                                 .observed = values.data()};
  std::vector<float> errors;
  for (int i = 0; i < 3; ++i) hindsight.Add(window, error, &errors);
  hindsight.Finish(&errors);
  EXPECT_EQ(errors, std::vector<float>(kWindow + 2, std::numeric_limits<float>::max()));
}

TEST(Hindsight, OfAnOutputThatIsNoNumberIsTheLargestNumberUnlessNothingWasObservedThere) {
  const auto detector = MakeDetector(v1::WINDOW_SCALES);
  const std::vector<float> input(kWindow * kFeatures, 1);
  std::vector<float> output = input, observed = input;
  output[4 * kFeatures] = kNaN;
  output[8 * kFeatures + 1] = std::numeric_limits<float>::infinity();
  observed[8 * kFeatures + 1] = 0;
  const std::vector<float> error = {1};
  Hindsight hindsight(*detector, ScaleOf(*detector));
  std::vector<float> errors;
  hindsight.Add({.count = 1,
                 .width = input.size(),
                 .outputs = input.size(),
                 .input = input.data(),
                 .output = output.data(),
                 .observed = observed.data()},
                error, &errors);
  hindsight.Finish(&errors);
  ASSERT_EQ(errors.size(), kWindow);
  for (size_t row = 0; row < errors.size(); ++row) {
    // It is near the rows beside it, too: from two before it to three after.
    EXPECT_EQ(errors[row], row >= 2 && row <= 7 ? std::numeric_limits<float>::max() : 0) << row;
  }
}

TEST(Hindsight, RefusesAScaleThatDoesNotFit) {
  const auto refused = [](const v1::HindsightScale& scale, v1::ScoreKind kind, size_t window, const char* message) {
    v1::ScoreScale score;
    score.set_kind(kind);
    const absl::Status status = CheckHindsightScale(scale, score, kFeatures, window);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  };
  const v1::HindsightScale good = ScaleOf(*MakeDetector(v1::WINDOW_SCALES));
  v1::ScoreScale scales;
  scales.set_kind(v1::WINDOW_SCALES);
  EXPECT_TRUE(CheckHindsightScale(good, scales, kFeatures, 10).ok());
  refused(good, v1::WINDOW_SCALES, 1, "hindsight: expected a model of windows");
  refused(good, v1::WINDOW_NORMALISED, 10, "hindsight: variance: expected 0 values, got 3");
  refused({}, v1::WINDOW_SCALES, 10, "hindsight: variance: expected 3 values, got 0");
  v1::HindsightScale bad = good;
  bad.set_variance(1, 0);
  refused(bad, v1::WINDOW_SCALES, 10, "hindsight: variance 1: expected a finite number above 0, got 0");
  bad.set_variance(1, kNaN);
  refused(bad, v1::WINDOW_SCALES, 10, "hindsight: variance 1: expected a finite number above 0, got nan");
  bad = good;
  bad.set_first_place(10);
  refused(bad, v1::WINDOW_SCALES, 10, "hindsight: first_place: expected less than 10, got 10");
  bad = good;
  bad.set_rows_near(1, 3);
  refused(bad, v1::WINDOW_SCALES, 10, "hindsight: rows_near 1: expected more than 3 and at most 10 rows, got 3");
  bad.set_rows_near(0, 0);
  refused(bad, v1::WINDOW_SCALES, 10, "hindsight: rows_near 0: expected more than 0 and at most 10 rows, got 0");
  bad = good;
  bad.set_rows_near(1, 11);
  refused(bad, v1::WINDOW_SCALES, 10, "hindsight: rows_near 1: expected more than 3 and at most 10 rows, got 11");
  bad.clear_rows_near();
  for (uint32_t rows = 1; rows <= 9; ++rows) bad.add_rows_near(rows);
  refused(bad, v1::WINDOW_SCALES, 10, "hindsight: rows_near: expected at most 8 lengths, got 9");
  bad = {};
  bad.add_rows_near(82);
  refused(bad, v1::WINDOW_NORMALISED, 10, "hindsight: rows_near 0: expected more than 0 and at most 81 rows, got 82");
  bad.clear_rows_near();
  bad.set_first_place(1);
  refused(bad, v1::WINDOW_NORMALISED, 10, "hindsight: first_place: expected less than 1, got 1");
  bad = good;
  *bad.mutable_subspace() = SmallSubspace(30, 2);
  refused(bad, v1::WINDOW_SCALES, 10, "hindsight: subspace: expected none of WINDOW_SCALES");
  bad = {};
  *bad.mutable_subspace() = SmallSubspace(29, 2);
  refused(bad, v1::WINDOW_NORMALISED, 10, "hindsight: subspace: mean: expected 30 values, got 29");
}

TEST(Hindsight, FitsEveryWindowAsTrainingSetsIt) {
  for (size_t window = 2; window < 200; ++window) {
    for (const v1::ScoreKind kind : {v1::WINDOW_SCALES, v1::WINDOW_NORMALISED}) {
      v1::HindsightScale scale;
      for (const uint32_t rows : RowsNear(kind, window)) scale.add_rows_near(rows);
      v1::ScoreScale score;
      score.set_kind(kind);
      EXPECT_TRUE(CheckHindsightScale(scale, score, /*features=*/0, window).ok()) << window;
    }
  }
  EXPECT_EQ(RowsNear(v1::WINDOW_SCALES, 40), (std::vector<uint32_t>{3, 5, 10, 20}));
  EXPECT_EQ(RowsNear(v1::WINDOW_SCALES, 5), (std::vector<uint32_t>{1, 2, 3}));
  EXPECT_EQ(RowsNear(v1::WINDOW_NORMALISED, 20), (std::vector<uint32_t>{41, 81, 161}));
}

}  // namespace
}  // namespace astray
