#include "engine/detect/session_verdict.h"

#include <algorithm>
#include <map>
#include <span>
#include <utility>

namespace astray {
namespace {

constexpr int64_t kUnseenTemplate = -1;

}  // namespace

void FillSession(const LogSession& session, v1::SessionVerdict* message) {
  message->set_session(session.key);
  message->set_first_line(session.first_line);
  message->set_lines(session.lines);
  message->set_first_unix_seconds(session.first_time.value_or(0));
  message->set_last_unix_seconds(session.last_time.value_or(0));
  message->set_unseen_lines(static_cast<uint64_t>(std::ranges::count(session.events, kUnknownEvent)));
}

void FillSessionRows(const LogTransform& log, const std::vector<LogSession>& sessions, std::vector<float>* rows) {
  rows->resize(sessions.size() * log.features());
  for (size_t i = 0; i < sessions.size(); ++i) {
    log.Apply(sessions[i].events, std::span(*rows).subspan(i * log.features(), log.features()));
  }
}

void FillTemplates(const LogTransform& log, const LogSession& session, v1::SessionVerdict* message) {
  std::map<int64_t, float> shares;
  for (const v1::Contribution& contribution : message->verdict().contributions()) {
    const std::optional<size_t> feature = log.FeatureNamed(contribution.feature());
    if (!feature) continue;
    const std::vector<uint32_t> ids = log.TemplatesOf(*feature);
    if (ids.empty()) shares[kUnseenTemplate] += contribution.share();
    for (const uint32_t id : ids) shares[id] += contribution.share() / static_cast<float>(ids.size());
  }
  std::vector<std::pair<int64_t, float>> largest(shares.begin(), shares.end());
  std::ranges::stable_sort(largest, [](const auto& a, const auto& b) { return a.second > b.second; });
  for (const auto& [id, share] : largest) {
    v1::TemplateShare* part = message->add_templates();
    part->set_template_id(id);
    part->set_share(share);
    if (id == kUnseenTemplate) {
      part->set_example(session.unknown_line);
    } else {
      part->set_text(log.TemplateText(static_cast<uint32_t>(id)));
      part->set_example(log.Example(static_cast<uint32_t>(id)));
    }
  }
}

}  // namespace astray
