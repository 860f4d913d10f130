// Scores the rows of a file, through a server or without one, for the commands that print a line for each row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "astray/v1/service.pb.h"
#include "client/command.h"
#include "client/offline_scoring.h"
#include "client/row_source.h"
#include "client/stream_scoring.h"

namespace astray {

// --server, --model, --data, --input-format, --offline, --epoch
struct FileScoringFlags {
  ServerFlags server;
  std::string data;
  RowFormat input_format = RowFormat::kByName;
  bool offline = false;        // server.model is then an artifact's path
  std::string entity_column;   // whose row it is: each entity has a window of its own
  std::string segment_column;  // which of the calibration's segments it is of
  bool event_time = false;     // rows are sent with their times, whatever the recipe says
  uint64_t epoch = 0;
  size_t threads = 0;          // without a server; 0: all cores
  bool hindsight = false;      // without a server only, one thread: rows are judged once those after them are known
  bool follow = false;         // RowSource::Options', through a server only
  Notes* notes = nullptr;      // RowSource::Options'
  PrometheusFlags prometheus;  // the same
  size_t message_rows = 0;     // rows in a message to the server; 0 takes as many as are good for throughput

  double give_up_seconds = 10;                         // without an answer of a server that went away
  std::function<void(const absl::Status&)> on_broken;  // ResumingStream's

  // All but message_rows and on_broken.
  void Add(CLI::App* command);
  void AddEntities(CLI::App* command);  // --entity-column, --segment-column, --event-time, --give-up-after
};

// Calls begin(feature names, units of the code) once, then gives `output` each row, in order unless rows wait
// for late ones (recipe.stream). The same bytes either way.
absl::Status ScoreFile(const FileScoringFlags& flags, const v1::ScoreOptions& options,
                       const std::function<void(const std::vector<std::string>&, size_t)>& begin,
                       const VerdictOutput& output);
// The same with VerdictOutput::consume.
absl::Status ScoreFile(const FileScoringFlags& flags, const v1::ScoreOptions& options,
                       const std::function<void(const std::vector<std::string>&, size_t)>& begin,
                       const ConsumeVerdict& consume);

}  // namespace astray
