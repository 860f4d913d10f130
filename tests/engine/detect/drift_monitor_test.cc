#include "engine/detect/drift_monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <thread>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"

namespace astray {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Summary = v1::DriftSummary;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr absl::Time kNow = absl::UnixEpoch();
constexpr size_t kFeatures = 10;

// Rows of ten normal features and the errors of a model of them: both drawn, each can be moved by itself.
class Plant {
 public:
  explicit Plant(uint64_t seed) : random_(seed) {}

  std::vector<float> Rows(size_t n) {
    std::vector<float> rows(n * kFeatures);
    for (size_t i = 0; i < rows.size(); ++i) {
      const size_t feature = i % kFeatures;
      const bool missing = random_.Uniform() < missing_[feature];
      rows[i] = missing ? kNaN : static_cast<float>(static_cast<double>(feature) + shift_[feature] + random_.Normal());
    }
    return rows;
  }
  // Their logarithms are an autoregression, uncorrelated with memory 0.
  float Error() {
    level_ = memory_ * level_ + std::sqrt(1 - memory_ * memory_) * random_.Normal();
    return static_cast<float>(std::exp(0.5 * (level_ + error_shift_)));
  }
  std::vector<float> Errors(size_t n) {
    std::vector<float> errors(n);
    for (float& error : errors) error = Error();
    return errors;
  }

  void Shift(size_t feature, double by) { shift_[feature] = by; }
  void ShiftErrors(double by) { error_shift_ = by; }  // in standard deviations
  void Lose(size_t feature, double share) { missing_[feature] = share; }
  void SetMemory(double memory) { memory_ = memory; }

 private:
  Random random_;
  double shift_[kFeatures] = {}, missing_[kFeatures] = {};
  double error_shift_ = 0, memory_ = 0, level_ = 0;
};

Pipeline FitPipeline(Plant& plant, size_t rows) {
  v1::FeaturesRecipe recipe;
  recipe.set_scaling(v1::STANDARD);
  recipe.set_window(1);
  std::vector<std::string> names;
  for (size_t i = 0; i < kFeatures; ++i) names.push_back(absl::StrCat("f", i));
  auto pipeline = Pipeline::Fit(recipe, names, plant.Rows(rows));
  EXPECT_TRUE(pipeline.ok()) << pipeline.status();
  return *std::move(pipeline);
}

Calibration Calibrate(Plant& plant, size_t errors) {
  auto calibration = Calibration::Create(plant.Errors(errors), 0.01, {});
  EXPECT_TRUE(calibration.ok()) << calibration.status();
  return *std::move(calibration);
}

Verdict MakeVerdict(const Calibration& calibration, float error) {
  return {.state = Verdict::State::kScored, .anomalous = error > calibration.threshold(), .error = error};
}

// A plant, the model's calibration and their monitor, which counts every row.
struct Watched {
  explicit Watched(uint64_t seed, DriftMonitor::Options options = {.rows_per_second = 1e9,
                                                                   .values_per_second = 1e12,
                                                                   .burst_rows = 1e9})
      : plant(seed),
        pipeline(FitPipeline(plant, 4000)),
        calibration(Calibrate(plant, 1000)),
        monitor(calibration, pipeline, options) {}

  Summary Run(size_t rows) {
    for (size_t i = 0; i < rows; ++i) {
      const Verdict verdict = MakeVerdict(calibration, plant.Error());
      monitor.ObserveVerdicts({&verdict, 1}, kNow);
    }
    monitor.ObserveRows(plant.Rows(rows), kNow);
    return monitor.Summarize();
  }

  Plant plant;
  Pipeline pipeline;
  Calibration calibration;
  DriftMonitor monitor;
};

TEST(DriftMonitor, StationaryDataGivesNoAdvice) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Watched w(seed);
    const Summary early = w.Run(100);
    EXPECT_EQ(early.recommendation(), Summary::NOTHING);
    EXPECT_THAT(early.advice(), HasSubstr("from 128 sampled rows on"));
    EXPECT_FALSE(early.has_psi_max());
    const Summary late = w.Run(20'000);
    EXPECT_EQ(late.recommendation(), Summary::NOTHING) << late.advice();
    EXPECT_EQ(late.advice(), "Nothing to do: the model fits what it scores.");
    EXPECT_FALSE(late.alarm());
    EXPECT_EQ(late.scored_rows(), 20'100u);
    EXPECT_EQ(late.counted_rows(), 20'100u);
    EXPECT_EQ(late.sampled_rows(), 20'100u);
    EXPECT_LT(late.psi_max(), 0.05);
    EXPECT_EQ(late.shifted_features(), 0u);
    EXPECT_NEAR(late.anomaly_rate(), 0.01, 0.015);
    EXPECT_EQ(late.features_size(), static_cast<int>(kFeatures));
  }
}

// With the level so low that it is reached in some runs: no more of them than the bound allows.
TEST(DriftMonitor, FalseAlarmsStayWithinTheirBound) {
  constexpr int kRuns = 500, kRows = 2000;
  constexpr double kLevel = 20'000;
  Plant shape(1);
  const Pipeline pipeline = FitPipeline(shape, 500);
  int alarms = 0;
  for (int run = 0; run < kRuns; ++run) {
    Plant plant(1000 + static_cast<uint64_t>(run));
    const Calibration calibration = Calibrate(plant, 300);
    DriftMonitor monitor(
        calibration, pipeline,
        {.alarm_rows = kLevel, .rows_per_second = 1e9, .burst_rows = 1e9, .seed = static_cast<uint64_t>(run)});
    for (int i = 0; i < kRows; ++i) {
      const Verdict verdict = MakeVerdict(calibration, plant.Error());
      monitor.ObserveVerdicts({&verdict, 1}, kNow);
    }
    alarms += monitor.Summarize().alarm() ? 1 : 0;
  }
  const double most = kRuns * kRows / kLevel;
  std::printf("alarms in %d of %d stationary runs of %d rows at level %g (bound %.0f)\n", alarms, kRuns, kRows, kLevel,
              most);
  EXPECT_LE(alarms, most + 3 * std::sqrt(most));
}

// Stationary, but neighbours resemble each other: calibration and live rows alike. The spacing is the autocorrelation
// time, 1 + 2 (the sum of the correlations).
TEST(DriftMonitor, CorrelatedRowsNeedTheirSpacing) {
  constexpr int kRuns = 100;
  constexpr double kMemory = 0.9;
  const auto spacing = static_cast<size_t>(std::ceil((1 + kMemory) / (1 - kMemory)));
  Plant shape(1);
  const Pipeline pipeline = FitPipeline(shape, 500);
  const auto alarms_of = [&](size_t distance, double level, size_t rows) {
    int alarms = 0;
    for (int run = 0; run < kRuns; ++run) {
      Plant plant(3000 + static_cast<uint64_t>(run));
      plant.SetMemory(kMemory);
      const Calibration calibration = Calibrate(plant, 2000);
      DriftMonitor monitor(calibration, pipeline,
                           {.spacing = distance, .alarm_rows = level, .rows_per_second = 1e9, .burst_rows = 1e9});
      std::vector<Verdict> verdicts;
      for (const float error : plant.Errors(rows)) verdicts.push_back(MakeVerdict(calibration, error));
      monitor.ObserveVerdicts(verdicts, kNow);
      alarms += monitor.Summarize().alarm() ? 1 : 0;
    }
    return alarms;
  };
  constexpr size_t kRows = 40'000;
  constexpr double kLevel = 4000;
  const double most = kRuns * kRows / (1.5 * static_cast<double>(spacing)) / kLevel;
  const int spaced = alarms_of(spacing, kLevel, kRows);
  const int rare = alarms_of(spacing, 1e6, 5 * kRows);
  const int every = alarms_of(1, 1e8, kRows);
  std::printf(
      "correlated rows, spacing %zu: alarms in %d of %d runs (bound %.0f), in %d at level 1e6 (bound 0.7); %d at "
      "level 1e8 counting every row\n",
      spacing, spaced, kRuns, most, rare, every);
  EXPECT_LE(spaced, most + 3 * std::sqrt(most));
  EXPECT_LE(rare, 2);
  EXPECT_GT(every, kRuns / 2);
}

TEST(DriftMonitor, ErrorsThatMoveAloneAskForACalibration) {
  Watched w(1);
  w.Run(3000);
  w.plant.ShiftErrors(1);
  const Summary summary = w.Run(300);
  EXPECT_TRUE(summary.alarm());
  std::printf("errors up by a standard deviation after 3000 rows: alarm %d rows later\n",
              static_cast<int>(summary.alarm_at_row()) - 3000);
  EXPECT_GT(summary.alarm_at_row(), 3000u);
  EXPECT_EQ(summary.recommendation(), Summary::RECALIBRATE) << summary.advice();
  EXPECT_EQ(
      summary.advice(),
      "Recalibrate, unless this is a fault: errors are larger than the calibration's, no feature by itself moved.");
  EXPECT_LT(summary.mean_p_value(), 0.4);
  EXPECT_GT(summary.error_change_log10(), 8);
  // And it stays, though the rank among what came since is ordinary again.
  EXPECT_TRUE(w.Run(5000).alarm());
}

TEST(DriftMonitor, ErrorsThatShrinkAskForACalibrationToo) {
  Watched w(2);
  w.Run(1000);
  w.plant.ShiftErrors(-1.5);
  const Summary summary = w.Run(400);
  EXPECT_EQ(summary.recommendation(), Summary::RECALIBRATE);
  EXPECT_THAT(summary.advice(), HasSubstr("errors are smaller"));
}

TEST(DriftMonitor, ErrorsFarAboveTheThresholdAskForTraining) {
  Watched w(3);
  w.Run(1000);
  w.plant.ShiftErrors(6);
  const Summary summary = w.Run(2000);
  EXPECT_EQ(summary.recommendation(), Summary::RETRAIN);
  EXPECT_THAT(summary.advice(), HasSubstr("% of recent rows are anomalous"));
}

TEST(DriftMonitor, OneSensorThatMovesIsNamed) {
  Watched w(4);
  w.Run(3000);
  w.plant.Shift(7, 3);
  w.plant.ShiftErrors(2);
  const Summary summary = w.Run(400);
  EXPECT_TRUE(summary.alarm());
  EXPECT_EQ(summary.recommendation(), Summary::LOOK_AT_SENSORS);
  EXPECT_THAT(summary.advice(), HasSubstr("few features moved since training: f7 (PSI "));
  EXPECT_THAT(summary.advice(), Not(HasSubstr(",")));
  EXPECT_EQ(summary.shifted_features(), 1u);
  // Without an alarm of the errors, too, once it weighs enough in the longer memory.
  Watched quiet(5);
  quiet.plant.Shift(2, 3);
  EXPECT_EQ(quiet.Run(1000).recommendation(), Summary::LOOK_AT_SENSORS);
}

TEST(DriftMonitor, ASensorThatFallsSilentIsNamed) {
  Watched w(6);
  w.Run(1000);
  w.plant.Lose(3, 0.6);
  const Summary summary = w.Run(600);
  EXPECT_EQ(summary.recommendation(), Summary::LOOK_AT_SENSORS);
  EXPECT_THAT(summary.advice(),
              testing::ContainsRegex("values went missing: f3 \\([56][0-9] % missing, 0 % in training\\)\\."));
  EXPECT_FALSE(summary.alarm());
}

TEST(DriftMonitor, AWholePlantThatMovesAsksForTraining) {
  Watched w(7);
  w.Run(3000);
  for (size_t feature = 0; feature < kFeatures; ++feature) w.plant.Shift(feature, feature % 2 == 0 ? 1.5 : -1.5);
  w.plant.ShiftErrors(2);
  const Summary summary = w.Run(400);
  EXPECT_TRUE(summary.alarm());
  EXPECT_EQ(summary.recommendation(), Summary::RETRAIN);
  EXPECT_THAT(summary.advice(), HasSubstr("Retrain: 10 of 10 features moved: f"));
  EXPECT_THAT(summary.advice(), HasSubstr(" and 7 more."));
}

TEST(DriftMonitor, SpacingIsTheAutocorrelationTimeAndNoLessThanAWindow) {
  EXPECT_EQ(DriftMonitor::Spacing(1, 1), 1u);
  EXPECT_EQ(DriftMonitor::Spacing(20, 3.2), 20u);
  EXPECT_EQ(DriftMonitor::Spacing(20, 210.4), 211u);
  EXPECT_EQ(DriftMonitor::Spacing(20, 0), 640u);
  EXPECT_EQ(DriftMonitor::Spacing(1, std::numeric_limits<double>::infinity()), 1'000'000u);
}

TEST(DriftMonitor, RowsWithoutAnErrorDoNotCount) {
  Watched w(8);
  std::vector<Verdict> verdicts(10);
  verdicts[3] = MakeVerdict(w.calibration, 1);
  verdicts[4].state = Verdict::State::kAllMissing;
  w.monitor.ObserveVerdicts(verdicts, kNow);
  const Summary summary = w.monitor.Summarize();
  EXPECT_EQ(summary.scored_rows(), 1u);
  EXPECT_EQ(summary.counted_rows(), 1u);
}

TEST(DriftMonitor, TheDefaultsBoundWhatIsCounted) {
  Watched w(9, {});
  std::vector<Verdict> verdicts(256, MakeVerdict(w.calibration, 1));
  const std::vector<float> rows = w.plant.Rows(256);
  for (int i = 0; i < 4000; ++i) {  // a million rows in ten seconds
    w.monitor.ObserveVerdicts(verdicts, kNow + i * absl::Milliseconds(2.5));
    w.monitor.ObserveRows(rows, kNow + i * absl::Milliseconds(2.5));
  }
  const Summary summary = w.monitor.Summarize();
  EXPECT_EQ(summary.scored_rows(), 1'024'000u);
  EXPECT_LE(summary.counted_rows(), 2101u);
  EXPECT_GT(summary.counted_rows(), 2000u);
  EXPECT_LE(summary.sampled_rows(), 220'001u);  // 200,000 values a second, a second's worth at once
}

// Under ThreadSanitizer this is the test of the locks; here, that nothing is lost but what may be.
TEST(DriftMonitor, ManyThreadsMayFeedIt) {
  Watched w(10);
  const std::vector<float> rows = w.plant.Rows(64);
  std::vector<Verdict> verdicts(64, MakeVerdict(w.calibration, 1));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        w.monitor.ObserveVerdicts(verdicts, kNow);
        w.monitor.ObserveRows(rows, kNow);
        if (i % 50 == 0) {
          EXPECT_LE(w.monitor.Summarize().scored_rows(), 4 * 200 * 64u);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const Summary summary = w.monitor.Summarize();
  EXPECT_EQ(summary.scored_rows() % 64, 0u);
  EXPECT_GT(summary.scored_rows(), 0u);
  EXPECT_EQ(summary.counted_rows(), summary.scored_rows());
}

}  // namespace
}  // namespace astray
