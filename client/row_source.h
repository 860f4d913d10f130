// Rows with a model's features, wherever they come from. To add a source: a class with these two functions, and a line
// in RowSource::Open. Not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "client/notes.h"
#include "client/prometheus_client.h"
#include "engine/data/csv_options.h"
#include "engine/data/row.h"

namespace astray {

enum class RowFormat { kByName, kCsv, kJsonLines, kFasta, kLog };

class RowSource {
 public:
  struct Options {
    // kByName: JSON lines where the name ends in .jsonl or .ndjson, FASTA in .fasta, .fa or .fna (or that and .gz),
    // CSV otherwise.
    RowFormat format = RowFormat::kByName;
    bool find_labels = false;     // CsvOptions'
    bool follow = false;          // a file that grows and rotates; CSV and JSON lines
    int stop_fd = -1;             // once something can be read from it, Next is Cancelled, even while it waits
    std::string entity_column;    // or member, that says whose row it is; empty: none
    std::string segment_column;   // the same of its segment; CSV, JSON lines and MQTT
    Notes* notes = nullptr;       // hears of outages and of what is passed over; may be null, outlives the source
    PrometheusFlags prometheus;   // what a Prometheus is asked for
    v1::SequenceRecipe sequence;  // of the model's recipe: how FASTA becomes its features
  };
  // path: "-" is standard input; gzip too. Or a live source, by its scheme: mqtt:// or prometheus:. Errors are the
  // readers'.
  static absl::StatusOr<std::unique_ptr<RowSource>> Open(const std::string& path,
                                                         const std::vector<std::string>& feature_names,
                                                         const Options& options);

  // Whether Open would read a CSV file, or sequences.
  static bool IsCsv(const std::string& path, RowFormat format);
  static bool IsFasta(const std::string& path, RowFormat format);
  static CsvOptions ToCsvOptions(const std::vector<std::string>& feature_names, const Options& options);

  virtual ~RowSource() = default;
  // False at the end; waits for a row where the source is live. After an error it is at its end.
  virtual absl::StatusOr<bool> Next(Row* row) = 0;
};

}  // namespace astray
