#include "engine/features/template_miner.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/base/random.h"

namespace astray {
namespace {

TEST(TemplateMiner, LinesThatDifferInTheirVariablesShareATemplate) {
  TemplateMiner miner;
  const size_t first = miner.Learn("Receiving block blk_1 src: /10.0.0.1:50010");
  EXPECT_EQ(miner.Learn("Receiving block blk_-99 src: /10.0.0.2:50010"), first);
  const size_t other = miner.Learn("Deleting block blk_1 file /data/x");
  EXPECT_NE(other, first);
  EXPECT_EQ(miner.size(), 2u);
  EXPECT_EQ(miner.Template(first), "Receiving block <*> src: <*>");
  EXPECT_EQ(miner.Lines(first), 2u);
}

TEST(TemplateMiner, WordsThatDifferBecomeWildcards) {
  TemplateMiner miner({.depth = 2});
  const size_t id = miner.Learn("session opened for user root by system now and ever");
  EXPECT_EQ(miner.Learn("session opened for user guest by system now and ever"), id);
  EXPECT_EQ(miner.Template(id), "session opened for user <*> by system now and ever");
  EXPECT_NE(miner.Learn("session opened for nobody at all and never any more"), id) << "too little in common";
}

TEST(TemplateMiner, MatchFindsWhatWasLearnedAndNothingElse) {
  TemplateMiner miner({.depth = 2});
  const size_t id = miner.Learn("session opened for user root by system now and ever");
  EXPECT_EQ(miner.Match("session opened for user root by system now and ever"), id);
  EXPECT_EQ(miner.Match("session opened for user guest by system now and ever"), std::nullopt) << "not yet a wildcard";
  miner.Learn("session opened for user test by system now and ever");
  EXPECT_EQ(miner.Match("session opened for user guest by system now and ever"), id);
  EXPECT_EQ(miner.Match("kernel panic"), std::nullopt);
  EXPECT_EQ(miner.Match(""), std::nullopt);
  EXPECT_EQ(miner.size(), 1u) << "nothing is learned by looking";
}

TEST(TemplateMiner, AnEmptyLineHasATemplateOfItsOwn) {
  TemplateMiner miner;
  const size_t empty = miner.Learn("");
  EXPECT_EQ(miner.Learn("   "), empty);
  EXPECT_EQ(miner.Template(empty), "");
}

TEST(TemplateMiner, MemoryIsBounded) {
  TemplateMiner miner({.max_children = 4, .max_templates = 10, .max_words = 50});
  const auto word = [](int i) {
    std::string letters;
    for (; i > 0; i /= 26) letters += static_cast<char>('a' + i % 26);
    return "w" + letters;
  };
  for (int i = 0; i < 5000; ++i) {
    EXPECT_LT(miner.Learn(word(i) + " " + word(i * 7) + " " + word(i * 13)), 10u);
  }
  EXPECT_EQ(miner.size(), 10u);
  uint64_t lines = 0;
  for (size_t id = 0; id < miner.size(); ++id) lines += miner.Lines(id);
  EXPECT_EQ(lines, 5000u);
}

// A miner of the texts alone.
TemplateMiner Rebuilt(const TemplateMiner& miner, const TemplateMiner::Options& options) {
  TemplateMiner again(options);
  for (size_t id = 0; id < miner.size(); ++id) again.AddTemplate(miner.Template(id), miner.Lines(id));
  return again;
}

TEST(TemplateMiner, TemplatesMakeTheMinerThatLearnedThem) {
  // Few children, so that many words go the wildcard's way, and lines alike, so that words become wildcards.
  const TemplateMiner::Options options = {.depth = 3, .similarity = 0.5, .max_children = 4};
  TemplateMiner miner(options);
  Random random(9);
  std::vector<std::string> lines = {"", "one"};
  for (int i = 0; i < 4000; ++i) {
    std::string line;
    const int words = 1 + static_cast<int>(random.Uniform() * 6);
    for (int k = 0; k < words; ++k) {
      line += static_cast<char>('a' + static_cast<int>(random.Uniform() * random.Uniform() * 26));
      line += random.Uniform() < 0.05 ? " 17 " : " ";
    }
    lines.push_back(line);
  }
  for (size_t i = 0; i < lines.size() / 2; ++i) miner.Learn(lines[i]);
  const TemplateMiner again = Rebuilt(miner, options);
  ASSERT_EQ(again.size(), miner.size());
  size_t wildcards = 0, matched = 0;
  for (size_t id = 0; id < miner.size(); ++id) {
    EXPECT_EQ(again.Template(id), miner.Template(id));
    EXPECT_EQ(again.Lines(id), miner.Lines(id));
    wildcards += miner.Template(id).find("<*>") != std::string::npos;
  }
  for (const std::string& line : lines) {
    ASSERT_EQ(again.Match(line), miner.Match(line)) << line;
    matched += miner.Match(line).has_value();
  }
  EXPECT_GT(wildcards, 20u);
  EXPECT_LT(wildcards, miner.size());
  EXPECT_GT(matched, lines.size() / 2);
}

}  // namespace
}  // namespace astray
