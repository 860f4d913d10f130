// Letters of nucleotides as numbers: counts of words, and one-hot places. Anything but A, C, G, T and U, which is T, is
// an unknown letter. Immutable; thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"

namespace astray {

inline constexpr std::string_view kNucleotides = "ACGT";

// How often each word of k letters occurs in a sequence (k-mers), words that overlap included. A word with an unknown
// letter counts nowhere.
class KmerCounts {
 public:
  static constexpr size_t kMaxLetters = 8;  // 65,536 words

  // InvalidArgument unless 1 <= letters <= kMaxLetters.
  static absl::StatusOr<KmerCounts> Create(size_t letters);

  size_t size() const { return size_t{1} << (2 * letters_); }
  std::vector<std::string> Words() const;  // "AAAA", "AAAC", ...: the features' names
  // counts: [size()], overwritten.
  void Apply(std::string_view sequence, std::span<float> counts) const;

 private:
  explicit KmerCounts(size_t letters) : letters_(letters) {}
  size_t letters_;
};

// One row of four values for each place of a sequence, 1 for its letter and 0 for the others; an unknown letter, and
// what is behind a shorter sequence, is a row of zeros. A longer sequence is cut.
class OneHot {
 public:
  // InvalidArgument unless 1 <= places <= 16,384.
  static absl::StatusOr<OneHot> Create(size_t places);

  size_t size() const { return places_ * kNucleotides.size(); }
  std::vector<std::string> Places() const;  // "1A", "1C", "1G", "1T", "2A", ...
  // values: [size()], overwritten.
  void Apply(std::string_view sequence, std::span<float> values) const;

 private:
  explicit OneHot(size_t places) : places_(places) {}
  size_t places_;
};

// Either one, as a recipe asks for it.
class SequenceTransform {
 public:
  // InvalidArgument for a recipe that asks for neither, or out of range.
  static absl::StatusOr<SequenceTransform> Create(const astray::v1::SequenceRecipe& recipe);

  std::vector<std::string> FeatureNames() const;
  void Apply(std::string_view sequence, std::span<float> values) const;  // [FeatureNames().size()]

 private:
  explicit SequenceTransform(std::variant<KmerCounts, OneHot> transform) : transform_(transform) {}
  std::variant<KmerCounts, OneHot> transform_;
};

}  // namespace astray
