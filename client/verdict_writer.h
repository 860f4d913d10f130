// Writes verdicts to a stream, one line each: CSV with a header, or JSON lines.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "astray/v1/service.pb.h"
#include "client/verdict_sink.h"
#include "engine/data/row.h"

namespace astray {

enum class VerdictFormat { kCsv, kJsonLines };

// Which verdicts are written: kAlarms those that raise or end one, kSelected those at a false discovery rate.
enum class VerdictFilter { kAll, kAnomalies, kAlarms, kSelected };
bool Passes(VerdictFilter filter, const v1::Verdict& verdict);

class VerdictWriter : public VerdictSink {
 public:
  VerdictWriter(std::ostream* out, VerdictFormat format, VerdictFilter filter)
      : out_(out), format_(format), filter_(filter) {}

  // Always OK: whether the stream took it, the stream knows.
  absl::Status Write(const Row& row, const v1::Verdict& verdict) override;
  absl::Status Finish() override { return absl::OkStatus(); }

  // The same in two steps, for verdicts in parallel: appends a verdict's line, if it passes, and writes lines. The
  // first may be called by several threads at once.
  void AppendLine(const Row& row, const v1::Verdict& verdict, std::string* lines) const;
  void WriteLines(absl::string_view lines);

  void ShowEntities() { entities_ = true; }
  void ShowSelected() { selected_ = true; }

 private:
  void AppendCsv(const Row& row, const v1::Verdict& verdict, std::string* line) const;

  std::ostream* out_;
  VerdictFormat format_;
  VerdictFilter filter_;
  bool entities_ = false;
  bool selected_ = false;
  bool header_written_ = false;
  std::string line_;
};

}  // namespace astray
