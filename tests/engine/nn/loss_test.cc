#include "engine/nn/loss.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cmath>
#include <vector>

#include "tests/testing/reference_network.h"

namespace astray {
namespace {

// scipy 1.10: nbinom.logpmf(k, d, d / (d + m)), with a share p of extra zeros by hand.
TEST(Loss, OfCountsIsTheNegativeLogLikelihood) {
  const std::vector<float> z = {std::log(3.0f), std::log(2.0f), std::log(0.25f / 0.75f)};
  const auto loss = [&](double count) {
    return SumOfLosses(v1::ZERO_INFLATED_NEGATIVE_BINOMIAL, z,
                       std::vector<float>{static_cast<float>(std::log1p(count))}, {}, 1, {});
  };
  // d = 2, m = 3: NB(0) = (2/5)² = 0.16, NB(4) = 5 (2/5)² (3/5)⁴ = 0.10368.
  EXPECT_NEAR(loss(0), -std::log(0.25 + 0.75 * 0.16), 1e-6);
  EXPECT_NEAR(loss(4), -std::log(0.75 * 0.10368), 1e-6);
  double total = 0;
  for (int k = 0; k < 400; ++k) total += std::exp(-loss(k));
  EXPECT_NEAR(total, 1, 1e-4) << "probabilities of all counts";
}

TEST(Loss, AsAScoreIsTheLossOfTraining) {
  for (const v1::Loss loss :
       {v1::MEAN_SQUARED_ERROR, v1::BINARY_CROSS_ENTROPY, v1::HUBER, v1::ZERO_INFLATED_NEGATIVE_BINOMIAL}) {
    const size_t heads = loss == v1::ZERO_INFLATED_NEGATIVE_BINOMIAL ? 3 : 1;
    std::vector<float> z(4 * heads), target = {0.0f, 0.3f, 0.9f, 1.0f};
    Random random(3);
    random.FillNormal(z);
    if (heads == 3) target = {0.0f, std::log1p(1.0f), std::log1p(7.0f), std::log1p(40.0f)};
    std::vector<float> output = z;
    for (size_t j = 0; j < 4; ++j) {
      if (loss == v1::BINARY_CROSS_ENTROPY) output[j] = 1 / (1 + std::exp(-z[j]));
      if (heads == 3) output[j] = std::log1p(std::exp(z[j]));
    }
    double sum = 0;
    for (size_t j = 0; j < 4; ++j) sum += LossAt(loss, output, j, target[j]);
    EXPECT_NEAR(sum, SumOfLosses(loss, z, target, {}, 1, {}), 1e-4) << v1::Loss_Name(loss);
  }
}

// The sum and the slopes, in double precision, for every kind of vector and over several blocks.
TEST(Loss, OfManyValuesIsTheFormula) {
  constexpr size_t kCount = 2500;
  std::vector<float> z(kCount), target(kCount), observed(kCount);
  Random(1).FillNormal(z);
  Random(2).FillUniform(target);
  Random(3).FillUniform(observed);
  for (float& o : observed) o = o < 0.7f ? 1.0f : 0.0f;
  for (int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
    hwy::SetSupportedTargetsForTest(left & -left);
    for (const v1::Loss loss : {v1::MEAN_SQUARED_ERROR, v1::HUBER, v1::BINARY_CROSS_ENTROPY}) {
      for (const bool masked : {false, true}) {
        std::vector<float> slopes(kCount);
        const std::span<const float> mask = masked ? observed : std::span<const float>();
        const double sum = SumOfLosses(loss, z, target, mask, 0.5f, slopes);
        EXPECT_EQ(SumOfLosses(loss, z, target, mask, 0.5f, {}), sum);
        double expected = 0;
        for (size_t i = 0; i < kCount; ++i) {
          const double r = double{z[i]} - target[i], weight = masked ? observed[i] : 1, size = std::abs(r);
          double value = r * r, slope = 2 * r;
          if (loss == v1::HUBER) {
            value = size <= 1 ? r * r / 2 : size - 0.5;
            slope = size <= 1 ? r : r > 0 ? 1 : -1;
          } else if (loss == v1::BINARY_CROSS_ENTROPY) {
            const double sigmoid = 1 / (1 + std::exp(-double{z[i]}));
            value = -(target[i] * std::log(sigmoid) + (1 - target[i]) * std::log(1 - sigmoid));
            slope = sigmoid - target[i];
          }
          expected += weight * value;
          ASSERT_NEAR(slopes[i], weight * 0.5 * slope, 1e-6) << i;
        }
        EXPECT_NEAR(sum, expected, 1e-6 * expected) << v1::Loss_Name(loss) << hwy::TargetName(left & -left);
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(Loss, StaysFiniteAtTheExtremes) {
  for (const float extreme : {-1e4f, -80.0f, 0.0f, 80.0f, 1e4f}) {
    for (const float target : {-1e4f, 0.0f, 1.0f, 1e4f}) {
      for (const v1::Loss loss :
           {v1::MEAN_SQUARED_ERROR, v1::BINARY_CROSS_ENTROPY, v1::HUBER, v1::ZERO_INFLATED_NEGATIVE_BINOMIAL}) {
        const std::vector<float> z = {extreme, -extreme, extreme};
        std::vector<float> slopes(3);
        const size_t outputs = loss == v1::ZERO_INFLATED_NEGATIVE_BINOMIAL ? 3 : 1;
        EXPECT_TRUE(std::isfinite(SumOfLosses(loss, std::span(z).first(outputs), std::vector<float>{target}, {}, 1,
                                              std::span(slopes).first(outputs))));
        for (const float slope : slopes) EXPECT_TRUE(std::isfinite(slope));
        const std::vector<float> output = {std::max(extreme, 0.0f), -extreme, extreme};
        EXPECT_TRUE(std::isfinite(LossAt(loss, std::span(output).first(outputs), 0, target)));
      }
    }
  }
}

}  // namespace
}  // namespace astray
