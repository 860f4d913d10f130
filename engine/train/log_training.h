// From the lines of a log to rows to train on, in two passes over the same lines:
//
//   ASSIGN_OR_RETURN(LogTraining log, LogTraining::Create(recipe.features().log()));
//   for each line: log.LearnTemplate(line);
//   for each line: RETURN_IF_ERROR(log.AddToSession(line, leave_out));
//   ASSIGN_OR_RETURN(LogTrainingData data, std::move(log).Finish());
//   Train(recipe, data.rows, progress, checkpoint, data.log);
//
// The first pass learns the templates, the second cuts the lines into sessions of them as they are in the end. Lines
// may be any bytes. Memory: at most kMaxEvents lines, and LogSessions'. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "engine/data/dataset.h"
#include "engine/features/log_rules.h"
#include "engine/features/log_sessions.h"
#include "engine/features/log_transform.h"
#include "engine/features/template_miner.h"

namespace astray {

struct LogTrainingData {
  Dataset rows;  // one a session, in the order in which they were complete; no timestamps: they may overlap
  std::shared_ptr<const LogTransform> log;
  uint64_t lines = 0, lines_without_session = 0, sessions_left_out = 0;
};

class LogTraining {
 public:
  static constexpr size_t kMaxEvents = size_t{1} << 28;
  static constexpr size_t kMaxValues = size_t{1} << 30;

  using LeaveOut = std::function<bool(const std::string& key)>;

  // leave_out: whether a session teaches nothing, its key being LogSession's; may be empty. Errors are LogRules'.
  static absl::StatusOr<std::unique_ptr<LogTraining>> Create(const astray::v1::LogRecipe& recipe,
                                                             LeaveOut leave_out = {});

  void LearnTemplate(std::string_view line);
  // InvalidArgument where there are over kMaxEvents lines.
  absl::Status AddToSession(std::string_view line);
  // InvalidArgument where no line belongs to a session, or the rows would be over kMaxValues.
  absl::StatusOr<LogTrainingData> Finish();

 private:
  LogTraining(LogRules rules, LeaveOut leave_out);
  void Keep();  // what is closed

  LogRules rules_;
  LeaveOut leave_out_;
  TemplateMiner miner_;
  std::vector<std::string> examples_;
  LogSessions grouping_;
  std::vector<LogSession> closed_;
  std::vector<std::vector<uint32_t>> sessions_;
  uint64_t left_out_ = 0;
  std::string buffer_;
};

}  // namespace astray
