#include "engine/features/log_rules.h"

#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"
#include "engine/features/log_time.h"
#include "engine/features/log_tokens.h"

namespace astray {
namespace {

using re2::RE2;

constexpr int64_t kPatternMemory = int64_t{1} << 20;
constexpr size_t kMaxFormatBytes = 100;
constexpr size_t kMaxReplacementBytes = 100;
constexpr double kMaxSeconds = 1e9;

absl::Status Refuse(absl::string_view field, absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat("features.log.", field, ": ", text));
}

absl::StatusOr<std::unique_ptr<RE2>> CompilePattern(absl::string_view field, const std::string& pattern) {
  if (pattern.empty() || pattern.size() > LogRules::kMaxPatternBytes) {
    return Refuse(field, absl::StrCat("expected a regular expression of 1 to ", LogRules::kMaxPatternBytes,
                                      " bytes, got ", pattern.size()));
  }
  RE2::Options options;
  options.set_max_mem(kPatternMemory);
  options.set_log_errors(false);
  auto compiled = std::make_unique<RE2>(pattern, options);
  if (compiled->ok()) return compiled;
  return Refuse(field, absl::StrCat("expected a regular expression, ", ShownText(compiled->error(), 100), ", got '",
                                    ShownText(pattern, 100), "'"));
}

absl::Status CheckNumber(absl::string_view field, double value, double most, bool zero) {
  if (value <= most && (zero ? value >= 0 : value > 0)) return absl::OkStatus();
  return Refuse(field, absl::StrCat("expected a number ", zero ? "of 0" : "above 0", " to ", most, ", got ", value));
}

}  // namespace

LogRules::LogRules() = default;
LogRules::LogRules(LogRules&&) noexcept = default;
LogRules& LogRules::operator=(LogRules&&) noexcept = default;
LogRules::~LogRules() = default;

absl::StatusOr<LogRules> LogRules::Create(const v1::LogRecipe& recipe) {
  LogRules rules;
  rules.recipe_ = recipe;
  RETURN_IF_ERROR(rules.CompleteAndCheck());
  RETURN_IF_ERROR(rules.Compile());
  return rules;
}

absl::Status LogRules::CompleteAndCheck() {
  const TemplateMiner::Options defaults;
  v1::LogRecipe& r = recipe_;
  if (r.grouping_case() == v1::LogRecipe::GROUPING_NOT_SET) r.set_window_lines(100);
  if (!r.has_idle_seconds()) r.set_idle_seconds(300);
  if (!r.has_depth()) r.set_depth(static_cast<uint32_t>(defaults.depth));
  if (!r.has_similarity()) r.set_similarity(defaults.similarity);
  if (!r.has_pairs()) r.set_pairs(true);
  if (!r.has_max_pairs()) r.set_max_pairs(512);
  for (v1::LogMask& mask : *r.mutable_mask()) {
    if (!mask.has_replacement()) mask.set_replacement(std::string(kWildcard));
  }

  if (r.has_window_seconds()) RETURN_IF_ERROR(CheckNumber("window_seconds", r.window_seconds(), kMaxSeconds, false));
  if (r.has_window_lines()) RETURN_IF_ERROR(CheckNumber("window_lines", r.window_lines(), 100'000, false));
  RETURN_IF_ERROR(CheckNumber("idle_seconds", r.idle_seconds(), kMaxSeconds, true));
  RETURN_IF_ERROR(CheckNumber("depth", r.depth(), 64, true));
  RETURN_IF_ERROR(CheckNumber("similarity", r.similarity(), 1, true));
  RETURN_IF_ERROR(CheckNumber("max_pairs", r.max_pairs(), 60'000, true));
  if (r.time_pattern().empty() != r.time_format().empty()) {
    return Refuse(r.time_pattern().empty() ? "time_pattern" : "time_format",
                  "expected both time_pattern and time_format, or neither");
  }
  if (r.time_format().size() > kMaxFormatBytes) {
    return Refuse("time_format",
                  absl::StrCat("expected at most ", kMaxFormatBytes, " bytes, got ", r.time_format().size()));
  }
  if (static_cast<size_t>(r.mask_size()) > kMaxMasks) {
    return Refuse("mask", absl::StrCat("expected at most ", kMaxMasks, ", got ", r.mask_size()));
  }
  return absl::OkStatus();
}

absl::Status LogRules::Compile() {
  if (recipe_.has_session_pattern()) {
    ASSIGN_OR_RETURN(session_, CompilePattern("session_pattern", recipe_.session_pattern()));
  }
  if (!recipe_.time_pattern().empty()) {
    ASSIGN_OR_RETURN(time_, CompilePattern("time_pattern", recipe_.time_pattern()));
    if (const int groups = time_->NumberOfCapturingGroups(); groups != 1) {
      return Refuse("time_pattern", absl::StrCat("expected one group, that of the time, got ", groups));
    }
  }
  for (int i = 0; i < recipe_.mask_size(); ++i) {
    const v1::LogMask& mask = recipe_.mask(i);
    const std::string field = absl::StrCat("mask[", i, "]");
    Mask compiled = {.replacement = mask.replacement()};
    ASSIGN_OR_RETURN(compiled.pattern, CompilePattern(absl::StrCat(field, ".pattern"), mask.pattern()));
    std::string error;
    if (mask.replacement().size() > kMaxReplacementBytes) {
      error = absl::StrCat("expected at most ", kMaxReplacementBytes, " bytes, got ", mask.replacement().size());
    } else {
      compiled.pattern->CheckRewriteString(mask.replacement(), &error);
    }
    if (!error.empty()) return Refuse(absl::StrCat(field, ".replacement"), ShownText(error, 200));
    masks_.push_back(std::move(compiled));
  }
  return absl::OkStatus();
}

TemplateMiner::Options LogRules::miner_options() const {
  return {.depth = recipe_.depth(), .similarity = recipe_.similarity()};
}

std::optional<std::string_view> LogRules::SessionKey(std::string_view line) const {
  if (session_ == nullptr) return std::nullopt;
  line = line.substr(0, kMaxLineBytes);
  re2::StringPiece found[2];
  const int groups = std::min(1, session_->NumberOfCapturingGroups());
  if (!session_->Match(line, 0, line.size(), RE2::UNANCHORED, found, groups + 1) || found[groups].empty()) {
    return std::nullopt;
  }
  return std::string_view(found[groups].data(), found[groups].size());
}

std::optional<double> LogRules::Time(std::string_view line) const {
  if (time_ == nullptr) return FindLogTime(line);
  line = line.substr(0, kMaxLineBytes);
  re2::StringPiece found[2];
  absl::Time time;
  std::string error;
  if (!time_->Match(line, 0, line.size(), RE2::UNANCHORED, found, 2) ||
      !absl::ParseTime(recipe_.time_format(), absl::string_view(found[1].data(), found[1].size()), &time, &error)) {
    return std::nullopt;
  }
  const double seconds = absl::ToDoubleSeconds(time - absl::UnixEpoch());
  if (!std::isfinite(seconds)) return std::nullopt;
  return seconds;
}

std::string_view LogRules::Masked(std::string_view line, std::string* buffer) const {
  line = line.substr(0, kMaxLineBytes);
  if (masks_.empty()) return line;
  buffer->assign(line);
  for (const Mask& mask : masks_) {
    RE2::GlobalReplace(buffer, *mask.pattern, mask.replacement);
    if (buffer->size() > kMaxLineBytes) buffer->resize(kMaxLineBytes);
  }
  return *buffer;
}

}  // namespace astray
