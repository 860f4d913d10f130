#include "engine/data/csv_reader.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/data/event_time.h"

namespace astray {

CsvReader::CsvReader(std::unique_ptr<ByteSource> source, std::string name, const CsvOptions& options)
    : name_(std::move(name)),
      max_line_bytes_(options.max_line_bytes),
      max_columns_(options.max_columns),
      splitter_(std::move(source), options.max_line_bytes, options.max_columns),
      follow_(options.follow) {}

absl::Status CsvReader::Error(absl::string_view text) const {
  return absl::InvalidArgumentError(absl::StrCat(name_, ": ", text));
}

absl::Status CsvReader::Located(const absl::Status& status) const {
  return absl::Status(status.code(), absl::StrCat(name_, ": ", status.message()));
}

absl::StatusOr<std::unique_ptr<CsvReader>> CsvReader::Start(std::unique_ptr<ByteSource> source, const std::string& name,
                                                            const CsvOptions& options) {
  std::unique_ptr<CsvReader> reader(new CsvReader(std::move(source), name, options));
  ASSIGN_OR_RETURN(const bool found, reader->Located(reader->splitter_.Next(&reader->cells_)));
  if (!found) return reader->Error("expected a header line, got an empty file");
  ASSIGN_OR_RETURN(reader->columns_, reader->Located(CsvColumns::FromHeader(reader->cells_, options)));
  return reader;
}

absl::StatusOr<std::unique_ptr<CsvReader>> CsvReader::Open(const std::string& path, const CsvOptions& options) {
  ASSIGN_OR_RETURN(auto source, ByteSource::Open(path, options.stop_fd, options.follow));
  return Start(std::move(source), path == "-" ? "standard input" : path, options);
}

absl::StatusOr<std::unique_ptr<CsvReader>> CsvReader::FromStream(std::istream* input, const std::string& name,
                                                                 const CsvOptions& options) {
  return Start(ByteSource::FromStream(input, name), name, options);
}

std::unique_ptr<CsvReader> CsvReader::ForPieces() const {
  CsvOptions options;
  options.max_line_bytes = max_line_bytes_;
  options.max_columns = max_columns_;
  std::unique_ptr<CsvReader> reader(new CsvReader(nullptr, name_, options));
  reader->columns_ = columns_;
  return reader;
}

void CsvReader::Load(CsvPiece* piece, const CsvPlace& place) {
  splitter_.Load(piece, place.line);
  Reload(place);
}

void CsvReader::Reload(const CsvPlace& place) {
  splitter_.Rewind(place.line);
  columns_.set_numbers_seen(place.numbers_seen);
  row_ = place.rows;
  failed_ = false;
}

absl::StatusOr<bool> CsvReader::NextRecord(float* values, Row* row) {
  for (bool header = true; header;) {
    ASSIGN_OR_RETURN(const bool found, Located(splitter_.Next(&cells_)));
    if (!found) return false;
    header = false;
    if (follow_) {
      ASSIGN_OR_RETURN(header, Located(columns_.IsHeader(cells_, row_ + 1)));
    }
  }
  ++row_;
  if (cells_.size() != columns_.size()) {
    return Error(absl::StrCat("row ", row_, ": expected ", columns_.size(), " columns, got ", cells_.size()));
  }
  for (size_t i = 0; i < cells_.size(); ++i) {
    if (const absl::Status status = columns_.Read(i, cells_[i], row_, values, row); !status.ok()) {
      return Located(status);
    }
  }
  return true;
}

absl::StatusOr<bool> CsvReader::Next(float* values, Row* row) {
  if (failed_) return false;
  const char* const record = splitter_.buffered();
  const char* const end = follow_ ? nullptr : columns_.ReadPlain(record, values, row);
  if (end != nullptr && static_cast<size_t>(end - record) <= max_line_bytes_) {
    splitter_.Passed(end);
    row->number = ++row_;
    return true;
  }
  absl::StatusOr<bool> found = NextRecord(values, row);
  failed_ = !found.ok() || !*found;
  row->number = row_;
  return found;
}

absl::StatusOr<bool> CsvReader::Next(Row* row) {
  row->values.resize(feature_names().size());
  return Next(row->values.data(), row);
}

namespace {

// Puts rows into a data set, within the limits.
class DatasetFiller {
 public:
  DatasetFiller(const CsvReader& reader, const std::string& path, const CsvOptions& options, Dataset* dataset)
      : options_(options),
        path_(path),
        width_(reader.feature_names().size()),
        labels_(reader.has_labels() && !options.normal_only),
        times_(reader.has_timestamps()),
        dataset_(*dataset) {
    dataset_.feature_names = reader.feature_names();
    dataset_.values = ScratchVector<float>(options.scratch);
    dataset_.seconds = ScratchVector<double>(options.scratch);
    dataset_.entities = EntityColumn(options.scratch);
    dataset_.segments = EntityColumn(options.scratch);
    dataset_.timed = times_;
    if (reader.has_labels() && options.normal_only) dataset_.left_out = 0;
  }

  // Where the next row's values go.
  absl::StatusOr<float*> Room() {
    if (dataset_.values.capacity() - dataset_.values.size() < width_) {
      RETURN_IF_ERROR(dataset_.values.ReserveMore(width_));
    }
    return dataset_.values.data() + dataset_.values.size();
  }

  // The row whose values are there.
  absl::Status Take(const Row& row) {
    if (options_.normal_only && row.label != 0) {
      ++*dataset_.left_out;
      return absl::OkStatus();
    }
    dataset_.values.Extend(width_);
    if (!options_.scratch.limited()) size_ += width_;
    if (times_ && options_.times == CsvOptions::Times::kText) {
      size_ += SizeOf(row.timestamp);
      dataset_.timestamps.push_back(row.timestamp);
    }
    if (times_ && options_.times == CsvOptions::Times::kSeconds) {
      RETURN_IF_ERROR(dataset_.seconds.ReserveMore(1));
      dataset_.seconds.push_back(ParseEventTime(row.timestamp).value_or(std::numeric_limits<double>::quiet_NaN()));
    }
    if (!options_.entity_column.empty()) RETURN_IF_ERROR(TakeName(row.entity, &dataset_.entities));
    if (!options_.segment_column.empty()) RETURN_IF_ERROR(TakeName(row.segment, &dataset_.segments));
    if (labels_) dataset_.labels.push_back(row.label);
    if (!options_.culprit_column.empty()) {
      size_ += SizeOf(row.culprits);
      dataset_.culprits.push_back(row.culprits);
    }
    if (size_ > options_.max_values) {
      return absl::InvalidArgumentError(
          absl::StrCat(path_, ": row ", row.number, ": expected at most ", options_.max_values, " values in a file"));
    }
    if (row.number > CsvOptions::kMaxScratchRows) {
      return absl::InvalidArgumentError(
          absl::StrCat(path_, ": expected at most ", CsvOptions::kMaxScratchRows, " rows"));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status TakeName(const std::string& name, EntityColumn* column) {
    RETURN_IF_ERROR(column->ReserveMore(1));
    const size_t before = column->entities();
    column->push_back(name);
    if (column->entities() > before) size_ += 2 * SizeOf(name);
    size_ += options_.scratch.limited() ? 0 : 1;
    return absl::OkStatus();
  }
  static uint64_t SizeOf(const std::string& text) { return (sizeof(std::string) + text.size()) / sizeof(float); }

  const CsvOptions& options_;
  const std::string& path_;
  const size_t width_;
  const bool labels_, times_;
  Dataset& dataset_;
  uint64_t size_ = 0;  // in values
};

}  // namespace

absl::StatusOr<Dataset> ReadCsv(const std::string& path, const CsvOptions& options) {
  ASSIGN_OR_RETURN(const auto reader, CsvReader::Open(path, options));
  Dataset dataset;
  DatasetFiller filler(*reader, path, options, &dataset);
  Row row;
  bool any = false;
  for (;;) {
    ASSIGN_OR_RETURN(float* const values, filler.Room());
    ASSIGN_OR_RETURN(const bool more, reader->Next(values, &row));
    if (!more) break;
    any = true;
    RETURN_IF_ERROR(filler.Take(row));
  }
  if (!any) return absl::InvalidArgumentError(absl::StrCat(path, ": expected rows, got a header alone"));
  return dataset;
}

}  // namespace astray
