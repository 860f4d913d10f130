#include "client/fasta_rows.h"

#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

constexpr size_t kMaxValues = size_t{1} << 30;  // 4 GiB

constexpr absl::string_view kLabel = "label=";

}  // namespace

bool IsNamedFasta(absl::string_view path) {
  path = absl::StripSuffix(path, ".gz");
  return absl::EndsWith(path, ".fasta") || absl::EndsWith(path, ".fa") || absl::EndsWith(path, ".fna");
}

FastaRows::FastaRows(std::unique_ptr<FastaReader> reader, SequenceTransform transform)
    : reader_(std::move(reader)), transform_(transform), feature_names_(transform_.FeatureNames()) {}

absl::StatusOr<std::unique_ptr<FastaRows>> FastaRows::Open(const std::string& path, const v1::SequenceRecipe& sequence,
                                                           int stop_fd) {
  if (sequence.kind_case() == v1::SequenceRecipe::KIND_NOT_SET) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": expected rows of the model's features, got sequences: it was not trained on any"));
  }
  ASSIGN_OR_RETURN(const SequenceTransform transform, SequenceTransform::Create(sequence));
  ASSIGN_OR_RETURN(auto reader, FastaReader::Open(path, stop_fd));
  return std::unique_ptr<FastaRows>(new FastaRows(std::move(reader), transform));
}

absl::StatusOr<bool> FastaRows::Next(Row* row) {
  ASSIGN_OR_RETURN(const bool more, reader_->Next(&record_));
  if (!more) return false;
  row->number = ++row_;
  row->values.resize(feature_names_.size());
  transform_.Apply(record_.sequence, row->values);
  const std::vector<absl::string_view> words = absl::StrSplit(record_.header, ' ', absl::SkipEmpty());
  row->timestamp = words.empty() ? "" : std::string(words.front());
  row->label = 0;
  for (const absl::string_view word : words) {
    if (absl::StartsWith(word, kLabel)) row->label = word.substr(kLabel.size()) == "1" ? 1 : 0;
  }
  return true;
}

absl::StatusOr<Dataset> ReadFasta(const std::string& path, const v1::SequenceRecipe& sequence,
                                  std::vector<std::string>* names) {
  ASSIGN_OR_RETURN(auto rows, FastaRows::Open(path, sequence));
  Dataset data{.feature_names = rows->feature_names()};
  bool labelled = false;
  Row row;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, rows->Next(&row));
    if (!more) break;
    if (data.values.size() + row.values.size() > kMaxValues) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": expected at most ", kMaxValues, " values, got more"));
    }
    data.values.insert(data.values.end(), row.values.begin(), row.values.end());
    data.labels.push_back(row.label);
    if (names != nullptr) names->push_back(row.timestamp);
    labelled = labelled || row.label == 1;
  }
  if (!labelled) data.labels.clear();
  return data;
}

}  // namespace astray
