// Scores the lines of a log, through a server or without one, for the commands that print a line for each session.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "astray/v1/service.pb.h"
#include "client/file_scoring.h"

namespace astray {

// Whether data is log lines: --input-format=log, or a name that ends in .log or .log.gz.
bool IsLogData(const std::string& path, RowFormat format);

// `consume` is called for each session as it is complete, by one thread at a time; the sessions that are open at the
// end of the data are complete there. The same verdicts either way. FailedPrecondition for a model that was not trained
// on a log. Any bytes are lines; of each the first LogRules::kMaxLineBytes count.
// A server that goes away after it has answered and comes back within give_up_seconds costs time and no session, where
// the lines are those of a file that is not followed. Unavailable says why not: lines that cannot be read again, a file
// that makes other sessions than before, three streams in a row that bring nothing new.
absl::Status ScoreLog(const FileScoringFlags& flags, const v1::ScoreOptions& options,
                      const std::function<void(const v1::SessionVerdict&)>& consume);

}  // namespace astray
