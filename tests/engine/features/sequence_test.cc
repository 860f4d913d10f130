#include "engine/features/sequence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace astray {
namespace {

using ::testing::ElementsAre;

std::vector<float> Count(size_t letters, std::string_view sequence) {
  const KmerCounts kmers = *KmerCounts::Create(letters);
  std::vector<float> counts(kmers.size(), 7);
  kmers.Apply(sequence, counts);
  return counts;
}

TEST(KmerCounts, CountsEveryWordOnceForEachPlace) {
  EXPECT_THAT(Count(1, "ACGTTA"), ElementsAre(2, 1, 1, 2));
  // By hand, word for word.
  const std::string sequence = "ACGTACGTTTGCA";
  for (const size_t letters : {2, 3, 4}) {
    const KmerCounts kmers = *KmerCounts::Create(letters);
    const std::vector<std::string> words = kmers.Words();
    const std::vector<float> counts = Count(letters, sequence);
    ASSERT_EQ(words.size(), counts.size());
    std::map<std::string, float> expected;
    for (size_t i = 0; i + letters <= sequence.size(); ++i) ++expected[sequence.substr(i, letters)];
    for (size_t i = 0; i < words.size(); ++i) EXPECT_EQ(counts[i], expected[words[i]]) << words[i];
  }
}

TEST(KmerCounts, AnUnknownLetterBreaksTheWordsThatHoldIt) {
  EXPECT_EQ(Count(2, "ACNAC"), Count(2, "AC-AC"));
  float sum = 0;
  for (const float count : Count(2, "ACNAC")) sum += count;
  EXPECT_EQ(sum, 2);
  EXPECT_EQ(Count(2, "acgu"), Count(2, "ACGT"));
  for (const float count : Count(3, "AC")) EXPECT_EQ(count, 0);
}

TEST(KmerCounts, HasALimit) {
  EXPECT_EQ(KmerCounts::Create(9).status().message(), "features.sequence.kmer_letters: expected 1 to 8, got 9");
  EXPECT_FALSE(KmerCounts::Create(0).ok());
}

TEST(OneHot, GivesEachPlaceARow) {
  const OneHot one_hot = *OneHot::Create(4);
  EXPECT_EQ(one_hot.Places()[0], "1A");
  EXPECT_EQ(one_hot.Places()[15], "4T");
  std::vector<float> values(one_hot.size(), 7);
  one_hot.Apply("GNU", values);
  EXPECT_THAT(values, ElementsAre(0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0));
  one_hot.Apply("AAAATTTT", values);
  EXPECT_THAT(values, ElementsAre(1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0));
  EXPECT_FALSE(OneHot::Create(0).ok());
  EXPECT_FALSE(OneHot::Create(20000).ok());
}

}  // namespace
}  // namespace astray
