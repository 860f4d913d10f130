#include "engine/detect/error_ranks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace astray {
namespace {

// Largest distance between the sample's distribution and the uniform one, times the root of its size: above 1.95 in one
// of a thousand samples (Kolmogorov 1933).
double KolmogorovStatistic(std::vector<double> p) {
  std::sort(p.begin(), p.end());
  const auto n = static_cast<double>(p.size());
  double distance = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    distance = std::max({distance, p[i] - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - p[i]});
  }
  return distance * std::sqrt(n);
}

std::vector<float> Draw(size_t n, const std::function<float(Random&)>& error, Random& random) {
  std::vector<float> errors(n);
  for (float& e : errors) e = error(random);
  return errors;
}

ErrorRanks MakeRanks(const std::vector<float>& errors, double weight, uint64_t seed) {
  const auto at_least = [&](float x) {
    return static_cast<double>(std::count_if(errors.begin(), errors.end(), [x](float e) { return e >= x; }));
  };
  return {at_least, weight, seed};
}

float SquaredNormals(Random& random) {
  double sum = 0;
  for (int i = 0; i < 3; ++i) sum += std::pow(random.Normal(), 2);
  return static_cast<float>(sum / 3);
}

TEST(ErrorRanks, MatchCounting) {
  Random random(1), ties(9);
  const auto error = [](Random& r) { return static_cast<float>(r.UniformInt(40)) / 8; };  // a cell of its own each
  std::vector<float> seen = Draw(57, error, random);
  ErrorRanks ranks = MakeRanks(seen, 1, 9);
  for (int i = 0; i < 500; ++i) {
    const float next = error(random);
    const auto larger = std::count_if(seen.begin(), seen.end(), [&](float e) { return e > next; });
    const auto equal = std::count(seen.begin(), seen.end(), next);
    const double expected = (static_cast<double>(larger) + ties.Uniform() * static_cast<double>(1 + equal)) /
                            static_cast<double>(1 + seen.size());
    ASSERT_DOUBLE_EQ(ranks.Next(next), expected) << i;
    seen.push_back(next);
  }
}

TEST(ErrorRanks, OfExchangeableErrorsAreUniformAndIndependent) {
  struct Case {
    const char* name;
    std::function<float(Random&)> error;
  };
  for (const Case& c :
       {Case{"squared normals", SquaredNormals},
        Case{"within a few cells", [](Random& r) { return static_cast<float>(5 + 0.05 * r.Normal()); }},
        Case{"five values", [](Random& r) { return static_cast<float>(r.UniformInt(5)); }},
        Case{"mostly zero", [](Random& r) { return r.Uniform() < 0.9 ? 0.0f : SquaredNormals(r); }},
        Case{"past the grid", [](Random& r) { return static_cast<float>(std::exp(60 * r.Normal())); }}}) {
    SCOPED_TRACE(c.name);
    Random random(2);
    ErrorRanks ranks = MakeRanks(Draw(300, c.error, random), 1, 3);
    std::vector<double> p(20'000);
    for (double& next : p) next = ranks.Next(std::min(c.error(random), std::numeric_limits<float>::max()));
    EXPECT_LT(KolmogorovStatistic(p), 1.95);
    for (const size_t lag : {1, 2, 10}) {
      double covariance = 0;
      for (size_t i = lag; i < p.size(); ++i) covariance += (p[i] - 0.5) * (p[i - lag] - 0.5);
      EXPECT_LT(std::abs(12 * covariance / std::sqrt(static_cast<double>(p.size()))), 3.3) << lag;
    }
  }
}

// Only the tie-breaking and the online ranking make them so: against a fixed reference they keep its accidents.
TEST(ErrorRanks, AgainstAFixedReferenceWouldNotBeUniform) {
  Random random(4);
  const std::vector<float> reference = Draw(300, SquaredNormals, random);
  std::vector<double> p(20'000);
  for (double& next : p) {
    const float error = SquaredNormals(random);
    const auto larger = std::count_if(reference.begin(), reference.end(), [&](float e) { return e > error; });
    next = (static_cast<double>(larger) + random.Uniform()) / 301;
  }
  EXPECT_GT(KolmogorovStatistic(p), 1.95);
}

TEST(ErrorRanks, AWeightMakesErrorsCountForLess) {
  // Ten errors of a tenth are one.
  ErrorRanks ranks = MakeRanks(std::vector<float>(10, 1.0f), 0.1, 5);
  Random ties(5);
  EXPECT_NEAR(ranks.Next(0.5f), (1 + ties.Uniform()) / 2, 1e-12);
  EXPECT_NEAR(ranks.Next(2.0f), ties.Uniform() / 3, 1e-12);
}

}  // namespace
}  // namespace astray
