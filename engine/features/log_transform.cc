#include "engine/features/log_transform.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/base/utf8.h"
#include "engine/features/feature_names.h"
#include "engine/features/log_tokens.h"

namespace astray {
namespace {

constexpr size_t kMaxShownBytes = 2000;

absl::Status Refuse(absl::string_view text) { return absl::InvalidArgumentError(absl::StrCat("log: ", text)); }

std::string EventName(uint32_t id_plus_one, absl::string_view border) {
  return id_plus_one == 0 ? std::string(border) : absl::StrCat("t", id_plus_one - 1);
}

// Words of an allowed length, parted by single blanks: what the miner writes.
bool IsTemplateText(std::string_view text) {
  if (text.size() > LogTransform::kMaxTemplateBytes) return false;
  const auto words = static_cast<size_t>(std::ranges::count(text, ' ')) + 1;
  return words <= kMaxLogTokens + 1 && text.find("  ") == std::string_view::npos &&
         (text.empty() || (text.front() != ' ' && text.back() != ' '));
}

}  // namespace

LogTransform::LogTransform(LogRules rules, v1::LogState state)
    : state_(std::move(state)), rules_(std::move(rules)), miner_(rules_.miner_options()) {
  *state_.mutable_recipe() = rules_.recipe();
}

absl::StatusOr<LogTransform> LogTransform::FromState(v1::LogState state) {
  ASSIGN_OR_RETURN(LogRules rules, LogRules::Create(state.recipe()));
  LogTransform transform(std::move(rules), std::move(state));
  RETURN_IF_ERROR(transform.AddTemplates());
  RETURN_IF_ERROR(transform.AddPairs());
  if (transform.features() > kMaxFeatures) {
    return Refuse(absl::StrCat("expected at most ", kMaxFeatures, " templates and pairs with a column, got ",
                               transform.features(), "; mask what differs from line to line (features.log.mask)"));
  }
  const std::vector<std::string> names = transform.FeatureNames();
  for (size_t i = 0; i < names.size(); ++i) transform.features_by_name_.emplace(names[i], i);
  return transform;
}

absl::Status LogTransform::AddTemplates() {
  if (templates() == 0 || templates() > kMaxTemplates) {
    return Refuse(absl::StrCat("templates: expected 1 to ", kMaxTemplates, ", got ", templates()));
  }
  template_columns_.assign(templates(), kNoColumn);
  for (uint32_t id = 0; id < templates(); ++id) {
    const v1::LogTemplate& one = state_.templates(static_cast<int>(id));
    const auto refuse = [&](absl::string_view text) { return Refuse(absl::StrCat("template ", id, ": ", text)); };
    if (!IsTemplateText(one.text())) {
      return refuse(absl::StrCat("text: expected at most ", kMaxLogTokens + 1, " words parted by one blank and ",
                                 kMaxTemplateBytes, " bytes, got ", one.text().size(), " bytes"));
    }
    if (one.example().size() > kMaxExampleBytes || !IsUtf8(one.example())) {
      return refuse(absl::StrCat("example: expected at most ", kMaxExampleBytes, " bytes of UTF-8"));
    }
    miner_.AddTemplate(one.text(), one.lines());
    if (one.sessions() < 2) continue;
    template_columns_[id] = static_cast<uint32_t>(features_.size());
    features_.push_back({.first = id + 1, .kind = Feature::Kind::kTemplate});
  }
  unseen_ = static_cast<uint32_t>(features_.size());
  features_.push_back({.kind = Feature::Kind::kUnseen});
  return absl::OkStatus();
}

absl::Status LogTransform::AddPairs() {
  const auto known = static_cast<size_t>(state_.pairs_size()) + static_cast<size_t>(state_.rare_pairs_size()) +
                     static_cast<size_t>(state_.single_pairs_size());
  if (known > (rules_.recipe().pairs() ? kMaxPairs : 0)) {
    return Refuse(absl::StrCat("pairs: expected at most ", rules_.recipe().pairs() ? kMaxPairs : 0, ", got ", known));
  }
  if (!rules_.recipe().pairs()) return absl::OkStatus();
  pair_kinds_.reserve(known);
  const auto add = [&](uint64_t pair, uint32_t kind) {
    if ((pair >> 32) <= templates() && (pair & 0xFFFFFFFF) <= templates() && pair != 0 &&
        pair_kinds_.emplace(pair, kind).second) {
      return absl::OkStatus();
    }
    return Refuse(absl::StrCat("pairs: expected each once, of templates up to ", templates(), ", got ", pair >> 32,
                               " and ", pair & 0xFFFFFFFF));
  };
  for (const uint64_t pair : state_.pairs()) {
    RETURN_IF_ERROR(add(pair, static_cast<uint32_t>(features_.size())));
    features_.push_back({static_cast<uint32_t>(pair >> 32), static_cast<uint32_t>(pair), Feature::Kind::kPair});
  }
  for (const uint64_t pair : state_.rare_pairs()) RETURN_IF_ERROR(add(pair, kNoColumn));
  for (const uint64_t pair : state_.single_pairs()) RETURN_IF_ERROR(add(pair, kOneSession));
  unseen_pairs_ = static_cast<uint32_t>(features_.size());
  features_.push_back({.kind = Feature::Kind::kUnseenPairs});
  return absl::OkStatus();
}

std::optional<uint32_t> LogTransform::Event(std::string_view line) const {
  thread_local std::string buffer;
  const auto id = miner_.Match(rules_.Masked(line, &buffer));
  if (!id || state_.templates(static_cast<int>(*id)).sessions() == 0) return std::nullopt;
  return static_cast<uint32_t>(*id);
}

std::vector<std::string> LogTransform::FeatureNames() const {
  std::vector<std::string> names;
  for (const Feature& feature : features_) {
    switch (feature.kind) {
      case Feature::Kind::kTemplate:
        names.push_back(EventName(feature.first, ""));
        break;
      case Feature::Kind::kUnseen:
        names.emplace_back("unseen");
        break;
      case Feature::Kind::kPair:
        names.push_back(absl::StrCat(EventName(feature.first, "^"), ">", EventName(feature.second, "$")));
        break;
      case Feature::Kind::kUnseenPairs:
        names.emplace_back("unseen_pairs");
        break;
    }
  }
  return names;
}

void LogTransform::Count(std::span<const uint32_t> events, bool training, std::span<float> row) const {
  std::ranges::fill(row, 0.0f);
  const auto is_known = [&](uint32_t event) {
    return event < templates() && !(training && state_.templates(static_cast<int>(event)).sessions() < 2);
  };
  for (const uint32_t event : events) {
    const uint32_t column = is_known(event) ? template_columns_[event] : unseen_;
    if (column != kNoColumn) row[column] += 1;
  }
  if (!rules_.recipe().pairs() || events.empty()) return;
  const auto count_pair = [&](uint64_t first, uint64_t second) {
    const auto known = pair_kinds_.find((first << 32) | second);
    if (known == pair_kinds_.end() || (training && known->second == kOneSession)) {
      row[unseen_pairs_] += 1;
    } else if (known->second < features_.size()) {
      row[known->second] += 1;
    }
  };
  // Ids + 1; an unknown event's, 0, would be the border, and is in no known pair.
  constexpr uint64_t kUnknown = 0xFFFFFFFF;
  const auto place = [&](uint32_t event) { return event < templates() ? uint64_t{event} + 1 : kUnknown; };
  const bool borders = rules_.recipe().has_session_pattern();
  if (borders) count_pair(0, place(events.front()));
  for (size_t i = 1; i < events.size(); ++i) count_pair(place(events[i - 1]), place(events[i]));
  if (borders) count_pair(place(events.back()), 0);
}

std::vector<uint32_t> LogTransform::TemplatesOf(size_t feature) const {
  std::vector<uint32_t> ids;
  for (const uint32_t id_plus_one : {features_[feature].first, features_[feature].second}) {
    if (id_plus_one > 0) ids.push_back(id_plus_one - 1);
  }
  return ids;
}

std::optional<size_t> LogTransform::FeatureNamed(std::string_view name) const {
  const auto known = features_by_name_.find(absl::string_view(name.data(), name.size()));
  if (known == features_by_name_.end()) return std::nullopt;
  return known->second;
}

std::string LogTransform::TemplateText(uint32_t id) const {
  return ReadableUtf8(state_.templates(static_cast<int>(id)).text(), kMaxShownBytes);
}

}  // namespace astray
