#include "client/verdict_writer.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/command.h"
#include "engine/data/csv_writer.h"

namespace astray {
namespace {

std::string StateName(v1::Verdict::State state) { return absl::AsciiStrToLower(v1::Verdict::State_Name(state)); }

}  // namespace

std::string VerdictJson(const Row& row, const v1::Verdict& verdict, bool entity) {
  // The verdict's own JSON, with row and timestamp before its fields.
  return absl::StrCat("{\"row\":", row.number, ",\"timestamp\":", JsonText(row.timestamp), ",",
                      entity ? absl::StrCat("\"entity\":", JsonText(row.entity), ",") : "", ToJson(verdict).substr(1));
}

bool Passes(VerdictFilter filter, const v1::Verdict& verdict) {
  switch (filter) {
    case VerdictFilter::kAll:
      return true;
    case VerdictFilter::kAnomalies:
      return verdict.anomalous();
    case VerdictFilter::kAlarms:
      return verdict.alarm().state() == v1::Alarm::RAISED || verdict.alarm().state() == v1::Alarm::ENDED;
    case VerdictFilter::kSelected:
      return verdict.selected();
  }
  return true;
}

absl::Status VerdictWriter::Write(const Row& row, const v1::Verdict& verdict) {
  if (!Passes(filter_, verdict)) return absl::OkStatus();
  line_.clear();
  if (format_ == VerdictFormat::kCsv) {
    WriteCsv(row, verdict);
  } else {
    absl::StrAppend(&line_, VerdictJson(row, verdict, entities_), "\n");
  }
  *out_ << line_;
  return absl::OkStatus();
}

void VerdictWriter::WriteCsv(const Row& row, const v1::Verdict& verdict) {
  if (!header_written_) {
    *out_ << "row,timestamp," << (entities_ ? "entity," : "")
          << "state,anomalous,score,error,p_value,contributors,alarm" << (selected_ ? ",selected\n" : "\n");
    header_written_ = true;
  }
  absl::StrAppend(&line_, row.number, ",");
  AppendCsvCell(row.timestamp, &line_);
  if (entities_) {
    line_ += ',';
    AppendCsvCell(row.entity, &line_);
  }
  absl::StrAppend(&line_, ",", StateName(verdict.state()), ",", verdict.anomalous() ? 1 : 0, ",");
  if (verdict.state() == v1::Verdict::SCORED) {
    absl::StrAppend(&line_, FormatFloat(verdict.score()), ",", FormatFloat(verdict.error()), ",",
                    absl::StrFormat("%.6g", verdict.p_value()));
  } else {
    line_ += ",,";
  }
  std::string contributors;
  for (const v1::Contribution& c : verdict.contributions()) {
    absl::StrAppendFormat(&contributors, "%s%s=%.3f", contributors.empty() ? "" : ";", c.feature(), c.share());
  }
  line_ += ',';
  AppendCsvCell(contributors, &line_);
  line_ += ',';
  if (verdict.has_alarm()) line_ += absl::AsciiStrToLower(v1::Alarm::State_Name(verdict.alarm().state()));
  if (selected_) line_ += verdict.selected() ? ",1" : ",0";
  line_ += '\n';
}

}  // namespace astray
