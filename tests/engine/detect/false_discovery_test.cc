#include "engine/detect/false_discovery.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "engine/base/random.h"

namespace astray {
namespace {

// By the definition, each k by counting.
std::vector<bool> ByDefinition(const std::vector<double>& p_values, double rate) {
  double cutoff = -1;
  const auto m = static_cast<double>(p_values.size());
  for (const double p : p_values) {
    const auto rank =
        static_cast<double>(std::count_if(p_values.begin(), p_values.end(), [&](double q) { return q <= p; }));
    if (p <= rate * rank / m + 1e-15) cutoff = std::max(cutoff, p);
  }
  std::vector<bool> selected;
  for (const double p : p_values) selected.push_back(p <= cutoff);
  return selected;
}

TEST(FalseDiscovery, SelectsWhatTheDefinitionDoes) {
  Random random(1);
  for (int trial = 0; trial < 500; ++trial) {
    std::vector<double> p_values(1 + random.UniformInt(60));
    // Of a calibration of 199 errors: many ties.
    for (double& p : p_values) p = static_cast<double>(1 + random.UniformInt(trial % 2 == 0 ? 200 : 9)) / 200;
    for (const double rate : {0.01, 0.1, 0.25, 0.9}) {
      const double cutoff = FalseDiscoveryCutoff(p_values, rate);
      const std::vector<bool> expected = ByDefinition(p_values, rate);
      for (size_t i = 0; i < p_values.size(); ++i) EXPECT_EQ(p_values[i] <= cutoff, expected[i]) << p_values[i];
    }
  }
}

TEST(FalseDiscovery, KnowsTheExampleOfThePaper) {
  // Benjamini & Hochberg 1995, section 4.1: 15 p-values, four selected at 0.05.
  const std::vector<double> p_values = {0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
                                        0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000};
  EXPECT_EQ(FalseDiscoveryCutoff(p_values, 0.05), 0.0095);
}

TEST(FalseDiscovery, SelectsNothingOfNothing) {
  EXPECT_EQ(FalseDiscoveryCutoff({}, 0.5), -1);
  EXPECT_EQ(FalseDiscoveryCutoff({0.9, 0.8}, 0.1), -1);
}

TEST(FalseDiscovery, KeepsItsRate) {
  // 900 normal rows and 100 with p-values of a shifted normal.
  Random random(2);
  double false_share = 0;
  constexpr int kTrials = 400;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<double> p_values;
    for (int i = 0; i < 1000; ++i) {
      const double z = random.Normal() + (i < 100 ? 3 : 0);
      p_values.push_back(std::erfc(z / std::sqrt(2.0)) / 2);
    }
    const double cutoff = FalseDiscoveryCutoff(p_values, 0.1);
    const auto selected = std::count_if(p_values.begin(), p_values.end(), [&](double p) { return p <= cutoff; });
    const auto wrong = std::count_if(p_values.begin() + 100, p_values.end(), [&](double p) { return p <= cutoff; });
    false_share += selected == 0 ? 0 : static_cast<double>(wrong) / static_cast<double>(selected);
  }
  EXPECT_NEAR(false_share / kTrials, 0.09, 0.012) << "rate times the share of normal rows, for independent ones";
}

}  // namespace
}  // namespace astray
