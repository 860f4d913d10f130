// Rows of a source as messages of ScoreStream, and replies as the rows' verdicts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "astray/v1/service.pb.h"
#include "client/row_source.h"

namespace astray {

// `row` has no values.
using ConsumeVerdict = std::function<void(const Row& row, const v1::Verdict& verdict)>;

// Runs of rows of one entity and segment, at most batch_rows in a message. Not thread-safe.
class RowMessages {
 public:
  struct Options {
    size_t batch_rows = 1;
    bool timed = false;        // messages have the rows' times
    bool normal_only = false;  // rows labelled as anomalies are left out
  };
  // `source` must outlive it.
  RowMessages(RowSource* source, const Options& options) : source_(source), options_(options) {}

  // Fills values, entity, times and id of `request`, and `rows` with the same rows, without values. False at the end.
  // Errors are the source's, once what came before has been given, and InvalidArgument for a row whose time is not one.
  absl::StatusOr<bool> Next(v1::ScoreStreamRequest* request, std::vector<Row>* rows);

  uint64_t left_out() const { return left_out_; }

 private:
  absl::StatusOr<bool> NextRow();  // into row_

  RowSource* source_;
  Options options_;
  uint64_t messages_ = 0, left_out_ = 0;
  Row row_;
  double time_ = 0;       // of row_
  bool waiting_ = false;  // row_ is the first of the next message
  absl::StatusOr<bool> more_ = true;
};

// Rows that were sent and have no verdict yet, by their message's id. Thread-safe.
class UnansweredRows {
 public:
  void Push(const std::string& id, std::vector<Row> rows) ABSL_LOCKS_EXCLUDED(mutex_);
  // Calls `consume` for each of the reply's rows. Internal where the reply is none to those sent.
  absl::Status Take(const v1::ScoreResponse& response, const ConsumeVerdict& consume) ABSL_LOCKS_EXCLUDED(mutex_);
  // Internal where a row is left.
  absl::Status CheckEmpty() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  mutable absl::Mutex mutex_;
  std::map<std::string, std::vector<Row>> rows_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace astray
