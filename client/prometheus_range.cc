#include "client/prometheus_range.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <limits>
#include <map>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "client/command.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

constexpr int64_t kMaxChunk = 10'000;               // points of a series; Prometheus refuses more than 11,000
constexpr uint64_t kMaxValues = uint64_t{1} << 28;  // rows x features, as of a CSV

absl::StatusOr<absl::Time> ParseEnd(const std::string& text) {
  if (text.empty()) return absl::Now();
  absl::Time time;
  double seconds = 0;
  if (absl::ParseTime(absl::RFC3339_full, text, &time, nullptr)) return time;
  if (absl::SimpleAtod(text, &seconds) && seconds > 0 && seconds < 1e11)
    return absl::FromUnixSeconds(0) + absl::Seconds(seconds);
  return UsageError(absl::StrCat("--end: expected RFC 3339 or Unix seconds, got \"", ShownText(text), "\""));
}

std::string Quoted(absl::string_view text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// Columns of a table whose rows are steps.
class Table {
 public:
  Table(int64_t first, int64_t last) : first_(first), rows_(static_cast<size_t>(last - first + 1)) {}

  absl::Status Add(const PrometheusFeature& feature) {
    const auto [column, fresh] = columns_.try_emplace(feature.name);
    if (fresh) {
      if (columns_.size() * rows_ > kMaxValues) {
        return absl::InvalidArgumentError(absl::StrCat("expected at most ", kMaxValues, " values in a range"));
      }
      column->second.assign(rows_, std::numeric_limits<float>::quiet_NaN());
    }
    for (const auto& [k, value] : feature.readings) {
      const auto row = static_cast<size_t>(k - first_);
      column->second[row] = value;
      begin_ = std::min(begin_, row);
      end_ = std::max(end_, row + 1);
    }
    return absl::OkStatus();
  }

  // With the rows between the first and the last reading.
  Dataset ToDataset(const PrometheusClient& client) const {
    Dataset data;
    for (const auto& [name, values] : columns_) data.feature_names.push_back(name);
    for (size_t row = begin_; row < end_; ++row) {
      for (const auto& [name, values] : columns_) data.values.push_back(values[row]);
      data.timestamps.push_back(FormatPrometheusTime(client.TimeOf(first_ + static_cast<int64_t>(row))));
    }
    return data;
  }

 private:
  int64_t first_;
  size_t rows_, begin_ = std::numeric_limits<size_t>::max(), end_ = 0;
  std::map<std::string, std::vector<float>> columns_;
};

}  // namespace

void PrometheusRangeFlags::Add(CLI::App* command) {
  command->add_option("--range", range, "With prometheus:, how far back, such as 2h");
  command->add_option("--end", end, "With prometheus:, until when: RFC 3339 or Unix seconds (default: now)");
}

std::string FormatPrometheusTime(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", time, absl::UTCTimeZone());
}

std::string PrometheusStreamArguments(absl::string_view source, const PrometheusFlags& flags) {
  std::string text = absl::StrCat("--source=", Quoted(source));
  for (const std::string& query : flags.queries) absl::StrAppend(&text, " --query=", Quoted(query));
  absl::StrAppend(&text, " --step=", flags.step);
  if (!flags.by.empty()) absl::StrAppend(&text, " --by=", Quoted(absl::StrJoin(flags.by, ",")));
  return text;
}

absl::StatusOr<Dataset> ReadPrometheusRange(absl::string_view source, const PrometheusFlags& flags,
                                            const PrometheusRangeFlags& range) {
  ASSIGN_OR_RETURN(const PrometheusClient client, PrometheusClient::Make(source, flags, -1));
  absl::Duration length;
  if (!absl::ParseDuration(range.range, &length) || length < 2 * client.step() || length > absl::Hours(24 * 3660)) {
    return UsageError(absl::StrCat("--range: expected a time of at least two steps, such as 2h, got \"",
                                   ShownText(range.range), "\""));
  }
  ASSIGN_OR_RETURN(const absl::Time end, ParseEnd(range.end));
  const int64_t last = client.StepAt(end);
  const int64_t first = std::max<int64_t>(0, client.StepAt(end - length) + 1);
  if (static_cast<uint64_t>(last - first) >= kMaxValues) {
    return UsageError(absl::StrCat("--range: expected at most ", kMaxValues, " steps, got ", last - first + 1));
  }
  Table table(first, last);
  int64_t chunk = kMaxChunk;
  for (int64_t begin = first; begin <= last;) {
    const int64_t until = std::min(begin + chunk - 1, last);
    const auto features = client.Ask(begin, until);
    if (absl::IsResourceExhausted(features.status()) && until > begin) {
      chunk = (until - begin + 1) / 2;  // many series: fewer points of each
      continue;
    }
    RETURN_IF_ERROR(features.status());
    for (const PrometheusFeature& feature : *features) RETURN_IF_ERROR(table.Add(feature));
    begin = until + 1;
  }
  Dataset data = table.ToDataset(client);
  if (data.rows() == 0) {
    return absl::InvalidArgumentError(absl::StrCat(client.shown_url(), ": expected readings from ",
                                                   FormatPrometheusTime(client.TimeOf(first)), " to ",
                                                   FormatPrometheusTime(client.TimeOf(last)), ", got none"));
  }
  return data;
}

}  // namespace astray
