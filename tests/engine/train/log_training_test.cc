#include "engine/train/log_training.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "engine/train/recipe.h"
#include "engine/train/train_job.h"

namespace astray {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<LogTrainingData> ReadLines(const std::vector<std::string>& lines, const std::string& recipe_text,
                                          LogTraining::LeaveOut leave_out = {}) {
  v1::LogRecipe recipe;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(recipe_text, &recipe));
  auto training = LogTraining::Create(recipe, std::move(leave_out));
  if (!training.ok()) return training.status();
  for (const std::string& line : lines) (*training)->LearnTemplate(line);
  for (const std::string& line : lines) EXPECT_TRUE((*training)->AddToSession(line).ok());
  return (*training)->Finish();
}

std::vector<std::string> Jobs(int count) {
  std::vector<std::string> lines;
  for (int i = 0; i < count; ++i) {
    lines.push_back(absl::StrCat("job-", i, " starts"));
    for (int k = 0; k <= i % 3; ++k) lines.push_back(absl::StrCat("job-", i, " works on ", k * 7));
    lines.push_back(absl::StrCat("job-", i, " ends"));
  }
  return lines;
}

TEST(LogTraining, SessionsBecomeRows) {
  const auto data =
      *ReadLines({"job-1 starts", "x", "job-2 starts", "job-1 ends", "job-2 ends"}, "session_pattern: 'job-[0-9]+'");
  EXPECT_THAT(data.rows.feature_names, ElementsAre("t0", "t2", "unseen", "^>t0", "t0>t2", "t2>$", "unseen_pairs"));
  EXPECT_THAT(data.rows.values, ElementsAre(1, 1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0));
  EXPECT_THAT(data.rows.timestamps, testing::IsEmpty());
  EXPECT_EQ(data.lines, 5u);
  EXPECT_EQ(data.lines_without_session, 1u);
  EXPECT_EQ(data.log->Example(2), "job-1 ends");
}

TEST(LogTraining, TemplatesAreThoseOfTheWholeFile) {
  // The first line's template is known to have a wildcard only when the others were read.
  std::vector<std::string> lines;
  for (const char* user : {"ann", "bob", "cid"}) {
    lines.push_back(absl::StrCat("one two three four five six seven eight nine ", user));
  }
  const auto data = *ReadLines(lines, "window_lines: 1");
  EXPECT_THAT(data.rows.feature_names, ElementsAre("t0", "unseen", "unseen_pairs"));
  EXPECT_EQ(data.log->TemplateText(0), "one two three four five six seven eight nine <*>");
}

TEST(LogTraining, RowsAreThoseOfServingButForWhatNoOtherSessionHas) {
  std::vector<std::string> lines = Jobs(50);
  lines.insert(lines.begin() + 1, "job-0 complains");
  const auto data = *ReadLines(lines, "session_pattern: 'job-[0-9]+'");
  LogSessions sessions(data.log.get());
  std::vector<LogSession> closed;
  for (const std::string& line : lines) sessions.Add(line, &closed);
  sessions.Flush(&closed);
  ASSERT_EQ(closed.size(), data.rows.rows());
  std::vector<float> row(data.log->features());
  for (size_t i = 0; i < closed.size(); ++i) {
    data.log->Apply(closed[i].events, row);
    const std::vector<float> trained(data.rows.row(i).begin(), data.rows.row(i).end());
    EXPECT_EQ(trained == row, i > 0) << i;
  }
}

TEST(LogTraining, LeavesOutWhatItIsToldTo) {
  const auto data = *ReadLines(Jobs(50), "session_pattern: 'job-[0-9]+'",
                               [](const std::string& key) { return key == "job-3" || key == "job-4"; });
  EXPECT_EQ(data.rows.rows(), 48u);
  EXPECT_EQ(data.sessions_left_out, 2u);
  EXPECT_THAT(std::string(ReadLines(Jobs(5), "session_pattern: 'job-[0-9]+'", [](const std::string&) { return true; })
                              .status()
                              .message()),
              HasSubstr("expected lines that belong to sessions, got none in 19 lines and 5 sessions labelled"));
}

TEST(LogTraining, ARecipeOfALogTrainsOnItsRowsOnly) {
  const auto data = *ReadLines(Jobs(100), "session_pattern: 'job-[0-9]+'");
  auto recipe = *ParseRecipe("name: 'm' features { log { session_pattern: 'job-[0-9]+' } } training { max_steps: 20 }",
                             "r.textproto");
  const auto trained = Train(recipe, data.rows, {}, "", data.log);
  ASSERT_TRUE(trained.ok()) << trained.status();
  const v1::FeaturesRecipe& features = trained->detector->model().recipe.features();
  EXPECT_EQ(features.scaling(), v1::LOG1P);
  EXPECT_EQ(features.window(), 1u);
  EXPECT_EQ(features.log().max_pairs(), 512u) << "every field is filled in";
  EXPECT_EQ(trained->detector->model().recipe.corruption(1).feature_swap().probability(), 0.1f);
  EXPECT_EQ(trained->detector->model().pipeline.log(), data.log.get());
  EXPECT_THAT(std::string(Train(recipe, data.rows, {}).status().message()), HasSubstr("features.log"));
  recipe.mutable_features()->clear_log();
  EXPECT_THAT(std::string(Train(recipe, data.rows, {}, "", data.log).status().message()), HasSubstr("features.log"));
  recipe.mutable_features()->mutable_log();
  recipe.mutable_features()->mutable_sequence()->set_kmer_letters(2);
  EXPECT_TRUE(absl::IsInvalidArgument(Train(recipe, data.rows, {}, "", data.log).status()));
}

}  // namespace
}  // namespace astray
