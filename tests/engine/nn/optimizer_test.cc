#include "engine/nn/optimizer.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cmath>
#include <string>
#include <vector>

#include "engine/base/random.h"

namespace astray {
namespace {

constexpr size_t kCount = 37;

// 100 steps with random gradients; `expected` is the update rule in double precision.
template <typename Rule>
void ExpectFollows(const v1::TrainingRecipe& recipe, Rule rule) {
  auto optimizer = Optimizer::Create(recipe, kCount);
  ASSERT_TRUE(optimizer.ok()) << optimizer.status();
  Random random(9);
  std::vector<float> parameters(kCount), gradient(kCount);
  random.FillNormal(parameters);
  std::vector<double> expected(parameters.begin(), parameters.end());
  for (int t = 1; t <= 100; ++t) {
    random.FillNormal(gradient);
    optimizer->Step(gradient, parameters);
    for (size_t i = 0; i < kCount; ++i) rule(t, i, gradient[i], expected[i]);
  }
  for (size_t i = 0; i < kCount; ++i) EXPECT_NEAR(parameters[i], expected[i], 2e-5);
  EXPECT_EQ(optimizer->steps(), 100u);
}

TEST(Optimizer, SgdWithMomentumFollowsItsFormula) {
  v1::TrainingRecipe recipe;
  recipe.mutable_sgd()->set_learning_rate(0.01f);
  recipe.mutable_sgd()->set_momentum(0.9f);
  std::vector<double> velocity(kCount);
  ExpectFollows(recipe, [&](int, size_t i, double g, double& p) {
    velocity[i] = double{0.9f} * velocity[i] + g;
    p -= double{0.01f} * velocity[i];
  });
}

void ExpectAdam(double weight_decay) {
  v1::TrainingRecipe recipe;
  recipe.mutable_adam()->set_learning_rate(0.01f);
  recipe.mutable_adam()->set_weight_decay(static_cast<float>(weight_decay));
  const double rate = 0.01f, decay = static_cast<float>(weight_decay), beta1 = 0.9, beta2 = 0.999;
  std::vector<double> m(kCount), v(kCount);
  ExpectFollows(recipe, [&](int t, size_t i, double g, double& p) {
    m[i] = beta1 * m[i] + (1 - beta1) * g;
    v[i] = beta2 * v[i] + (1 - beta2) * g * g;
    p -= rate * decay * p;
    p -= rate * (m[i] / (1 - std::pow(beta1, t))) / (std::sqrt(v[i] / (1 - std::pow(beta2, t))) + 1e-8);
  });
}

// The parameters after some steps, over several chunks.
std::vector<float> Stepped(const std::string& recipe_text, ThreadTeam* team) {
  v1::TrainingRecipe recipe;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(recipe_text, &recipe));
  constexpr size_t kMany = 50003;
  Optimizer optimizer = *Optimizer::Create(recipe, kMany);
  Random random(5);
  std::vector<float> parameters(kMany), gradient(kMany);
  random.FillNormal(parameters);
  for (int t = 0; t < 5; ++t) {
    random.FillNormal(gradient);
    optimizer.Step(gradient, parameters, team);
  }
  return parameters;
}

TEST(Optimizer, TeamsAndEveryKindOfVectorGiveTheSameBytes) {
  for (const std::string recipe : {"adam { weight_decay: 0.1 }", "sgd { learning_rate: 0.1 momentum: 0.5 }"}) {
    const std::vector<float> alone = Stepped(recipe, nullptr);
    for (int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
      hwy::SetSupportedTargetsForTest(left & -left);
      EXPECT_EQ(Stepped(recipe, nullptr), alone) << hwy::TargetName(left & -left);
    }
    hwy::SetSupportedTargetsForTest(0);
    ThreadTeam team(3);
    EXPECT_EQ(Stepped(recipe, &team), alone);
  }
  ThreadTeam team(3);
  EXPECT_EQ(Stepped("adam {} clip_norm: 1", &team), Stepped("adam {} clip_norm: 1", nullptr));
}

TEST(Optimizer, MomentsOfAParameterThatRestsBecomeZero) {
  for (const std::string text : {"adam {}", "sgd { learning_rate: 0.1 momentum: 0.9 }"}) {
    v1::TrainingRecipe recipe;
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &recipe));
    Optimizer optimizer = *Optimizer::Create(recipe, 3);
    std::vector<float> parameters(3, 1.0f);
    optimizer.Step(std::vector<float>(3, 1e-10f), parameters);
    for (int t = 0; t < 1500; ++t) optimizer.Step(std::vector<float>(3, 0.0f), parameters);
    EXPECT_THAT(optimizer.first_moment(), ::testing::Each(0.0f)) << "not denormal";
  }
}

TEST(Optimizer, AdamFollowsItsFormula) { ExpectAdam(0); }
TEST(Optimizer, AdamWDecaysWeightsApartFromTheGradient) { ExpectAdam(0.1); }

TEST(Optimizer, WarmUpRisesAndCosineFallsToZero) {
  v1::TrainingRecipe recipe;
  recipe.mutable_sgd()->set_learning_rate(0.5f);
  recipe.set_warmup_steps(4);
  recipe.set_max_steps(20);
  recipe.set_schedule(v1::COSINE);
  auto optimizer = *Optimizer::Create(recipe, 1);
  std::vector<float> parameter = {0};
  double expected = 0;
  for (int t = 0; t < 20; ++t) {
    const double warm_up = t < 4 ? (t + 1) / 4.0 : 1;
    EXPECT_NEAR(optimizer.rate_factor(), warm_up * (1 + std::cos(M_PI * t / 20)) / 2, 1e-12) << t;
    expected -= 0.5 * optimizer.rate_factor();
    optimizer.Step(std::vector<float>{1}, parameter);
    EXPECT_NEAR(parameter[0], expected, 1e-5);
  }
  EXPECT_NEAR(optimizer.rate_factor(), 0, 1e-12);
}

TEST(Optimizer, ALongGradientIsScaledDownAndAShortOneIsNot) {
  v1::TrainingRecipe recipe;
  recipe.mutable_sgd()->set_learning_rate(1);
  recipe.set_clip_norm(2);
  auto optimizer = *Optimizer::Create(recipe, 2);
  std::vector<float> parameters = {0, 0};
  optimizer.Step(std::vector<float>{30, -40}, parameters);
  EXPECT_NEAR(parameters[0], -1.2, 1e-6);
  EXPECT_NEAR(parameters[1], 1.6, 1e-6);
  optimizer.Step(std::vector<float>{0.6f, 0.8f}, parameters);
  EXPECT_NEAR(parameters[0], -1.8, 1e-6);
  EXPECT_NEAR(parameters[1], 0.8, 1e-6);
  recipe.set_clip_norm(-1);
  EXPECT_EQ(Optimizer::Create(recipe, 1).status().message(),
            "training.clip_norm: expected a number above 0, or 0 for none, got -1");
}

TEST(Optimizer, AdamClipsItsMomentsToo) {
  v1::TrainingRecipe recipe;
  recipe.set_clip_norm(3);
  recipe.mutable_adam()->set_learning_rate(0.01f);
  auto clipped = *Optimizer::Create(recipe, 1);
  recipe.set_clip_norm(0);
  auto plain = *Optimizer::Create(recipe, 1);
  std::vector<float> a = {0}, b = {0};
  for (const float g : {1.0f, 100.0f, -2.0f}) {
    clipped.Step(std::vector<float>{g}, a);
    plain.Step(std::vector<float>{std::min(g, 3.0f)}, b);
  }
  EXPECT_FLOAT_EQ(a[0], b[0]);
}

TEST(Optimizer, NamesTheFieldThatIsOutOfRange) {
  v1::TrainingRecipe recipe;
  recipe.mutable_adam()->set_learning_rate(-1);
  EXPECT_EQ(Optimizer::Create(recipe, 1).status().message(),
            "training.adam.learning_rate: expected a positive number, got -1");
  recipe.mutable_adam()->set_learning_rate(0.1f);
  recipe.mutable_adam()->set_beta1(1);
  EXPECT_EQ(Optimizer::Create(recipe, 1).status().message(), "training.adam.beta1: expected a number in [0, 1), got 1");
  recipe.mutable_adam()->set_beta1(0.9f);
  recipe.mutable_adam()->set_weight_decay(-0.5f);
  EXPECT_EQ(Optimizer::Create(recipe, 1).status().message(),
            "training.adam.weight_decay: expected a number in [0, 1 / learning_rate), got -0.5");
  recipe.mutable_sgd()->set_learning_rate(0);
  EXPECT_EQ(Optimizer::Create(recipe, 1).status().message(),
            "training.sgd.learning_rate: expected a positive number, got 0");
}

}  // namespace
}  // namespace astray
