// A log made of the input: every line is in one session or in none, and sessions are readable. Then the same bytes as
// the state of a transform: refused with one line, or it counts, and its state reads back as it was. The first byte
// picks how lines are grouped.
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "engine/base/utf8.h"
#include "engine/features/log_sessions.h"
#include "engine/features/log_transform.h"
#include "engine/features/log_vocabulary.h"
#include "engine/features/template_miner.h"

namespace astray {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

v1::LogRecipe MakeRecipe(uint8_t choice) {
  v1::LogRecipe recipe;
  if (choice % 4 == 0) recipe.set_session_pattern("blk_-?[0-9]+");
  if (choice % 4 == 1) recipe.set_session_pattern("(?s)id=(\\C*)");
  if (choice % 4 == 2) recipe.set_window_seconds(0.5);
  if (choice % 4 == 3) recipe.set_window_lines(2);
  if (choice & 4) {
    recipe.add_mask()->set_pattern("[a-f]+");
    recipe.add_mask()->set_pattern("(.)(.)");
    recipe.mutable_mask(1)->set_replacement("\\2 \\1");
  }
  if (choice & 8) {
    recipe.set_time_pattern("at (.*)");
    recipe.set_time_format("%H:%M");
  }
  recipe.set_pairs((choice & 16) == 0);
  recipe.set_depth(choice >> 5);
  return recipe;
}

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

void CheckTransform(const LogTransform& log, const std::vector<std::string_view>& lines) {
  Require(log.FeatureNames().size() == log.features());
  const auto again = LogTransform::FromState(log.state());
  Require(again.ok() && again->state().SerializeAsString() == log.state().SerializeAsString());
  LogSessions sessions(&log, 3);
  std::vector<LogSession> closed;
  for (const std::string_view line : lines) {
    Require(again->Event(line) == log.Event(line));
    sessions.Add(line, &closed);
    Require(sessions.open() <= 3);
  }
  sessions.Flush(&closed);
  uint64_t in_sessions = 0;
  std::vector<float> row(log.features());
  for (const LogSession& session : closed) {
    Require(session.lines == session.events.size() && session.lines > 0 && session.first_line > 0);
    Require(IsUtf8(session.key) && session.key.size() <= LogSessions::kMaxKeyBytes && IsUtf8(session.unknown_line));
    Require(session.first_time.has_value() == session.last_time.has_value());
    in_sessions += session.lines;
    log.Apply(session.events, row);
    for (size_t i = 0; i < row.size(); ++i) {
      Require(row[i] >= 0 && row[i] <= static_cast<float>(session.lines + 1) && log.TemplatesOf(i).size() <= 2);
    }
  }
  Require(in_sessions + sessions.lines_without_session() == lines.size());
}

}  // namespace
}  // namespace astray

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace astray;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::vector<std::string_view> lines = Lines(text);
  const auto rules = LogRules::Create(MakeRecipe(data[0]));
  Require(rules.ok());

  TemplateMiner miner(rules->miner_options());
  std::vector<std::string> examples;
  std::string buffer;
  for (const std::string_view line : lines) {
    if (miner.Learn(rules->Masked(line, &buffer)) == examples.size()) examples.push_back(ReadableUtf8(line, 1000));
  }
  if (miner.size() > 0) {
    LogSessions sessions(&*rules, [&](std::string_view line) {
      const auto id = miner.Match(rules->Masked(line, &buffer));
      return id ? static_cast<uint32_t>(*id) : kUnknownEvent;
    });
    std::vector<LogSession> closed;
    for (const std::string_view line : lines) sessions.Add(line, &closed);
    sessions.Flush(&closed);
    std::vector<std::vector<uint32_t>> events;
    for (LogSession& session : closed) events.push_back(std::move(session.events));
    const auto log = LogTransform::FromState(LearnLogVocabulary(rules->recipe(), miner, std::move(examples), events));
    Require(log.ok());
    CheckTransform(*log, lines);
  }

  google::protobuf::SetLogHandler(nullptr);
  v1::LogState state;
  if (!state.ParseFromArray(text.data(), static_cast<int>(text.size()))) return 0;
  const auto log = LogTransform::FromState(std::move(state));
  if (log.ok()) {
    CheckTransform(*log, lines);
  } else {
    Require(absl::IsInvalidArgument(log.status()) && !absl::StrContains(log.status().message(), '\n'));
  }
  return 0;
}
