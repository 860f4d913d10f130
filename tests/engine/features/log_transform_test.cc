#include "engine/features/log_transform.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "engine/base/random.h"
#include "engine/features/log_vocabulary.h"

namespace astray {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Sessions = std::vector<std::vector<uint32_t>>;

v1::LogRecipe Recipe(bool pairs = true, uint32_t max_pairs = 512) {
  v1::LogRecipe recipe;
  recipe.set_session_pattern("s[0-9]+");
  recipe.set_pairs(pairs);
  recipe.set_max_pairs(max_pairs);
  return LogRules::Create(recipe)->recipe();
}

// Templates of one word of letters each.
TemplateMiner Miner(size_t templates) {
  TemplateMiner miner;
  for (size_t id = 0; id < templates; ++id) {
    std::string word = "w";
    for (size_t i = id; i > 0; i /= 26) word += static_cast<char>('a' + i % 26);
    EXPECT_EQ(miner.Learn(word + " event"), id);
  }
  return miner;
}

LogTransform Transform(const Sessions& sessions, size_t templates, const v1::LogRecipe& recipe = Recipe()) {
  return *LogTransform::FromState(
      LearnLogVocabulary(recipe, Miner(templates), std::vector<std::string>(templates, "example"), sessions));
}

std::vector<float> Apply(const LogTransform& log, const std::vector<uint32_t>& events, bool training = false) {
  std::vector<float> row(log.features(), 7);
  training ? log.ApplyToTraining(events, row) : log.Apply(events, row);
  return row;
}

TEST(LogTransform, CountsTemplatesAndPairs) {
  const LogTransform log = Transform({{0, 1, 1}, {0, 1, 1}, {0, 2}}, 4);
  EXPECT_THAT(log.FeatureNames(), ElementsAre("t0", "t1", "unseen", "^>t0", "t0>t1", "t1>$", "t1>t1", "unseen_pairs"));
  EXPECT_THAT(Apply(log, {0, 1, 1, 1}), ElementsAre(1, 3, 0, 1, 1, 1, 2, 0));
  EXPECT_THAT(Apply(log, {1, 0}), ElementsAre(1, 1, 0, 0, 0, 0, 0, 3)) << "^>t1, t1>t0 and t0>$ are new";
  EXPECT_THAT(Apply(log, {0, kUnknownEvent, 99}), ElementsAre(1, 0, 2, 1, 0, 0, 0, 3)) << "of no template";
  EXPECT_THAT(Apply(log, {0, 2}), ElementsAre(1, 0, 0, 1, 0, 0, 0, 0)) << "one session had t2: known, without a column";
  EXPECT_THAT(Apply(log, {}), ElementsAre(0, 0, 0, 0, 0, 0, 0, 0));
}

TEST(LogTransform, NamesTheTemplatesOfItsFeatures) {
  const LogTransform log = Transform({{0, 1, 1}, {0, 1, 1}, {0, 2}}, 4);
  EXPECT_THAT(log.TemplatesOf(1), ElementsAre(1));
  EXPECT_THAT(log.TemplatesOf(2), ElementsAre()) << "unseen";
  EXPECT_THAT(log.TemplatesOf(3), ElementsAre(0)) << "^>t0";
  EXPECT_THAT(log.TemplatesOf(4), ElementsAre(0, 1));
  EXPECT_THAT(log.TemplatesOf(7), ElementsAre()) << "unseen_pairs";
  EXPECT_EQ(log.TemplateText(1), "wb event");
  EXPECT_EQ(log.Example(1), "example");
}

TEST(LogTransform, EventIsTheTemplateOfATrainingSession) {
  const LogTransform log = Transform({{0, 1}, {0, 1}, {2}}, 4);
  EXPECT_EQ(log.Event("wb event"), 1u);
  EXPECT_EQ(log.Event("wc event"), 2u);
  EXPECT_EQ(log.Event("wd event"), std::nullopt) << "t3's lines were of no training session";
  EXPECT_EQ(log.Event("something else"), std::nullopt);
}

// What the declaration says, said again with sets.
std::vector<float> Reference(const LogTransform& log, const std::vector<uint32_t>& events,
                             const std::set<std::string>& known) {
  std::map<std::string, float> counts;
  const auto name = [](uint32_t event) { return event == kUnknownEvent ? "?" : "t" + std::to_string(event); };
  std::string previous = "^";
  for (const uint32_t event : events) {
    ++counts[known.contains(name(event)) ? name(event) : "unseen"];
    const std::string pair = previous + ">" + name(event);
    ++counts[known.contains(pair) ? pair : "unseen_pairs"];
    previous = name(event);
  }
  if (!events.empty()) ++counts[known.contains(previous + ">$") ? previous + ">$" : "unseen_pairs"];
  std::vector<float> row;
  for (const std::string& feature : log.FeatureNames()) row.push_back(counts[feature]);
  return row;
}

std::set<std::string> Vocabulary(const Sessions& sessions, size_t left_out) {
  std::set<std::string> known;
  for (size_t i = 0; i < sessions.size(); ++i) {
    if (i == left_out) continue;
    std::string previous = "^";
    for (const uint32_t event : sessions[i]) {
      const std::string name = "t" + std::to_string(event);
      known.insert(name);
      known.insert(previous + ">" + name);
      previous = name;
    }
    if (!sessions[i].empty()) known.insert(previous + ">$");
  }
  return known;
}

Sessions RandomSessions(size_t count, size_t templates) {
  Random random(3);
  Sessions sessions(count);
  for (auto& session : sessions) {
    const auto length = static_cast<size_t>(random.Uniform() * 12);
    for (size_t i = 0; i < length; ++i) {
      const double u = random.Uniform();
      session.push_back(static_cast<uint32_t>(u * u * u * static_cast<double>(templates)));  // few of them often
    }
  }
  return sessions;
}

TEST(LogTransform, IsTheReferenceOnAnySession) {
  const Sessions sessions = RandomSessions(60, 30);
  const LogTransform log = Transform(sessions, 30);
  const auto known = Vocabulary(sessions, sessions.size());
  for (std::vector<uint32_t> events : RandomSessions(200, 35)) {
    for (uint32_t& event : events) event = event >= 30 || !log.Event(log.TemplateText(event)) ? kUnknownEvent : event;
    ASSERT_EQ(Apply(log, events), Reference(log, events, known));
  }
}

TEST(LogTransform, ATrainingSessionIsSeenAsTheOthersWouldSeeIt) {
  const Sessions sessions = RandomSessions(60, 30);
  const LogTransform log = Transform(sessions, 30);
  float unseen = 0;
  for (size_t i = 0; i < sessions.size(); ++i) {
    const std::vector<float> row = Apply(log, sessions[i], true);
    ASSERT_EQ(row, Reference(log, sessions[i], Vocabulary(sessions, i))) << i;
    unseen += row.back();
  }
  EXPECT_GT(unseen, 10) << "or this shows nothing";
}

TEST(LogTransform, ColumnsAreOfThePairsThatMostSessionsHave) {
  const Sessions sessions = {{0, 1}, {0, 1}, {0, 1}, {0, 2}, {0, 2}};
  const LogTransform log = Transform(sessions, 3, Recipe(true, 3));
  EXPECT_THAT(log.FeatureNames(), ElementsAre("t0", "t1", "t2", "unseen", "^>t0", "t0>t1", "t1>$", "unseen_pairs"));
  EXPECT_THAT(Apply(log, {0, 2}), ElementsAre(1, 0, 1, 0, 1, 0, 0, 0)) << "what the cap left out is not unseen";
  EXPECT_THAT(Transform(sessions, 3, Recipe(false)).FeatureNames(), ElementsAre("t0", "t1", "t2", "unseen"));
}

TEST(LogTransform, WindowsHaveNoBorders) {
  v1::LogRecipe recipe;
  recipe.set_window_lines(3);
  const LogTransform log = Transform({{0, 1, 1}, {0, 1, 1}}, 2, LogRules::Create(recipe)->recipe());
  EXPECT_THAT(log.FeatureNames(), ElementsAre("t0", "t1", "unseen", "t0>t1", "t1>t1", "unseen_pairs"));
}

TEST(LogTransform, ItsStateIsReadBackAsItWas) {
  const Sessions sessions = RandomSessions(60, 30);
  const LogTransform log = Transform(sessions, 30);
  const LogTransform again = *LogTransform::FromState(log.state());
  EXPECT_EQ(again.state().SerializeAsString(), log.state().SerializeAsString());
  EXPECT_EQ(again.FeatureNames(), log.FeatureNames());
  for (const auto& events : sessions) EXPECT_EQ(Apply(again, events), Apply(log, events));
}

TEST(LogTransform, RefusesAStateThatCannotBe) {
  const v1::LogState good = Transform({{0, 1, 1}, {0, 1, 1}, {0, 2}}, 4).state();
  const auto refusal = [&](auto change) {
    v1::LogState state = good;
    change(&state);
    const auto log = LogTransform::FromState(std::move(state));
    EXPECT_TRUE(absl::IsInvalidArgument(log.status()));
    return std::string(log.status().message());
  };
  using State = v1::LogState*;
  EXPECT_THAT(refusal([](State s) { s->clear_templates(); }), HasSubstr("templates: expected 1 to 100000, got 0"));
  EXPECT_THAT(refusal([](State s) { s->mutable_recipe()->set_session_pattern("("); }), HasSubstr("session_pattern"));
  EXPECT_THAT(refusal([](State s) { s->mutable_templates(2)->set_text("two  blanks"); }),
              HasSubstr("log: template 2: text: expected at most 257 words"));
  EXPECT_THAT(refusal([](State s) { s->mutable_templates(2)->set_text(" a"); }), HasSubstr("template 2: text"));
  EXPECT_THAT(refusal([](State s) { s->mutable_templates(0)->set_text(std::string(40'000, 'a')); }),
              HasSubstr("template 0: text"));
  EXPECT_THAT(refusal([](State s) {
                std::string words = "a";
                for (int i = 0; i < 257; ++i) words += " a";
                s->mutable_templates(0)->set_text(words);
              }),
              HasSubstr("template 0: text"));
  EXPECT_THAT(refusal([](State s) { s->mutable_templates(1)->set_example(std::string(1001, 'a')); }),
              HasSubstr("template 1: example"));
  EXPECT_THAT(refusal([](State s) { s->mutable_templates(1)->set_example("\xff"); }), HasSubstr("template 1: example"));
  EXPECT_THAT(refusal([](State s) { s->add_pairs(uint64_t{5} << 32); }), HasSubstr("templates up to 4, got 5 and 0"));
  EXPECT_THAT(refusal([](State s) { s->add_pairs(0); }), HasSubstr("pairs: expected each once"));
  EXPECT_THAT(refusal([](State s) { s->add_single_pairs(s->pairs(0)); }), HasSubstr("pairs: expected each once"));
  EXPECT_THAT(refusal([](State s) { s->mutable_recipe()->set_pairs(false); }), HasSubstr("pairs: expected at most 0"));
  EXPECT_THAT(refusal([](State s) {
                for (int i = 0; i < 100'000; ++i) *s->add_templates() = s->templates(0);
              }),
              HasSubstr("templates: expected 1 to 100000"));
  EXPECT_THAT(refusal([](State s) {
                for (int i = 0; i < 70'000; ++i) *s->add_templates() = s->templates(0);
              }),
              HasSubstr("expected at most 65536 templates and pairs with a column"));
}

}  // namespace
}  // namespace astray
