#include "engine/features/sequence.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

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
  return absl::InvalidArgumentError(
      absl::StrCat("features.sequence.kmer_letters: expected 1 to ", kMaxLetters, ", got ", letters));
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
  return absl::InvalidArgumentError(
      absl::StrCat("features.sequence.one_hot_places: expected 1 to ", kMaxPlaces, ", got ", places));
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

absl::StatusOr<SequenceTransform> SequenceTransform::Create(const v1::SequenceRecipe& recipe) {
  switch (recipe.kind_case()) {
    case v1::SequenceRecipe::kKmerLetters: {
      ASSIGN_OR_RETURN(const KmerCounts counts, KmerCounts::Create(recipe.kmer_letters()));
      return SequenceTransform(counts);
    }
    case v1::SequenceRecipe::kOneHotPlaces: {
      ASSIGN_OR_RETURN(const OneHot one_hot, OneHot::Create(recipe.one_hot_places()));
      return SequenceTransform(one_hot);
    }
    case v1::SequenceRecipe::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("features.sequence: expected kmer_letters or one_hot_places, got neither");
}

std::vector<std::string> SequenceTransform::FeatureNames() const {
  if (const auto* counts = std::get_if<KmerCounts>(&transform_)) return counts->Words();
  return std::get<OneHot>(transform_).Places();
}

void SequenceTransform::Apply(std::string_view sequence, std::span<float> values) const {
  std::visit([&](const auto& transform) { transform.Apply(sequence, values); }, transform_);
}

}  // namespace astray
