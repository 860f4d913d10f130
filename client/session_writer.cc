#include "client/session_writer.h"

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "client/command.h"
#include "engine/data/csv_writer.h"

namespace astray {
namespace {

std::string TimeText(double unix_seconds) {
  if (unix_seconds == 0) return "";
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", absl::UnixEpoch() + absl::Seconds(unix_seconds),
                          absl::UTCTimeZone());
}

}  // namespace

absl::Status SessionWriter::CheckFilter(VerdictFilter filter) {
  if (filter != VerdictFilter::kAlarms) return absl::OkStatus();
  return UsageError("--alarms-only: is for rows, not log lines");
}

void SessionWriter::Write(const v1::SessionVerdict& session) {
  const v1::Verdict& verdict = session.verdict();
  if (!Passes(filter_, verdict)) return;
  if (format_ == VerdictFormat::kJsonLines) {
    *out_ << ToJson(session) << "\n";
    return;
  }
  if (!header_written_) {
    *out_ << "session,first_line,lines,first_time,state,anomalous,score,error,p_value,unseen_lines,templates\n";
    header_written_ = true;
  }
  std::string line;
  AppendCsvCell(session.session(), &line);
  absl::StrAppend(&line, ",", session.first_line(), ",", session.lines(), ",", TimeText(session.first_unix_seconds()),
                  ",", absl::AsciiStrToLower(v1::Verdict::State_Name(verdict.state())), ",",
                  verdict.anomalous() ? 1 : 0, ",", FormatFloat(verdict.score()), ",", FormatFloat(verdict.error()),
                  ",", absl::StrFormat("%.6g", verdict.p_value()), ",", session.unseen_lines(), ",");
  std::string templates;
  for (const v1::TemplateShare& share : session.templates()) {
    absl::StrAppendFormat(&templates, "%s%.3f %s", templates.empty() ? "" : "; ", share.share(),
                          share.template_id() < 0 ? absl::StrCat("unseen: ", share.example()) : share.text());
  }
  AppendCsvCell(templates, &line);
  *out_ << line << "\n";
}

}  // namespace astray
