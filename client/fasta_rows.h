// The sequences of a FASTA file as rows of numbers. A row's timestamp is the sequence's name, the first word behind
// '>'; its label is that of a word "label=1" there. Not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "astray/v1/recipe.pb.h"
#include "engine/data/dataset.h"
#include "engine/data/fasta_reader.h"
#include "engine/data/row.h"
#include "engine/features/sequence.h"

namespace astray {

// .fasta, .fa, .fna, and those and .gz.
bool IsNamedFasta(absl::string_view path);

class FastaRows {
 public:
  // FailedPrecondition where `sequence` asks for nothing: a model that was not trained on sequences.
  static absl::StatusOr<std::unique_ptr<FastaRows>> Open(const std::string& path, const v1::SequenceRecipe& sequence,
                                                         int stop_fd = -1);
  // Errors are FastaReader's.
  absl::StatusOr<bool> Next(Row* row);
  const std::vector<std::string>& feature_names() const { return feature_names_; }

 private:
  FastaRows(std::unique_ptr<FastaReader> reader, SequenceTransform transform);
  std::unique_ptr<FastaReader> reader_;
  SequenceTransform transform_;
  std::vector<std::string> feature_names_;
  FastaRecord record_;
  uint64_t row_ = 0;
};

// The whole file; labels where any header has one. No timestamps: sequences do not follow each other in time. `names`,
// where given, gets the sequences' names.
absl::StatusOr<Dataset> ReadFasta(const std::string& path, const v1::SequenceRecipe& sequence,
                                  std::vector<std::string>* names = nullptr);

}  // namespace astray
