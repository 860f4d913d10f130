// Writes verdicts of log sessions, one line each: CSV with a header, or JSON lines.
#pragma once

#include <ostream>

#include "absl/status/status.h"
#include "astray/v1/service.pb.h"
#include "client/verdict_writer.h"

namespace astray {

class SessionWriter {
 public:
  SessionWriter(std::ostream* out, VerdictFormat format, VerdictFilter filter)
      : out_(out), format_(format), filter_(filter) {}

  // Sessions raise no alarms: a usage error for VerdictFilter::kAlarms.
  static absl::Status CheckFilter(VerdictFilter filter);

  void Write(const v1::SessionVerdict& session);

 private:
  std::ostream* out_;
  VerdictFormat format_;
  VerdictFilter filter_;
  bool header_written_ = false;
};

}  // namespace astray
