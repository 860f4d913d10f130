#include "client/row_source.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "client/fasta_rows.h"
#include "client/mqtt_address.h"
#include "client/mqtt_rows.h"
#include "client/prometheus_rows.h"
#include "engine/base/status_macros.h"
#include "engine/data/csv_reader.h"
#include "engine/data/json_lines_reader.h"

namespace astray {
namespace {

bool IsNamedJsonLines(absl::string_view path) {
  path = absl::StripSuffix(path, ".gz");
  return absl::EndsWith(path, ".jsonl") || absl::EndsWith(path, ".ndjson");
}

// A reader of a file as a source.
template <typename Reader>
class FileRows : public RowSource {
 public:
  explicit FileRows(std::unique_ptr<Reader> reader) : reader_(std::move(reader)) {}
  absl::StatusOr<bool> Next(Row* row) override { return reader_->Next(row); }

 private:
  std::unique_ptr<Reader> reader_;
};

template <typename Reader>
std::unique_ptr<RowSource> MakeFileRows(std::unique_ptr<Reader> reader) {
  return std::make_unique<FileRows<Reader>>(std::move(reader));
}

}  // namespace

absl::StatusOr<std::unique_ptr<RowSource>> RowSource::Open(const std::string& path,
                                                           const std::vector<std::string>& feature_names,
                                                           const Options& options) {
  if (options.format == RowFormat::kLog) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": expected rows of the model's features, not log lines"));
  }
  if (IsMqttUrl(path)) {
    ASSIGN_OR_RETURN(const MqttAddress address, ParseMqttSource(path));
    return MqttRows::Open(address, feature_names, options.entity_column, options.stop_fd, options.notes,
                          options.segment_column);
  }
  if (IsPrometheusSource(path)) {
    if (!options.segment_column.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": --segment-column is for CSV and JSON lines"));
    }
    ASSIGN_OR_RETURN(PrometheusClient client, PrometheusClient::Make(path, options.prometheus, options.stop_fd));
    return std::make_unique<PrometheusRows>(std::move(client), feature_names, options.stop_fd, options.notes);
  }
  if (options.format == RowFormat::kJsonLines || (options.format == RowFormat::kByName && IsNamedJsonLines(path))) {
    ASSIGN_OR_RETURN(auto reader, JsonLinesReader::Open(path, feature_names, options.stop_fd, options.entity_column,
                                                        options.follow, options.segment_column));
    return MakeFileRows(std::move(reader));
  }
  if (IsFasta(path, options.format)) {
    if (!options.entity_column.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": --entity-column is for CSV and JSON lines"));
    }
    if (!options.segment_column.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": --segment-column is for CSV and JSON lines"));
    }
    if (options.follow) return absl::InvalidArgumentError(absl::StrCat(path, ": --follow is for CSV and JSON lines"));
    ASSIGN_OR_RETURN(auto reader, FastaRows::Open(path, options.sequence, options.stop_fd));
    return MakeFileRows(std::move(reader));
  }
  ASSIGN_OR_RETURN(auto reader, CsvReader::Open(path, ToCsvOptions(feature_names, options)));
  return MakeFileRows(std::move(reader));
}

bool RowSource::IsCsv(const std::string& path, RowFormat format) {
  if (IsMqttUrl(path) || IsPrometheusSource(path)) return false;
  return format == RowFormat::kCsv || (format == RowFormat::kByName && !IsNamedJsonLines(path) && !IsNamedFasta(path));
}

bool RowSource::IsFasta(const std::string& path, RowFormat format) {
  return format == RowFormat::kFasta || (format == RowFormat::kByName && IsNamedFasta(path));
}

CsvOptions RowSource::ToCsvOptions(const std::vector<std::string>& feature_names, const Options& options) {
  CsvOptions csv;
  csv.feature_names = feature_names;
  csv.find_labels = options.find_labels;
  csv.stop_fd = options.stop_fd;
  csv.follow = options.follow;
  csv.entity_column = options.entity_column;
  csv.segment_column = options.segment_column;
  return csv;
}

}  // namespace astray
