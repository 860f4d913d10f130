#include "engine/train/train_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>

#include "engine/base/file.h"
#include "engine/base/random.h"
#include "engine/detect/artifact.h"
#include "engine/train/data_split.h"
#include "engine/train/recipe.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Three sensors that follow one load.
Dataset MakeData(size_t rows, uint64_t seed = 1) {
  Dataset data{.feature_names = {"flow", "pressure", "power"}};
  Random random(seed);
  for (size_t i = 0; i < rows; ++i) {
    const double load = random.Uniform();
    data.values.push_back(static_cast<float>(100 * load + random.Normal()));
    data.values.push_back(static_cast<float>(5 - 2 * load * load + 0.05 * random.Normal()));
    data.values.push_back(static_cast<float>(3 + load + 0.02 * random.Normal()));
  }
  return data;
}

// A tenth of the rows says when to stop and a fifth calibrates, unless the text says otherwise.
v1::Recipe MakeRecipe(const std::string& text = "") {
  auto recipe = ParseRecipe(
      "name: 'pump' network { encoder: 16 encoder: 4 } training { max_steps: 100 steps_per_validation: 20 } " + text,
      "r");
  EXPECT_TRUE(recipe.ok()) << recipe.status();
  recipe->mutable_training()->set_validation_fraction(0.1f);
  if (!recipe->calibration().has_holdout_fraction()) recipe->mutable_calibration()->set_holdout_fraction(0.2f);
  return *recipe;
}

std::map<std::string, std::string> FilesOfATraining(const v1::Recipe& recipe, const Dataset& data) {
  const TemporaryFolder folder;
  const auto trained = Train(recipe, data, {});
  EXPECT_TRUE(trained.ok()) << trained.status();
  const auto path = WriteArtifact(folder.path(), *trained->detector, trained->golden_rows, trained->report, 0);
  EXPECT_TRUE(path.ok()) << path.status();
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(*path)) {
    files[entry.path().filename().string()] = *ReadFile(entry.path(), 1 << 24);
  }
  EXPECT_TRUE(ReadArtifact(*path).ok()) << "what is trained loads, golden rows and all";
  return files;
}

TEST(Train, TheSameSeedGivesTheSameArtifactByteForByte) {
  const Dataset data = MakeData(600);
  const auto first = FilesOfATraining(MakeRecipe(), data);
  EXPECT_EQ(first.size(), 8u);
  EXPECT_EQ(first, FilesOfATraining(MakeRecipe(), data));
  const auto other = FilesOfATraining(MakeRecipe("seed: 2"), data);
  EXPECT_NE(first.at("weights.bin"), other.at("weights.bin"));
  EXPECT_NE(first.at("calibration.pb"), other.at("calibration.pb"));
}

TEST(Train, FindsWhatBreaksTheRelationThoughEachValueIsNormal) {
  const auto trained = Train(*ParseRecipe("name: 'pump'", "r"), MakeData(2000), {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  EXPECT_LT(trained->report.comparison().denoising(), 0.5 * trained->report.comparison().corruption());
  EXPECT_LT(trained->report.comparison().denoising(), trained->report.comparison().untrained_denoising());
  // Full load's flow with an idle pump's pressure and power: each within what training saw.
  const std::vector<float> rows = {95, 3.2f, 3.95f, 95, 4.99f, 3.05f};
  ScoreResult result;
  ASSERT_TRUE(trained->detector->Score(rows, {}, &result).ok());
  EXPECT_FALSE(result.verdicts[0].anomalous) << result.verdicts[0].score;
  EXPECT_TRUE(result.verdicts[1].anomalous) << result.verdicts[1].score;
  EXPECT_GT(result.verdicts[1].score, 3 * result.verdicts[0].score);
}

TEST(Train, FlagsFreshNormalRowsAtTheRateAskedFor) {
  const auto trained = Train(MakeRecipe("calibration { false_positive_rate: 0.05 }"), MakeData(5000), {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  ScoreResult result;
  ASSERT_TRUE(trained->detector->Score(MakeData(20'000, 2).values, {}, &result).ok());
  double flagged = 0;
  for (const Verdict& verdict : result.verdicts) flagged += verdict.anomalous;
  // Given the calibration the rate is Beta(950, 51): 0.05 with deviation 0.0069; of 20,000 rows 0.0015 more.
  EXPECT_NEAR(flagged / 20'000, 0.05, 4 * 0.0072);
}

// Rows in time, too few for windows or blocks: 105 to train, 15 to validate, 30 to calibrate.
Dataset MakeTimedData() {
  Dataset data = MakeData(150);
  data.timestamps.assign(150, "t");
  return data;
}

// The training on rows of which those in [begin, end) are pushed aside.
TrainedDetector TrainWithAShift(size_t begin, size_t end) {
  Dataset data = MakeTimedData();
  for (size_t i = begin * 3; i < end * 3; ++i) data.values[i] += 100;
  auto trained = Train(MakeRecipe(), data, {});
  EXPECT_TRUE(trained.ok()) << trained.status();
  return *std::move(trained);
}

TEST(Train, ValidatesAndCalibratesOnRowsThatDidNotTeach) {
  const v1::TrainingReport usual = TrainWithAShift(0, 0).report, validation = TrainWithAShift(105, 120).report,
                           calibration = TrainWithAShift(120, 150).report;
  EXPECT_GT(validation.losses(0).validation(), 10 * usual.losses(0).validation());
  EXPECT_EQ(validation.losses(0).training(), usual.losses(0).training());
  EXPECT_EQ(calibration.losses(0).validation(), usual.losses(0).validation());
  EXPECT_GT(calibration.threshold(), 10 * usual.threshold());
}

// Two machines at levels far apart: a window over both would be like nothing else.
TEST(Train, NoWindowSpansTwoEntities) {
  Dataset data = MakeData(600);
  data.timestamps.assign(600, "t");
  for (size_t i = 0; i < 600; ++i) data.entities.push_back(i / 15 % 2 == 0 ? "a" : "b");
  v1::Recipe recipe = MakeRecipe();
  recipe.mutable_features()->set_window(10);
  const auto trained = Train(recipe, data, {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  // Of 15 rows that follow each other 6 windows begin with one; blocks cut a few runs in two.
  EXPECT_LE(trained->report.training_vectors(), 6 * 420 / 15);
  EXPECT_GT(trained->report.training_vectors(), 100u);
  data.entities.clear();
  const auto without = Train(recipe, data, {});
  ASSERT_TRUE(without.ok());
  EXPECT_GT(without->report.training_vectors(), 2 * trained->report.training_vectors());
}

// Rows of machines, one behind the other: of "noisy" the readings stray four times as far.
Dataset MakeSegments(const std::vector<std::pair<std::string, size_t>>& machines, uint64_t seed) {
  Dataset data{.feature_names = {"flow", "pressure", "power"}};
  Random random(seed);
  for (const auto& [machine, rows] : machines) {
    const double noise = machine == "noisy" ? 4 : 1;
    for (size_t i = 0; i < rows; ++i) {
      const double load = random.Uniform();
      data.values.push_back(static_cast<float>(100 * load + noise * random.Normal()));
      data.values.push_back(static_cast<float>(5 - 2 * load * load + noise * 0.05 * random.Normal()));
      data.values.push_back(static_cast<float>(3 + load + noise * 0.02 * random.Normal()));
    }
    data.segments.append(rows, machine);
  }
  return data;
}

// The errors of the held-out vectors of each segment, each of its last row's, by a look at every one of them.
std::map<std::string, std::vector<float>> HeldOutErrors(const TrainedDetector& trained, const Dataset& data,
                                                        const DataSplit& split) {
  const size_t window = trained.detector->window();
  std::map<std::string, std::vector<float>> errors;
  for (const Segment& run : split.calibration) {
    for (size_t last = run.begin + window - 1; last < run.begin + run.rows; ++last) {
      std::vector<float> rows;
      size_t place = 0;
      for (size_t i = last + 1 - window; i <= last; ++i) {
        place = split.order.empty() ? i : split.order[i];
        rows.insert(rows.end(), data.row(place).begin(), data.row(place).end());
      }
      errors[data.segments[place]].push_back(trained.detector->Errors(rows)->front());
    }
  }
  return errors;
}

void ExpectSegments(const Calibration& calibration, std::map<std::string, std::vector<float>> errors) {
  errors.erase("");
  ASSERT_EQ(calibration.segments().size(), errors.size());
  for (const Calibration::Group& segment : calibration.segments()) {
    std::vector<float>& own = errors[segment.name];
    std::sort(own.begin(), own.end());
    EXPECT_EQ(segment.sample.samples(), own.size()) << segment.name;
    EXPECT_EQ(std::vector<float>(segment.sample.largest().begin(), segment.sample.largest().end()), own);
    const double n = static_cast<double>(own.size()), rate = calibration.false_positive_rate();
    EXPECT_EQ(segment.own, (n + 1) * rate >= 1) << segment.name;
    const auto rank = static_cast<size_t>(std::ceil((n + 1) * (1 - rate) - 1e-9));
    EXPECT_EQ(segment.threshold, segment.own ? own[rank - 1] : calibration.threshold()) << segment.name;
  }
}

TEST(Train, SegmentsHaveThresholdsOfTheirOwn) {
  const v1::Recipe recipe = MakeRecipe("calibration { false_positive_rate: 0.05 }");
  const Dataset data = MakeSegments({{"noisy", 2000}, {"quiet", 4000}, {"rare", 30}, {"", 500}}, 1);
  const auto trained = Train(recipe, data, {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  EXPECT_EQ(trained->report.segments(), 3u);
  EXPECT_EQ(trained->report.own_thresholds(), 2u);
  const Calibration& calibration = trained->detector->calibration();
  const auto split = SplitData(trained->detector->model().recipe, data.rows(), false);
  ExpectSegments(calibration, HeldOutErrors(*trained, data, *split));
  // What it is for: fresh rows of each machine are flagged at the rate asked for, which one threshold for all is not.
  for (const char* machine : {"noisy", "quiet"}) {
    const Dataset fresh = MakeSegments({{machine, 10'000}}, 2);
    const std::vector<uint32_t> segments(fresh.rows(), calibration.SegmentIndex(machine));
    double flagged = 0, by_all = 0;
    ScoreResult result;
    ASSERT_TRUE(trained->detector->Score(fresh.values, {}, &result, segments).ok());
    for (const Verdict& verdict : result.verdicts) {
      flagged += verdict.anomalous;
      by_all += verdict.error > calibration.threshold() ? 1 : 0;
    }
    EXPECT_NEAR(flagged / 10'000, 0.05, 4 * std::sqrt(0.05 * 0.95 * (1.0 / 400 + 1e-4))) << machine;
    EXPECT_GT(std::abs(by_all / 10'000 - 0.05), 0.015) << machine;
  }
  // The thresholds are all that differs.
  Dataset without = data;
  without.segments.clear();
  const auto files = FilesOfATraining(recipe, data), others = FilesOfATraining(recipe, without);
  for (const char* name : {"network.pb", "weights.bin", "pipeline.pb", "golden.pb", "recipe.textproto"}) {
    EXPECT_EQ(files.at(name), others.at(name)) << name;
  }
  EXPECT_EQ(files, FilesOfATraining(recipe, data));
  const auto usual = Train(recipe, without, {});
  EXPECT_EQ(usual->report.threshold(), trained->report.threshold());
  EXPECT_EQ(usual->report.segments(), 0u);
  EXPECT_TRUE(usual->detector->calibration().segments().empty());
}

// A window is of its newest row's segment, and each machine has windows held out.
TEST(Train, SegmentsOfWindowsAreThoseOfTheirNewestRows) {
  const std::vector<std::pair<std::string, size_t>> machines = {{"a", 600}, {"b", 700}, {"noisy", 800}, {"d", 600}};
  Dataset data = MakeSegments(machines, 3);
  for (const auto& [machine, rows] : machines) data.entities.append(rows, machine);
  v1::Recipe recipe = MakeRecipe("features { window: 10 } calibration { false_positive_rate: 0.05 }");
  auto trained = Train(recipe, data, {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  const std::vector<uint32_t> begins = {600, 1300, 2100};
  auto split = SplitData(trained->detector->model().recipe, data.rows(), true, begins, {}, begins);
  ExpectSegments(trained->detector->calibration(), HeldOutErrors(*trained, data, *split));
  EXPECT_EQ(trained->report.own_thresholds(), 4u);
  // A mode that changes while a machine runs.
  data.segments.clear();
  for (size_t i = 0; i < data.rows(); ++i) data.segments.push_back(i / 7 % 3 == 0 ? "start" : "run");
  trained = Train(recipe, data, {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  ExpectSegments(trained->detector->calibration(), HeldOutErrors(*trained, data, *split));
  EXPECT_EQ(trained->report.own_thresholds(), 2u);
}

TEST(Train, SegmentsAreCheckedBeforeTraining) {
  Dataset data = MakeData(1200);
  for (int i = 0; i < 1200; ++i) data.segments.push_back("s" + std::to_string(i));
  EXPECT_EQ(Train(MakeRecipe(), data, {}).status(),
            absl::InvalidArgumentError("data: segment: expected at most 1000 in one calibration, got 1200"));
  data.segments.clear();
  data.segments.append(1200, std::string(257, 'x'));
  EXPECT_EQ(Train(MakeRecipe(), data, {}).status(),
            absl::InvalidArgumentError("data: segment: expected at most 256 bytes, got 257"));
}

TEST(Train, GoldenRowsAreHeldOutRowsAsTheyCame) {
  const Dataset data = MakeTimedData();
  const auto trained = Train(MakeRecipe("features { window: 1 }"), data, {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  EXPECT_EQ(trained->golden_rows, std::vector<float>(data.values.begin() + 120 * 3, data.values.begin() + 128 * 3));
}

TEST(Train, RefusesToCalibrateOnRowsWithoutAValue) {
  Dataset data = MakeTimedData();
  std::fill(data.values.begin() + 120 * 3, data.values.end(), kNaN);
  EXPECT_EQ(Train(MakeRecipe(), data, {}).status(),
            absl::InvalidArgumentError("data: every row held out for calibration has no value at all"));
}

TEST(Train, ComparesWithTheNetworkBeforeItsFirstStepWhichTheSeedDraws) {
  const auto comparison = [](const std::string& seed) {
    const auto trained = Train(*ParseRecipe("name: 'pump' network { weight_precision: FLOAT32 } "
                                            "training { max_steps: 1 sgd { learning_rate: 1e-30 } } seed: " +
                                                seed,
                                            "r"),
                               MakeTimedData(), {});
    EXPECT_TRUE(trained.ok()) << trained.status();
    return trained->report.comparison();
  };
  const v1::Comparison first = comparison("1");
  EXPECT_NEAR(first.clean(), first.untrained_clean(), 1e-9);
  EXPECT_NEAR(first.denoising(), first.untrained_denoising(), 1e-9);
  EXPECT_GT(std::abs(comparison("2").untrained_clean() - first.untrained_clean()), 1e-6);
}

TEST(Train, ReportsWhatItUsed) {
  uint64_t calls = 0;
  const auto trained = Train(MakeRecipe(), MakeData(1000), [&](const TrainProgress&) { ++calls; });
  ASSERT_TRUE(trained.ok()) << trained.status();
  const v1::TrainingReport& report = trained->report;
  EXPECT_EQ(report.rows(), 1000u);
  EXPECT_EQ(report.training_vectors(), 700u);
  EXPECT_EQ(report.validation_vectors(), 100u);
  EXPECT_EQ(report.calibration_vectors(), 200u);
  EXPECT_EQ(report.parameters(), 3 * 16 + 16 + 16 * 4 + 4 + 4 * 16 + 16 + 16 * 3 + 3u);
  EXPECT_EQ(report.losses_size(), 5);
  EXPECT_EQ(calls, 5u);
  EXPECT_DOUBLE_EQ(report.threshold(), trained->detector->calibration().threshold());
  EXPECT_EQ(trained->detector->calibration().samples(), 200u);
}

TEST(Train, CalibratesWhatMayBeMissingAndSaysWhatNeighboursAreWorth) {
  const auto trained = Train(MakeRecipe(), MakeData(1000), {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  const Calibration& calibration = trained->detector->calibration();
  EXPECT_GE(calibration.autocorrelation_time(), 1);
  EXPECT_LE(calibration.effective_samples(), 200);
  // Of three values one or two can be missing: a third, two thirds.
  EXPECT_EQ(calibration.missing_levels()[0].sample.samples(), 0u);
  EXPECT_EQ(calibration.missing_levels()[2].sample.samples(), 200u);
  EXPECT_TRUE(calibration.missing_levels()[3].own);
  v1::Recipe blocks = MakeRecipe();
  blocks.mutable_calibration()->set_block_rows(2);
  const auto thinned = Train(blocks, MakeData(1000), {});
  ASSERT_TRUE(thinned.ok()) << thinned.status();
  EXPECT_EQ(thinned->detector->calibration().samples(), 100u);
  EXPECT_EQ(thinned->detector->calibration().block_rows(), 2u);
}

TEST(Train, AFinerRateThanTheRowsResolveIsTheTails) {
  v1::Recipe recipe = MakeRecipe();
  recipe.mutable_calibration()->set_false_positive_rate(1e-3);
  const auto trained = Train(recipe, MakeData(4000), {});  // 800 held out
  ASSERT_TRUE(trained.ok()) << trained.status();
  ASSERT_TRUE(trained->detector->calibration().tail().has_value());
  EXPECT_GE(trained->detector->calibration().tail()->p_value(), TailFit::kRejectBelow);
}

TEST(Train, AHandfulOfRowsIsRefusedAndAHundredTrainWithAWarning) {
  for (const size_t rows : {size_t{1}, size_t{2}, size_t{20}}) {
    const auto trained = Train(MakeRecipe(), MakeData(rows), {});
    EXPECT_EQ(trained.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(trained.status().message()),
                HasSubstr("expected at least 40 rows to train, validate and calibrate on windows of 1 row, got " +
                          std::to_string(rows)));
  }
  EXPECT_EQ(Train(MakeRecipe(), {.feature_names = {"a"}}, {}).status().message(), "data: expected rows, got none");
  const auto trained = Train(MakeRecipe(), MakeData(100), {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  EXPECT_NEAR(trained->report.false_positive_rate(), 1.0 / 21, 1e-12) << "20 held-out rows resolve no finer rate";
  ASSERT_GE(trained->report.warnings_size(), 1);
  bool warned = false;
  for (const v1::Warning& warning : trained->report.warnings()) {
    warned |= warning.kind() == v1::Warning::FEW_CALIBRATION_ROWS;
  }
  EXPECT_TRUE(warned);
}

TEST(Train, ARateTheRowsCannotHoldIsRefusedBeforeTrainingWithTheNumberItTakes) {
  int validations = 0;
  const auto trained = Train(MakeRecipe("calibration { false_positive_rate: 0.001 }"), MakeData(1000),
                             [&](const TrainProgress& /*progress*/) { ++validations; });
  EXPECT_EQ(validations, 0);
  EXPECT_EQ(trained.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(trained.status().message()), HasSubstr("takes at least 999 calibration vectors, got 200"));
}

TEST(Train, SaysWhereRowsMayFollowEachOther) {
  Dataset data = MakeData(600);
  const auto warns = [&](const std::string& recipe) {
    const auto trained = Train(MakeRecipe(recipe), data, {});
    EXPECT_TRUE(trained.ok()) << trained.status();
    return std::ranges::any_of(trained->report.warnings(), [](const v1::Warning& warning) {
      const bool is_it = warning.kind() == v1::Warning::MAYBE_TIME_ORDERED;
      if (is_it) {
        EXPECT_THAT(warning.text(), HasSubstr("'pressure' follows from row to row"));
      }
      return is_it;
    });
  };
  EXPECT_FALSE(warns("")) << "rows of no order";
  Random random(3);
  double pressure = 0;
  for (size_t i = 0; i < data.rows(); ++i) {
    pressure = 0.8 * pressure + random.Normal();
    data.values[3 * i + 1] = static_cast<float>(pressure);
  }
  EXPECT_TRUE(warns(""));
  EXPECT_FALSE(warns("features { window: 1 }")) << "asked for";
  data.timestamps.assign(data.rows(), "t");
  EXPECT_FALSE(warns("")) << "windows";
}

TEST(Train, MissingValuesAreNoObstacleButAColumnOfThemIs) {
  Dataset data = MakeData(1000);
  Random random(5);
  for (float& value : data.values) {
    if (random.Uniform() < 0.2) value = kNaN;
  }
  const auto trained = Train(MakeRecipe(), data, {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  EXPECT_TRUE(std::isfinite(trained->report.threshold()));
  for (size_t i = 1; i < data.values.size(); i += 3) data.values[i] = kNaN;
  const auto refused = Train(MakeRecipe(), data, {});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused.status().message(), "column 'pressure': expected values, all 700 are missing");
}

TEST(Train, AConstantColumnSurvivesAndAnotherValueOfItIsAnomalous) {
  Dataset data = MakeData(1000);
  for (size_t i = 2; i < data.values.size(); i += 3) data.values[i] = 7;
  const auto trained = Train(MakeRecipe(), data, {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  ScoreResult result;
  ASSERT_TRUE(trained->detector->Score(std::vector<float>{50, 4.5f, 7, 50, 4.5f, 17}, {}, &result).ok());
  EXPECT_FALSE(result.verdicts[0].anomalous);
  EXPECT_TRUE(result.verdicts[1].anomalous);
  EXPECT_EQ(result.contributions[result.contributions_stride].feature, 2u);
}

TEST(Train, WindowsOfTimeOrderedRowsTrain) {
  Dataset data = MakeData(1000);
  data.timestamps.assign(1000, "t");
  const auto trained = Train(MakeRecipe("features { window: 5 }"), data, {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  EXPECT_EQ(trained->detector->window(), 5u);
  EXPECT_EQ(trained->report.training_vectors(), 700 - 2 * 4u) << "two blocks, each loses a window's rows at its border";
}

// Training does not know the rules; the threshold does.
TEST(TrainJob, ATablesDetectorHasPrototypesThatItsArtifactKeeps) {
  const auto trained = Train(MakeRecipe(""), MakeData(1000), {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  const DetectorModel& model = trained->detector->model();
  EXPECT_EQ(model.recipe.score().prototypes(), 256u);
  ASSERT_TRUE(model.score_scale.has_prototypes());
  const auto without = Train(MakeRecipe("score { prototypes: 0 }"), MakeData(1000), {});
  ASSERT_TRUE(without.ok()) << without.status();
  EXPECT_FALSE(without->detector->model().score_scale.has_prototypes());

  const ScratchVector<float> fresh = MakeData(400, 2).values;
  const auto errors = trained->detector->Errors(fresh), residual = without->detector->Errors(fresh);
  ASSERT_TRUE(errors.ok() && residual.ok());
  EXPECT_NE(*errors, *residual);

  const TemporaryFolder folder;
  const auto path = WriteArtifact(folder.path(), *trained->detector, trained->golden_rows, trained->report, 0);
  ASSERT_TRUE(path.ok()) << path.status();
  const auto read = ReadArtifact(*path);
  ASSERT_TRUE(read.ok()) << read.status();
  const auto again = (*read)->Errors(fresh);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, *errors);
}

TEST(TrainJob, RulesHoldForTheThresholdAsForScores) {
  // With rules there are no prototypes.
  const std::string kind = "score { kind: MEAN_SQUARED prototypes: 0 } corruption { gaussian { max_sigma: 1 } } ";
  const auto plain = Train(MakeRecipe(kind), MakeData(2000), {});
  const auto ruled =
      Train(MakeRecipe(kind + "rule { feature: 'flow' ignore_below: 5 direction: ABOVE }"), MakeData(2000), {});
  ASSERT_TRUE(plain.ok() && ruled.ok()) << ruled.status();
  EXPECT_TRUE(std::ranges::equal(plain->detector->model().executors.network().parameters(),
                                 ruled->detector->model().executors.network().parameters()));
  EXPECT_LT(ruled->detector->calibration().threshold(), plain->detector->calibration().threshold());

  const ScratchVector<float> fresh = MakeData(4000, 2).values;
  const auto errors = plain->detector->Errors(fresh), fewer = ruled->detector->Errors(fresh);
  ASSERT_TRUE(errors.ok() && fewer.ok());
  ASSERT_EQ(errors->size(), fewer->size());
  size_t flagged = 0;
  for (size_t i = 0; i < errors->size(); ++i) {
    ASSERT_LE((*fewer)[i], (*errors)[i]);
    flagged += (*fewer)[i] > ruled->detector->calibration().threshold() ? 1 : 0;
  }
  // 1 % is promised; 400 calibration rows leave the threshold this uncertain.
  EXPECT_GT(flagged, errors->size() / 500);
  EXPECT_LT(flagged, errors->size() / 33);
}

}  // namespace
}  // namespace astray
