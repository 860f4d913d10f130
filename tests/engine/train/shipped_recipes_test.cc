// Every recipe in deploy/recipes trains on data of its kind: as it stands but for the number of steps.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <map>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "engine/features/sequence.h"
#include "engine/train/log_training.h"
#include "engine/train/recipe.h"
#include "engine/train/train_job.h"

namespace astray {
namespace {

Dataset Make(size_t rows, size_t features, const std::function<double(size_t row, size_t feature, Random&)>& value) {
  Dataset data;
  for (size_t j = 0; j < features; ++j) data.feature_names.push_back("c" + std::to_string(j));
  Random random(1);
  for (size_t i = 0; i < rows; ++i) {
    for (size_t j = 0; j < features; ++j) data.values.push_back(static_cast<float>(value(i, j, random)));
  }
  return data;
}

Dataset Sensors() {
  Dataset data = Make(600, 8, [](size_t i, size_t j, Random& random) {
    return std::sin(0.1 * static_cast<double>(i) + static_cast<double>(j)) + 0.1 * random.Normal();
  });
  data.timestamps.assign(data.rows(), "t");
  return data;
}

Dataset Counts() {
  return Make(400, 12, [](size_t i, size_t j, Random& random) {
    return random.Uniform() < 0.3 ? 0.0 : std::floor(static_cast<double>((i * 7 + j) % 13) * 2 * random.Uniform());
  });
}

// A bar at a place of its own in each image of `side` x `side` pixels.
Dataset Images(size_t side) {
  return Make(200, side * side, [side](size_t i, size_t j, Random&) {
    return (j % side + j / side * (i % 3)) % side == i % side ? 16.0 : 0.0;
  });
}

Dataset Letters() {
  Dataset data =
      Make(200, 1024, [](size_t i, size_t j, Random&) { return (j / 4 * (1 + i % 5)) % 7 % 4 == j % 4 ? 1.0 : 0.0; });
  data.feature_names = OneHot::Create(256)->Places();
  return data;
}

// Blocks that are allocated, received and deleted, their lines in turn.
LogTrainingData Blocks(const v1::LogRecipe& recipe) {
  const auto training = *LogTraining::Create(recipe);
  std::vector<std::string> lines;
  for (int block = 0; block < 400; block += 4) {
    for (const char* event : {"allocated", "received", "checked", "deleted"}) {
      for (int i = 0; i < 4; ++i) lines.push_back(absl::StrCat("081109 203615 148 INFO blk_", block + i, " ", event));
    }
  }
  for (const std::string& line : lines) training->LearnTemplate(line);
  for (const std::string& line : lines) EXPECT_TRUE(training->AddToSession(line).ok());
  return *training->Finish();
}

TEST(ShippedRecipes, EachTrainsOnDataOfItsKind) {
  const std::map<std::string, std::function<Dataset()>> kinds = {{"image", [] { return Images(8); }},
                                                                 {"mnist", [] { return Images(28); }},
                                                                 {"counts", Counts},
                                                                 {"letters", Letters}};
  size_t recipes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator("deploy/recipes")) {
    if (!entry.is_regular_file()) continue;
    auto recipe = ReadRecipe(entry.path().string());
    ASSERT_TRUE(recipe.ok()) << recipe.status();
    recipe->mutable_training()->set_max_steps(20);
    recipe->mutable_training()->set_steps_per_validation(10);
    if (recipe->training().has_pretraining()) recipe->mutable_training()->mutable_pretraining()->set_steps(10);
    const auto kind = kinds.find(entry.path().stem().string());
    LogTrainingData log;
    if (recipe->features().has_log()) log = Blocks(recipe->features().log());
    const auto trained = log.log != nullptr ? Train(*recipe, log.rows, {}, "", log.log)
                                            : Train(*recipe, kind == kinds.end() ? Sensors() : kind->second(), {});
    ASSERT_TRUE(trained.ok()) << entry.path() << ": " << trained.status();
    EXPECT_EQ(trained->report.steps(), 20u);
    EXPECT_LT(trained->report.losses(1).validation(), 1e3) << entry.path();
    EXPECT_EQ(recipe->name(), entry.path().stem()) << "a recipe is called what its file is";
    ++recipes;
  }
  EXPECT_GE(recipes, 11u);
}

}  // namespace
}  // namespace astray
