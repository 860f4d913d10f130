// Writes verdicts of log sessions, one line each: CSV with a header, or JSON lines.
#pragma once

#include <ostream>

#include "astray/v1/service.pb.h"
#include "client/verdict_writer.h"

namespace astray {

class SessionWriter {
 public:
  SessionWriter(std::ostream* out, VerdictFormat format, bool anomalies_only)
      : out_(out), format_(format), anomalies_only_(anomalies_only) {}

  void Write(const v1::SessionVerdict& session);

 private:
  std::ostream* out_;
  VerdictFormat format_;
  bool anomalies_only_;
  bool header_written_ = false;
};

}  // namespace astray
