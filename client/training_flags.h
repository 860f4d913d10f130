// What commands that train share: --data and its columns, --recipe, --name, --seed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "client/command.h"
#include "client/prometheus_client.h"
#include "client/prometheus_range.h"
#include "engine/data/csv_reader.h"
#include "engine/data/dataset.h"
#include "engine/features/log_transform.h"

namespace astray {

struct TrainingData {
  Dataset rows;
  std::shared_ptr<const LogTransform> log;  // of log lines, else null
};

struct TrainingFlags {
  std::string data, name, recipe;
  std::string input_format = "auto", labels, session_pattern;  // the last two, and window_seconds, are for logs
  std::optional<double> window_seconds;
  CsvOptions csv;
  std::string scratch_folder;                                 // for a CSV's rows, where they do not fit
  uint64_t memory_megabytes = Scratch::kDefaultMemory >> 20;  // into this much
  PrometheusFlags prometheus;
  PrometheusRangeFlags range;
  std::optional<uint64_t> seed;
  size_t threads = 0;  // 0: one a core

  void Add(CLI::App* command);
  void AddScratch(CLI::App* command);   // --scratch-dir, --data-memory
  void AddLog(CLI::App* command);       // --input-format, --labels, --session-pattern, --window-seconds
  void AddThreads(CLI::App* command);   // --threads
  void AddSegments(CLI::App* command);  // --segment-column
  size_t ThreadsToUse() const;
  bool IsLog() const;
  bool IsFasta() const;
  // Rows and sessions labelled as anomalies are left out, with a note of how many.
  absl::StatusOr<TrainingData> ReadData(const v1::Recipe& recipe, CommandContext& context) const;
  // The recipe's file with the flags over it; for FASTA data, how letters become numbers, for a log, how
  // lines become sessions. A usage error where it has no
  // name and `default_name` is empty.
  absl::StatusOr<v1::Recipe> MakeRecipe(const std::string& default_name) const;

 private:
  absl::StatusOr<TrainingData> ReadLogData(const v1::Recipe& made, CommandContext& context) const;
};

}  // namespace astray
