#include "engine/features/sequence.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace astray {
namespace {

constexpr size_t kMaxPlaces = 16384;
constexpr size_t kUnknown = kNucleotides.size();

size_t IndexOf(char letter) {
  switch (letter) {
    case 'A':
    case 'a':
      return 0;
    case 'C':
    case 'c':
      return 1;
    case 'G':
    case 'g':
      return 2;
    case 'T':
    case 't':
    case 'U':
    case 'u':
      return 3;
    default:
      return kUnknown;
  }
}

}  // namespace

absl::StatusOr<KmerCounts> KmerCounts::Create(size_t letters) {
  if (letters >= 1 && letters <= kMaxLetters) return KmerCounts(letters);
  return absl::InvalidArgumentError(absl::StrCat("k-mers: expected 1 to ", kMaxLetters, " letters, got ", letters));
}

std::vector<std::string> KmerCounts::Words() const {
  std::vector<std::string> words;
  for (size_t word = 0; word < size(); ++word) {
    std::string& letters = words.emplace_back(letters_, ' ');
    for (size_t i = 0; i < letters_; ++i) letters[i] = kNucleotides[(word >> (2 * (letters_ - 1 - i))) & 3];
  }
  return words;
}

void KmerCounts::Apply(std::string_view sequence, std::span<float> counts) const {
  std::ranges::fill(counts, 0.0f);
  size_t word = 0, known = 0;  // letters since the last unknown one
  for (const char letter : sequence) {
    const size_t index = IndexOf(letter);
    known = index == kUnknown ? 0 : known + 1;
    word = ((word << 2) | (index & 3)) & (size() - 1);
    if (known >= letters_) counts[word] += 1;
  }
}

absl::StatusOr<OneHot> OneHot::Create(size_t places) {
  if (places >= 1 && places <= kMaxPlaces) return OneHot(places);
  return absl::InvalidArgumentError(absl::StrCat("one-hot: expected 1 to ", kMaxPlaces, " places, got ", places));
}

std::vector<std::string> OneHot::Places() const {
  std::vector<std::string> names;
  for (size_t place = 1; place <= places_; ++place) {
    for (const char letter : kNucleotides) names.push_back(absl::StrCat(place, std::string(1, letter)));
  }
  return names;
}

void OneHot::Apply(std::string_view sequence, std::span<float> values) const {
  std::ranges::fill(values, 0.0f);
  for (size_t place = 0; place < std::min(places_, sequence.size()); ++place) {
    const size_t index = IndexOf(sequence[place]);
    if (index != kUnknown) values[place * kNucleotides.size() + index] = 1;
  }
}

}  // namespace astray
