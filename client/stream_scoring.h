// Sends a source's rows through one ScoreStream call and takes the verdicts back in order.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "astray/v1/service.pb.h"
#include "client/client.h"
#include "client/row_source.h"

namespace astray {

struct StreamScoringOptions {
  v1::ModelRef model;
  v1::ScoreOptions score;
  size_t batch_rows = 1;  // rows in a message
};

// `row` has no values. Called by one thread at a time, another than the caller's, as replies come in.
using ConsumeVerdict = std::function<void(const Row& row, const v1::Verdict& verdict)>;

// Makes a source whose reads are Cancelled once something can be read from stop_fd.
using OpenSource = std::function<absl::StatusOr<std::unique_ptr<RowSource>>(int stop_fd)>;

// Returns when every row has its verdict, or at the first error: the source's, after the verdicts of the rows before
// it, or the call's, at once, even while the source waits for rows.
absl::Status ScoreThroughServer(Client* client, const StreamScoringOptions& options, const OpenSource& open,
                                const ConsumeVerdict& consume);

}  // namespace astray
