// One bad sensor smears over the others: counterfactual attribution (engine/detect/counterfactual.h) names it first
// more often than the largest share of the error does.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/data/plant_simulator.h"
#include "engine/train/train_job.h"

namespace astray {
namespace {

enum class Failure { kBias, kGain, kNoise, kSpike, kStuck, kDead };
constexpr std::array kFailures = {"bias", "gain", "noise", "spike", "stuck", "dead"};

// Windows of a plant that runs well, but for one sensor of each that fails some rows before the window's end.
struct FailedWindows {
  std::vector<float> rows;
  std::vector<uint32_t> culprits;  // beside the windows
  std::vector<Failure> failures;
};

FailedWindows FailSensors(const Dataset& run, const Detector& detector, uint64_t seed) {
  const size_t features = detector.features(), window = detector.window();
  const auto& profiles = detector.model().pipeline.scaler().state().profile();
  Random random(seed);
  FailedWindows failed;
  for (size_t failure = 0; failure < kFailures.size(); ++failure) {
    for (uint32_t culprit = 0; culprit < features; ++culprit) {
      for (const double size : {0.5, 1.0, 2.0, 5.0, 20.0}) {
        for (const double sign : {-1.0, 1.0}) {
          const auto kind = static_cast<Failure>(failure);
          const size_t rows = kind == Failure::kStuck ? 100 + random.UniformInt(300) : 1 + random.UniformInt(60);
          const size_t end = window + rows + random.UniformInt(run.rows() - window - rows);
          const double step = sign * size * profiles.Get(static_cast<int>(culprit)).standard_deviation();
          for (size_t row = end - window; row < end; ++row) {
            const size_t begin = failed.rows.size();
            failed.rows.insert(failed.rows.end(), run.row(row).begin(), run.row(row).end());
            if (row < end - rows) continue;
            float& value = failed.rows[begin + culprit];
            if (kind == Failure::kBias) value += static_cast<float>(step);
            if (kind == Failure::kGain) value *= static_cast<float>(1 + 0.1 * sign * size);
            if (kind == Failure::kNoise) value += static_cast<float>(step * random.Normal());
            if (kind == Failure::kSpike && row == std::max(end - rows, end - window)) {
              value += static_cast<float>(4 * step);
            }
            if (kind == Failure::kStuck) value = run.row(end - rows)[culprit];
            if (kind == Failure::kDead) value = 0;
          }
          failed.culprits.push_back(culprit);
          failed.failures.push_back(kind);
        }
      }
    }
  }
  return failed;
}

struct Hits {
  double flagged = 0, raw = 0, repaired = 0, one_alone = 0;

  void Add(bool raw_hit, bool repaired_hit) {
    flagged += 1;
    raw += raw_hit ? 1 : 0;
    repaired += repaired_hit ? 1 : 0;
    one_alone += raw_hit != repaired_hit ? 1 : 0;
  }
  // By more than two standard errors, as of so many fair coins (McNemar 1947).
  bool RepairIsClearlyWorse() const { return raw - repaired > 2 * std::sqrt(one_alone); }
  void Print(const std::string& name) const {
    std::printf("%-22s %5.0f flagged, culprit first: %5.1f %% by share, %5.1f %% by repair\n", name.c_str(), flagged,
                100 * raw / flagged, 100 * repaired / flagged);
  }
};

class CounterfactualAttribution : public testing::TestWithParam<const char*> {};

TEST_P(CounterfactualAttribution, NamesTheCulpritFirstMoreOftenThanShares) {
  const std::string plant = GetParam();
  Hits all;
  std::array<Hits, kFailures.size()> by_failure;
  for (const uint64_t seed : {1, 2, 3, 4, 5}) {
    const auto normal = PlantSimulator::Run({.plant = plant, .rows = 8000, .seed = seed});
    ASSERT_TRUE(normal.ok());
    v1::Recipe recipe;
    recipe.set_name(plant);
    recipe.set_seed(seed);
    Dataset training = *normal;
    training.labels.clear();
    training.culprits.clear();
    const auto trained = Train(recipe, training, {});
    ASSERT_TRUE(trained.ok()) << trained.status();
    const Detector& detector = *trained->detector;
    const auto run = PlantSimulator::Run({.plant = plant, .rows = 6000, .seed = 1000 + seed});
    const FailedWindows failed = FailSensors(*run, detector, seed);

    ScoreResult by_share, by_repair;
    ASSERT_TRUE(detector.ScoreWindows(failed.rows, {.top_contributors = 1}, &by_share).ok());
    ASSERT_TRUE(detector.ScoreWindows(failed.rows, {.top_contributors = 1, .counterfactual = 1}, &by_repair).ok());
    Hits hits;
    for (size_t i = 0; i < failed.culprits.size(); ++i) {
      if (!by_share.verdicts[i].anomalous) continue;
      const bool raw = by_share.contributions[i].feature == failed.culprits[i];
      const bool repaired = by_repair.contributions[i * by_repair.contributions_stride].feature == failed.culprits[i];
      for (Hits* to : {&hits, &all, &by_failure[static_cast<size_t>(failed.failures[i])]}) to->Add(raw, repaired);
    }
    hits.Print(plant + " " + std::to_string(seed));
    EXPECT_GT(hits.flagged, 200);
    EXPECT_FALSE(hits.RepairIsClearlyWorse()) << plant << " " << seed << ": of one training both may be as good";
  }
  for (size_t failure = 0; failure < kFailures.size(); ++failure) by_failure[failure].Print(kFailures[failure]);
  all.Print("all");
  EXPECT_GT(all.repaired, all.raw + 0.01 * all.flagged);
  EXPECT_GT(all.repaired, 0.93 * all.flagged);
}

INSTANTIATE_TEST_SUITE_P(Plants, CounterfactualAttribution, testing::Values("pump", "compressor"),
                         [](const auto& plant) { return std::string(plant.param); });

}  // namespace
}  // namespace astray
