#include "engine/data/plant_simulator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "absl/strings/str_split.h"

namespace astray {
namespace {

using ::testing::Each;

TEST(PlantSimulator, ANormalRunHasNoLabelsAndIsTheSameForTheSameSeed) {
  const auto run = *PlantSimulator::Run({.rows = 500, .seed = 3});
  EXPECT_EQ(run.rows(), 500u);
  EXPECT_EQ(run.features(), 8u);
  EXPECT_THAT(run.labels, Each(0));
  EXPECT_EQ(run.timestamps[0], "2026-01-01T00:00:00Z");
  EXPECT_EQ(run.timestamps[61], "2026-01-01T00:01:01Z");
  EXPECT_EQ(run.values, PlantSimulator::Run({.rows = 500, .seed = 3})->values);
  EXPECT_NE(run.values, PlantSimulator::Run({.rows = 500, .seed = 4})->values);
}

// A faulty run shares load and noise with the normal one of its seed, so that the difference is the fault alone.
TEST(PlantSimulator, CulpritsAreTheSensorsThatDifferFromTheNormalRun) {
  for (const std::string& plant : PlantSimulator::Plants()) {
    const std::vector<std::string> faults = *PlantSimulator::Faults(plant);
    for (const std::string& fault : faults) {
      const auto normal = *PlantSimulator::Run({.plant = plant, .rows = 2000, .seed = 5});
      const auto faulty = *PlantSimulator::Run({.plant = plant, .rows = 2000, .seed = 5, .faults = {fault}});
      std::set<std::string> differing, named;
      size_t labelled = 0;
      for (size_t i = 0; i < normal.rows(); ++i) {
        for (size_t s = 0; s < normal.features(); ++s) {
          if (normal.row(i)[s] == faulty.row(i)[s]) continue;
          differing.insert(normal.feature_names[s]);
          EXPECT_EQ(faulty.labels[i], 1) << plant << " " << fault << " row " << i;
        }
        if (faulty.labels[i] == 0) {
          EXPECT_EQ(faulty.culprits[i], "");
          continue;
        }
        ++labelled;
        for (const auto name : absl::StrSplit(faulty.culprits[i], ';')) named.insert(std::string(name));
      }
      EXPECT_EQ(named, differing) << plant << " " << fault;
      EXPECT_EQ(labelled, 100u);
    }
  }
}

TEST(PlantSimulator, DropsTheAskedForShareOfValues) {
  const auto run = *PlantSimulator::Run({.rows = 5000, .missing_ratio = 0.1});
  double missing = 0;
  for (const float value : run.values) missing += std::isnan(value);
  EXPECT_NEAR(missing / static_cast<double>(run.values.size()), 0.1, 0.01);
}

TEST(PlantSimulator, NamesWhatItKnows) {
  EXPECT_EQ(PlantSimulator::Run({.plant = "reactor"}).status().message(),
            "plant 'reactor': expected one of pump, compressor");
  EXPECT_EQ(PlantSimulator::Run({.plant = "compressor", .faults = {"rust"}}).status().message(),
            "fault 'rust' of plant 'compressor': expected one of surge, fouling, oil_leak, sensor_stuck");
  EXPECT_EQ(PlantSimulator::Run({.rows = 0}).status().message(), "rows: expected 1 to 10000000, got 0");
  EXPECT_EQ(PlantSimulator::Run({.missing_ratio = 1}).status().message(),
            "missing_ratio: expected a number in [0, 1), got 1");
}

}  // namespace
}  // namespace astray
