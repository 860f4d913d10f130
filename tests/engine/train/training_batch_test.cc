#include "engine/train/training_batch.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <vector>

namespace astray {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

Corruptor MakeCorruptor(const std::string& text, size_t width) {
  v1::Recipe recipe;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString("corruption { " + text + " }", &recipe));
  return *Corruptor::Create(recipe.corruption(), {.rows = 1, .features = width}, Random(1));
}

TEST(TrainingBatch, HoldsWhatWasPickedAndNothingInOtherSlots) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6}, observed = {1, 1, 1, 0, 1, 1};
  const VectorSet vectors(values, observed, 2, 1, {{0, 3}});
  TrainingBatch batch(3, 2);
  batch.Gather(vectors, std::vector<size_t>{2, 1});
  EXPECT_THAT(batch.target(), ElementsAre(5, 6, 3, 4, 0, 0));
  EXPECT_THAT(batch.input(), ElementsAre(5, 6, 3, 4, 0, 0));
  EXPECT_THAT(batch.observed(), ElementsAre(1, 1, 1, 0, 0, 0));
  EXPECT_EQ(batch.observed_count(), 3);
  batch.Gather(vectors, std::vector<size_t>{0, 2, 0});
  EXPECT_THAT(batch.target(), ElementsAre(1, 2, 5, 6, 1, 2));
  EXPECT_THAT(batch.observed(), IsEmpty()) << "all are";
  EXPECT_EQ(batch.observed_count(), 6);
}

TEST(TrainingBatch, CorruptsInputsOfWhatItHolds) {
  const std::vector<float> values(40, 1.0f), observed(40, 1.0f);
  const VectorSet vectors(values, observed, 4, 1, {{0, 10}});
  TrainingBatch batch(3, 4);
  batch.Gather(vectors, std::vector<size_t>{0, 1});
  Corruptor corruptor = MakeCorruptor("bit_flip { probability: 1 }", 4);
  batch.Corrupt(corruptor);
  EXPECT_THAT(batch.input(), Each(0.0f)) << "flipped, and the empty slot as it was";
  EXPECT_THAT(batch.target().first(8), Each(1.0f));
}

TEST(TrainingBatch, ATeamGathersTheSame) {
  std::vector<float> values(3000 * 50);
  Random(1).FillNormal(values);
  std::vector<float> observed(values.size(), 1.0f);
  observed[70 * 50] = 0;
  const VectorSet vectors(values, observed, 50, 1, {{0, 3000}});
  std::vector<size_t> picked;
  for (size_t i = 0; i < 2000; ++i) picked.push_back(i * 7 % 3000);
  TrainingBatch alone(2048, 50), together(2048, 50);
  ThreadTeam team(4);
  Corruptor first = MakeCorruptor("gaussian { sigma: 0.1 }", 50), second = MakeCorruptor("gaussian { sigma: 0.1 }", 50);
  alone.Gather(vectors, picked);
  alone.Corrupt(first);
  together.Gather(vectors, picked, &team);
  together.Corrupt(second, &team);
  EXPECT_TRUE(std::ranges::equal(alone.input(), together.input()));
  EXPECT_TRUE(std::ranges::equal(alone.target(), together.target()));
  EXPECT_TRUE(std::ranges::equal(alone.observed(), together.observed()));
  EXPECT_EQ(alone.observed_count(), together.observed_count());
}

}  // namespace
}  // namespace astray
