// Rows with a model's features, from CSV, JSON lines or FASTA. Not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "client/fasta_rows.h"
#include "engine/data/csv_reader.h"
#include "engine/data/json_lines_reader.h"
#include "engine/data/row.h"

namespace astray {

enum class RowFormat { kByName, kCsv, kJsonLines, kFasta };

class RowSource {
 public:
  struct Options {
    // kByName: JSON lines where the name ends in .jsonl or .ndjson, FASTA in .fasta, .fa or .fna (or that and .gz),
    // CSV otherwise.
    RowFormat format = RowFormat::kByName;
    bool find_labels = false;     // CsvOptions'
    int stop_fd = -1;             // ByteSource's
    std::string entity_column;    // or member, that says whose row it is; empty: none
    v1::SequenceRecipe sequence;  // of the model's recipe: how FASTA becomes its features
  };
  // path: "-" is standard input; gzip too. Errors are the readers'.
  static absl::StatusOr<RowSource> Open(const std::string& path, const std::vector<std::string>& feature_names,
                                        const Options& options);

  absl::StatusOr<bool> Next(Row* row) {
    return std::visit([row](auto& reader) { return reader->Next(row); }, reader_);
  }

 private:
  using Reader = std::variant<std::unique_ptr<CsvReader>, std::unique_ptr<JsonLinesReader>, std::unique_ptr<FastaRows>>;
  explicit RowSource(Reader reader) : reader_(std::move(reader)) {}

  Reader reader_;
};

}  // namespace astray
