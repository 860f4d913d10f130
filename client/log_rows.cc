#include "client/log_rows.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/command.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"
#include "engine/base/utf8.h"
#include "engine/data/cell.h"
#include "engine/data/csv_splitter.h"
#include "engine/data/line_reader.h"
#include "engine/features/log_sessions.h"

namespace astray {
namespace {

constexpr size_t kMaxLabelLineBytes = 1 << 16;
constexpr size_t kMaxLabelColumns = 1000;
constexpr size_t kMaxLabels = 50'000'000;

template <typename Each>
absl::Status ForEachLine(const std::string& path, Each each) {
  ASSIGN_OR_RETURN(auto source, ByteSource::Open(path));
  LineReader reader(std::move(source), path, LineReader::LongLines::kCut);
  absl::string_view line;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, reader.Next(&line));
    if (!more) return absl::OkStatus();
    RETURN_IF_ERROR(each(std::string_view(line.data(), line.size())));
  }
}

std::string KeyOf(absl::string_view cell) {
  return ReadableUtf8(std::string_view(cell.data(), cell.size()).substr(0, LogSessions::kMaxKeyBytes),
                      LogSessions::kMaxKeyBytes);
}

}  // namespace

bool IsNamedLog(absl::string_view path) { return absl::EndsWith(absl::StripSuffix(path, ".gz"), ".log"); }

absl::StatusOr<SessionLabels> ReadSessionLabels(const std::string& path) {
  ASSIGN_OR_RETURN(auto source, ByteSource::Open(path));
  CsvSplitter splitter(std::move(source), kMaxLabelLineBytes, kMaxLabelColumns);
  std::vector<absl::string_view> cells;
  const auto next = [&]() -> absl::StatusOr<bool> {
    auto more = splitter.Next(&cells);
    if (more.ok()) return more;
    return absl::Status(more.status().code(), absl::StrCat(path, ": ", more.status().message()));
  };
  ASSIGN_OR_RETURN(bool more, next());
  const auto found = std::ranges::find_if(cells, [](auto cell) { return absl::EqualsIgnoreCase(cell, "label"); });
  if (!more || found == cells.end() || found == cells.begin()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected a header with the sessions' keys first and a column 'label' behind them"));
  }
  const auto label_column = static_cast<size_t>(found - cells.begin());
  const size_t columns = cells.size();
  SessionLabels labels;
  while (true) {
    ASSIGN_OR_RETURN(more, next());
    if (!more) return labels;
    const auto refuse = [&](absl::string_view text) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": line ", splitter.line(), ": ", text));
    };
    if (cells.size() != columns) {
      return refuse(absl::StrCat("expected ", columns, " columns, got ", cells.size()));
    }
    uint8_t label = 0;
    if (!ParseLabel(cells[label_column], &label)) {
      return refuse(
          absl::StrCat("label: expected 0, 1, normal or anomaly, got \"", ShownText(cells[label_column]), "\""));
    }
    if (labels.size() >= kMaxLabels) return refuse(absl::StrCat("expected at most ", kMaxLabels, " sessions"));
    bool& anomalous = labels[KeyOf(cells.front())];
    anomalous = anomalous || label != 0;
  }
}

absl::StatusOr<LogTrainingData> ReadTrainingLog(const std::string& path, const v1::LogRecipe& recipe,
                                                const SessionLabels& labels) {
  if (path == "-") {
    return absl::InvalidArgumentError("--data: expected a file: a log is read twice, standard input only once");
  }
  const auto anomalous = [&](const std::string& key) {
    const auto label = labels.find(key);
    return label != labels.end() && label->second;
  };
  ASSIGN_OR_RETURN(const auto training,
                   LogTraining::Create(recipe, labels.empty() ? LogTraining::LeaveOut() : anomalous));
  RETURN_IF_ERROR(ForEachLine(path, [&](std::string_view line) {
    training->LearnTemplate(line);
    return absl::OkStatus();
  }));
  RETURN_IF_ERROR(ForEachLine(path, [&](std::string_view line) { return training->AddToSession(line); }));
  auto data = training->Finish();
  if (data.ok()) return data;
  return absl::Status(data.status().code(), absl::StrCat(path, ": ", data.status().message()));
}

absl::StatusOr<LabelledLog> ReadLabelledLog(const std::string& path, const LogTransform& log,
                                            const SessionLabels& labels) {
  LabelledLog data;
  data.rows.feature_names = log.FeatureNames();
  const size_t width = log.features();
  absl::flat_hash_set<std::string> used;
  LogSessions sessions(&log);
  std::vector<LogSession> closed;
  const auto take = [&]() -> absl::Status {
    for (const LogSession& session : closed) {
      if (data.rows.values.size() + width > LogTraining::kMaxValues) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": expected at most ", LogTraining::kMaxValues, " values, got more"));
      }
      const auto label = labels.find(session.key);
      if (label == labels.end()) {
        ++data.unlabelled;
      } else {
        used.insert(session.key);
      }
      data.keys.push_back(session.key);
      data.rows.labels.push_back(label != labels.end() && label->second ? 1 : 0);
      data.rows.values.resize(data.rows.values.size() + width);
      log.Apply(session.events, std::span(data.rows.values).last(width));
    }
    closed.clear();
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(ForEachLine(path, [&](std::string_view line) {
    sessions.Add(line, &closed);
    return closed.empty() ? absl::OkStatus() : take();
  }));
  sessions.Flush(&closed);
  RETURN_IF_ERROR(take());
  if (data.rows.labels.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected lines that belong to sessions, got none in ", sessions.lines(), " lines"));
  }
  data.lines_without_session = sessions.lines_without_session();
  data.unused = labels.size() - used.size();
  return data;
}

absl::StatusOr<LabelledLog> ReadLabelledSessions(const std::string& path, const LogTransform& log,
                                                 const std::string& labels_path, std::ostream& notes) {
  if (labels_path.empty()) return UsageError("--labels: expected a CSV of session keys and labels, got none");
  ASSIGN_OR_RETURN(const SessionLabels labels, ReadSessionLabels(labels_path));
  ASSIGN_OR_RETURN(LabelledLog data, ReadLabelledLog(path, log, labels));
  if (data.lines_without_session > 0)
    notes << "note: " << data.lines_without_session << " lines belong to no session\n";
  if (data.unlabelled > 0) notes << "note: " << data.unlabelled << " sessions have no label and count as normal\n";
  if (data.unused > 0) notes << "note: " << data.unused << " labels are of sessions that never occur\n";
  return data;
}

}  // namespace astray
