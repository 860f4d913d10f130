// What single vectors get is in score_kind_test.cc; here, that many get the same.
#include "engine/detect/error_formula.h"

#include <gtest/gtest.h>

#include <bit>
#include <numeric>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "engine/detect/score_kind.h"
#include "engine/detect/score_scale.h"
#include "tests/testing/each_target.h"

namespace astray {
namespace {

constexpr v1::ScoreKind kKinds[] = {v1::MEAN_SQUARED,  v1::FEATURE_NORMALISED, v1::WORST_FEATURE, v1::WINDOW_NORMALISED,
                                    v1::WINDOW_SCALES, v1::MAHALANOBIS,        v1::TRAINING_LOSS};

bool SameBits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

TEST(ErrorFormula, AnErrorHasTheSameBitsAmongOthersAloneAndExplained) {
  constexpr size_t kFeatures = 11, kWindow = 9, kWidth = kFeatures * kWindow, kCount = 60;
  std::vector<float> input(kCount * kWidth), output(input.size()), observed(input.size(), 1.0f);
  std::vector<uint32_t> missing(kCount);
  Random random(3);
  random.FillNormal(input);
  random.FillNormal(output);
  const Rebuilt held = {input, output, observed};
  for (const v1::ScoreKind kind : kKinds) {
    for (const auto& [recent, t_squared] : {std::pair{0u, 0u}, std::pair{4u, 0u}, std::pair{0u, 2u}}) {
      v1::ScoreRecipe recipe;
      recipe.set_kind(kind);
      recipe.set_recent_rows(recent);
      recipe.set_t_squared_rows(t_squared);
      std::ranges::fill(observed, 1.0f);
      auto scale = FitScoreScale(recipe, kFeatures, kWidth, held);
      ASSERT_TRUE(scale.ok()) << scale.status();
      if (kind == v1::TRAINING_LOSS) scale->set_loss(v1::HUBER);
      for (size_t i = 0; i < kCount; ++i) {
        for (size_t j = 0; j < kWidth; ++j) {
          observed[i * kWidth + j] = i == 7 || (i % 3 == 1 && random.Uniform() < 0.4) ? 0.0f : 1.0f;
        }
        const auto begin = observed.begin() + static_cast<std::ptrdiff_t>(i * kWidth);
        missing[i] = static_cast<uint32_t>(std::count(begin, begin + kWidth, 0.0f));
      }
      const ErrorFormula formula(*scale);
      RebuiltVectors all = {.count = kCount,
                            .width = kWidth,
                            .outputs = kWidth,
                            .input = input.data(),
                            .output = output.data(),
                            .observed = observed.data(),
                            .missing = missing.data()};
      ErrorFormula::Scratch scratch;
      std::vector<float> first;
      OnEachTarget([&] {
        std::vector<float> errors(kCount);
        formula.Errors(all, &scratch, errors);
        if (first.empty()) first = errors;
        EXPECT_TRUE(std::isnan(errors[7]));
        for (size_t i = 0; i < kCount; ++i) {
          ASSERT_TRUE(SameBits(errors[i], first[i])) << v1::ScoreKind_Name(kind) << " " << i;
          RebuiltVectors one = {.count = 1,
                                .width = kWidth,
                                .outputs = kWidth,
                                .input = input.data() + i * kWidth,
                                .output = output.data() + i * kWidth,
                                .observed = observed.data() + i * kWidth};
          float alone = 0;
          formula.Errors(one, &scratch, std::span(&alone, 1));
          ASSERT_TRUE(SameBits(alone, errors[i])) << v1::ScoreKind_Name(kind) << " " << i;
          std::vector<float> parts(kFeatures);
          ASSERT_TRUE(SameBits(formula.Explain(one, &scratch, parts).error, errors[i])) << v1::ScoreKind_Name(kind);
          if (i == 7) continue;
          EXPECT_NEAR(std::accumulate(parts.begin(), parts.end(), 0.0), errors[i], 1e-5 * errors[i])
              << v1::ScoreKind_Name(kind);
        }
      });
    }
  }
}

}  // namespace
}  // namespace astray
