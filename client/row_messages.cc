#include "client/row_messages.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"
#include "engine/data/event_time.h"

namespace astray {

absl::StatusOr<bool> RowMessages::NextRow() {
  while (true) {
    ASSIGN_OR_RETURN(const bool more, source_->Next(&row_));
    if (!more) return false;
    if (!options_.normal_only || row_.label == 0) break;
    ++left_out_;
  }
  if (!options_.timed) return true;
  const std::optional<double> time = ParseEventTime(row_.timestamp);
  if (!time) {
    return absl::InvalidArgumentError(
        absl::StrCat("row ", row_.number, ": timestamp: expected a date and time or seconds since 1970, got \"",
                     ShownText(row_.timestamp), "\""));
  }
  time_ = *time;
  return true;
}

absl::StatusOr<bool> RowMessages::Next(v1::ScoreStreamRequest* request, std::vector<Row>* rows) {
  request->Clear();
  rows->clear();
  while (rows->size() < options_.batch_rows) {
    if (!std::exchange(waiting_, false)) {
      if (more_.ok() && *more_) more_ = NextRow();
      if (!more_.ok() || !*more_) break;
      waiting_ = !rows->empty() && (row_.entity != request->entity() || row_.segment != request->segment());
      if (waiting_) break;
    }
    request->set_entity(row_.entity);
    request->set_segment(row_.segment);
    request->mutable_values()->Add(row_.values.begin(), row_.values.end());
    if (options_.timed) request->add_time_unix_seconds(time_);
    rows->push_back({.number = row_.number, .timestamp = row_.timestamp, .entity = row_.entity});
  }
  if (rows->empty()) return more_;
  request->set_id(absl::StrCat(messages_++));
  return true;
}

void UnansweredRows::Push(const std::string& id, std::vector<Row> rows) {
  absl::MutexLock lock(&mutex_);
  rows_[id] = std::move(rows);
}

absl::Status UnansweredRows::Take(const v1::ScoreResponse& response, const ConsumeVerdict& consume) {
  std::vector<Row> rows;
  {
    absl::MutexLock lock(&mutex_);
    const auto sent = rows_.find(response.id());
    if (sent == rows_.end() || sent->second.size() != static_cast<size_t>(response.verdicts_size())) {
      return absl::InternalError(absl::StrCat("the server sent ", response.verdicts_size(),
                                              " verdicts for a message of ",
                                              sent == rows_.end() ? 0 : sent->second.size(), " rows"));
    }
    rows = std::move(sent->second);
    rows_.erase(sent);
  }
  for (size_t i = 0; i < rows.size(); ++i) consume(rows[i], response.verdicts(static_cast<int>(i)));
  return absl::OkStatus();
}

absl::Status UnansweredRows::CheckEmpty() const {
  absl::MutexLock lock(&mutex_);
  if (rows_.empty()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("the server sent no verdict for row ", rows_.begin()->second.front().number));
}

}  // namespace astray
