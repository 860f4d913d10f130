#include "client/verdict_writer.h"

#include <array>
#include <charconv>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/verdict_json.h"
#include "engine/data/csv_writer.h"

namespace astray {
namespace {

// printf's %.<digits>f or %.<digits>g.
void AppendNumber(double value, std::chars_format format, int digits, std::string* out) {
  std::array<char, 400> text;  // the largest double with its decimals
  out->append(text.data(), std::to_chars(text.data(), text.data() + text.size(), value, format, digits).ptr);
}

// The name of a proto's enumerator in small letters.
void AppendLower(absl::string_view name, std::string* out) {
  for (const char c : name) *out += absl::ascii_tolower(c);
}

}  // namespace

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
  line_.clear();
  AppendLine(row, verdict, &line_);
  WriteLines(line_);
  return absl::OkStatus();
}

void VerdictWriter::WriteLines(absl::string_view lines) {
  if (lines.empty()) return;
  if (format_ == VerdictFormat::kCsv && !header_written_) {
    *out_ << "row,timestamp," << (entities_ ? "entity," : "")
          << "state,anomalous,score,error,p_value,contributors,alarm,by_t_squared"
          << (selected_ ? ",selected\n" : "\n");
    header_written_ = true;
  }
  out_->write(lines.data(), static_cast<std::streamsize>(lines.size()));
}

void VerdictWriter::AppendLine(const Row& row, const v1::Verdict& verdict, std::string* lines) const {
  if (!Passes(filter_, verdict)) return;
  if (format_ == VerdictFormat::kCsv) {
    AppendCsv(row, verdict, lines);
  } else {
    AppendVerdictJson(row, verdict, entities_, lines);
    *lines += '\n';
  }
}

void VerdictWriter::AppendCsv(const Row& row, const v1::Verdict& verdict, std::string* line) const {
  absl::StrAppend(line, row.number, ",");
  AppendCsvCell(row.timestamp, line);
  if (entities_) {
    *line += ',';
    AppendCsvCell(row.entity, line);
  }
  *line += ',';
  AppendLower(v1::Verdict::State_Name(verdict.state()), line);
  *line += verdict.anomalous() ? ",1," : ",0,";
  if (verdict.state() == v1::Verdict::SCORED) {
    AppendFloat(verdict.score(), line);
    *line += ',';
    AppendFloat(verdict.error(), line);
    *line += ',';
    AppendNumber(verdict.p_value(), std::chars_format::general, 6, line);
  } else {
    *line += ",,";
  }
  *line += ',';
  if (!verdict.contributions().empty()) {
    std::string contributors;
    for (const v1::Contribution& c : verdict.contributions()) {
      absl::StrAppend(&contributors, contributors.empty() ? "" : ";", c.feature(), "=");
      AppendNumber(c.share(), std::chars_format::fixed, 3, &contributors);
    }
    AppendCsvCell(contributors, line);
  }
  *line += ',';
  if (verdict.has_alarm()) AppendLower(v1::Alarm::State_Name(verdict.alarm().state()), line);
  *line += verdict.by_t_squared() ? ",1" : ",0";
  if (selected_) *line += verdict.selected() ? ",1" : ",0";
  *line += '\n';
}

}  // namespace astray
