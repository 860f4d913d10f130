#include "engine/train/log_training.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/base/utf8.h"
#include "engine/features/log_vocabulary.h"

namespace astray {

LogTraining::LogTraining(LogRules rules, LeaveOut leave_out)
    : rules_(std::move(rules)),
      leave_out_(std::move(leave_out)),
      miner_(rules_.miner_options()),
      grouping_(&rules_, [this](std::string_view line) {
        const auto id = miner_.Match(rules_.Masked(line, &buffer_));
        return id ? static_cast<uint32_t>(*id) : kUnknownEvent;
      }) {}

absl::StatusOr<std::unique_ptr<LogTraining>> LogTraining::Create(const v1::LogRecipe& recipe, LeaveOut leave_out) {
  ASSIGN_OR_RETURN(LogRules rules, LogRules::Create(recipe));
  return std::unique_ptr<LogTraining>(new LogTraining(std::move(rules), std::move(leave_out)));
}

void LogTraining::LearnTemplate(std::string_view line) {
  const size_t id = miner_.Learn(rules_.Masked(line, &buffer_));
  if (id == examples_.size()) {
    examples_.push_back(ReadableUtf8(line.substr(0, LogTransform::kMaxExampleBytes), LogTransform::kMaxExampleBytes));
  }
}

absl::Status LogTraining::AddToSession(std::string_view line) {
  if (grouping_.lines() >= kMaxEvents) {
    return absl::InvalidArgumentError(absl::StrCat("log: expected at most ", kMaxEvents, " lines, got more"));
  }
  grouping_.Add(line, &closed_);
  if (!closed_.empty()) Keep();
  return absl::OkStatus();
}

void LogTraining::Keep() {
  for (LogSession& session : closed_) {
    if (leave_out_ && leave_out_(session.key)) {
      ++left_out_;
      continue;
    }
    session.events.shrink_to_fit();
    sessions_.push_back(std::move(session.events));
  }
  closed_.clear();
}

absl::StatusOr<LogTrainingData> LogTraining::Finish() {
  grouping_.Flush(&closed_);
  Keep();
  if (sessions_.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("log: expected lines that belong to sessions, got none in ",
                                                   grouping_.lines(), " lines and ", left_out_,
                                                   " sessions labelled as anomalies"));
  }
  LogTrainingData data = {.lines = grouping_.lines(),
                          .lines_without_session = grouping_.lines_without_session(),
                          .sessions_left_out = left_out_};
  ASSIGN_OR_RETURN(LogTransform log, LogTransform::FromState(
                                         LearnLogVocabulary(rules_.recipe(), miner_, std::move(examples_), sessions_)));
  const size_t width = log.features();
  if (sessions_.size() > kMaxValues / width) {
    return absl::InvalidArgumentError(absl::StrCat("log: expected at most ", kMaxValues, " values, got ",
                                                   sessions_.size(), " sessions of ", width, " features"));
  }
  data.rows.feature_names = log.FeatureNames();
  data.rows.values.resize(sessions_.size() * width);
  for (size_t i = 0; i < sessions_.size(); ++i) {
    log.ApplyToTraining(sessions_[i], std::span(data.rows.values).subspan(i * width, width));
  }
  data.log = std::make_shared<const LogTransform>(std::move(log));
  return data;
}

}  // namespace astray
