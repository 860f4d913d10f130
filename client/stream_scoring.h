// Sends a source's rows through one stream of a server and takes their verdicts; goes on where the server comes back.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "client/client.h"
#include "client/resuming_stream.h"
#include "client/row_messages.h"
#include "client/row_source.h"

namespace astray {

struct StreamScoringOptions {
  ResumingStream::Options stream;
  RowMessages::Options messages;
};

// Makes a source whose reads are Cancelled once something can be read from stop_fd.
using OpenSource = std::function<absl::StatusOr<std::unique_ptr<RowSource>>(int stop_fd)>;

// Returns when every row has its verdict, or at the first error: the source's, after the verdicts of the rows before
// it, or the call's, at once, even while the source waits for rows. `consume` is called by one thread at a time,
// another than the caller's.
absl::Status ScoreThroughServer(Client* client, const StreamScoringOptions& options, const OpenSource& open,
                                const ConsumeVerdict& consume);

}  // namespace astray
