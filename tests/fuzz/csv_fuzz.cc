// A CSV file made of the input: the reader refuses it with one short line, or its rows are numbers that read back bit
// for bit after writing.
// The first byte picks the options, the rest is the file.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "engine/data/csv_reader.h"
#include "engine/data/csv_writer.h"

namespace astray {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void RequireOneShortLine(const absl::Status& status) {
  Require(absl::StartsWith(status.message(), "f.csv: "));
  Require(status.message().size() < 3000);
  for (const char c : status.message()) Require(static_cast<unsigned char>(c) >= ' ' && c != '\x7f');
}

CsvOptions OptionsOf(uint8_t choice) {
  CsvOptions options;
  options.max_line_bytes = 4096;
  options.max_columns = 64;
  if (choice & 1) options.label_column = "label";
  if (choice & 2) options.culprit_column = "culprits";
  if (choice & 4) options.ignore_columns = {"status"};
  if (choice & 8) options.feature_names = {"b", "a"};
  if (choice & 16) options.timestamp_column = "when";
  return options;
}

// False where the file is refused.
bool ReadAll(const std::string& bytes, const CsvOptions& options, Dataset* dataset) {
  std::istringstream input(bytes);
  const auto reader = CsvReader::FromStream(&input, "f.csv", options);
  if (!reader.ok()) return RequireOneShortLine(reader.status()), false;
  dataset->feature_names = (*reader)->feature_names();
  Row row;
  for (uint64_t number = 1;; ++number) {
    const auto more = (*reader)->Next(&row);
    if (!more.ok()) {
      RequireOneShortLine(more.status());
      Require(!*(*reader)->Next(&row));
      return false;
    }
    if (!*more) return true;
    Require(row.number == number && row.values.size() == dataset->features() && row.label <= 1);
    for (const float value : row.values) {
      Require(!std::isinf(value));
      dataset->values.push_back(value);
    }
    if ((*reader)->has_timestamps()) dataset->timestamps.push_back(row.timestamp);
    if ((*reader)->has_labels()) dataset->labels.push_back(row.label);
    if (!options.culprit_column.empty()) dataset->culprits.push_back(row.culprits);
  }
}

}  // namespace
}  // namespace astray

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace astray;
  if (size == 0) return 0;
  Dataset dataset, again;
  if (!ReadAll({reinterpret_cast<const char*>(data) + 1, size - 1}, OptionsOf(data[0]), &dataset)) return 0;
  if (dataset.rows() == 0) return 0;
  CsvOptions options;
  if (!dataset.timestamps.empty()) options.timestamp_column = "timestamp";
  if (!dataset.labels.empty()) options.label_column = "label";
  if (!dataset.culprits.empty()) options.culprit_column = "culprits";
  // Names of the writer's own columns, or one that would be taken for a timestamp, do not come back as features.
  options.feature_names = dataset.feature_names;
  for (const std::string& name : dataset.feature_names) {
    if (name == options.timestamp_column || name == options.label_column || name == options.culprit_column) return 0;
  }
  Require(ReadAll(FormatCsv(dataset), options, &again));
  Require(again.feature_names == dataset.feature_names && again.values.size() == dataset.values.size());
  for (size_t i = 0; i < dataset.values.size(); ++i) {
    const float a = dataset.values[i], b = again.values[i];
    Require((std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, sizeof(a)) == 0);
  }
  Require(again.timestamps == dataset.timestamps && again.labels == dataset.labels &&
          again.culprits == dataset.culprits);
  return 0;
}
