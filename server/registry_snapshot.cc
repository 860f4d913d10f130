#include "server/registry_snapshot.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/shown_text.h"
#include "engine/detect/calibration_message.h"

namespace astray {
namespace {

// "pump, valve and 3 more"; names may be many, a status is short.
std::string JoinSome(const std::vector<std::string>& items) {
  constexpr size_t kMost = 10;
  if (items.empty()) return "none";
  const size_t shown = std::min(items.size(), kMost);
  const std::string text = absl::StrJoin(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(shown), ", ");
  return items.size() == shown ? text : absl::StrCat(text, " and ", items.size() - shown, " more");
}

std::string ServingNames(const RegistrySnapshot& snapshot) {
  std::vector<std::string> names;
  for (const auto& [name, model] : snapshot) {
    const auto& versions = model->versions;
    if (std::any_of(versions.begin(), versions.end(), [](const auto& v) { return v.second.detector != nullptr; })) {
      names.push_back(name);
    }
  }
  return JoinSome(names);
}

std::string ServingVersions(const ServedModel& model) {
  std::vector<std::string> versions;
  for (const auto& [number, version] : model.versions) {
    if (version.detector != nullptr) versions.push_back(absl::StrCat(number));
  }
  return JoinSome(versions);
}

absl::StatusOr<const ServedVersion*> FindVersion(const std::string& name, const ServedModel& model, int64_t number,
                                                 absl::string_view asked_as) {
  const auto it = model.versions.find(number);
  if (it == model.versions.end()) {
    return absl::NotFoundError(
        absl::StrCat("model '", name, "': ", asked_as, ": not found; versions served: ", ServingVersions(model)));
  }
  const ServedVersion& version = it->second;
  if (version.detector != nullptr) return &version;
  const bool unloaded = version.state == v1::VersionSummary::UNLOADED;
  return absl::NotFoundError(absl::StrCat("model '", name, "': ", asked_as, ": ",
                                          unloaded ? "unloaded" : absl::StrCat("failed to load: ", version.error),
                                          "; versions served: ", ServingVersions(model)));
}

absl::StatusOr<const ServedVersion*> FindLatest(const std::string& name, const ServedModel& model) {
  for (auto it = model.versions.rbegin(); it != model.versions.rend(); ++it) {
    if (it->second.detector != nullptr) return &it->second;
  }
  if (model.versions.empty()) return absl::NotFoundError(absl::StrCat("model '", name, "': no versions"));
  // None serves: say why of the newest.
  return FindVersion(name, model, model.versions.rbegin()->first,
                     absl::StrCat("version ", model.versions.rbegin()->first));
}

}  // namespace

void ServedVersion::SetCalibration(std::shared_ptr<const Calibration> live) {
  metrics->SetCalibration(*live);
  detector = detector->WithCalibration(std::move(live));
  // A look at the state on disk may find what was live before.
  const Calibration& calibration = detector->calibration();
  if (drift != nullptr && drift->calibration_epoch() == calibration.epoch()) return;
  const size_t spacing = DriftMonitor::Spacing(detector->window(), calibration.autocorrelation_time());
  drift = std::make_shared<DriftMonitor>(calibration, detector->model().pipeline,
                                         DriftMonitor::Options{.spacing = spacing, .seed = calibration.epoch()});
}

absl::StatusOr<const ServedVersion*> FindServing(const RegistrySnapshot& snapshot, const v1::ModelRef& ref) {
  if (ref.name().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("model.name: expected a model's name, got ''; models served: ", ServingNames(snapshot)));
  }
  const auto it = snapshot.find(ref.name());
  if (it == snapshot.end() || it->second->versions.empty()) {
    return absl::NotFoundError(
        absl::StrCat("model '", ShownText(ref.name()), "': not found; models served: ", ServingNames(snapshot)));
  }
  return FindServing(*it->second, ref);
}

absl::StatusOr<const ServedVersion*> FindServing(const ServedModel& model, const v1::ModelRef& ref) {
  switch (ref.choice_case()) {
    case v1::ModelRef::kVersion:
      return FindVersion(ref.name(), model, ref.version(), absl::StrCat("version ", ref.version()));
    case v1::ModelRef::kLabel: {
      const auto label = model.state.labels().find(ref.label());
      if (label != model.state.labels().end()) {
        return FindVersion(ref.name(), model, label->second,
                           absl::StrCat("label '", ref.label(), "' (version ", label->second, ")"));
      }
      std::vector<std::string> labels;
      for (const auto& [name, version] : model.state.labels()) labels.push_back(name);
      std::sort(labels.begin(), labels.end());
      return absl::NotFoundError(absl::StrCat("model '", ref.name(), "': label '", ShownText(ref.label()),
                                              "': not found; labels: ", JoinSome(labels)));
    }
    case v1::ModelRef::CHOICE_NOT_SET:
      break;
  }
  return FindLive(ref.name(), model);
}

absl::StatusOr<const ServedVersion*> FindLive(const std::string& name, const ServedModel& model) {
  const auto& promoted = model.state.promoted_versions();
  for (auto number = promoted.rbegin(); number != promoted.rend(); ++number) {
    if (*number == 0) return FindLatest(name, model);
    const auto it = model.versions.find(*number);
    if (it != model.versions.end() && it->second.detector != nullptr) return &it->second;
  }
  if (promoted.empty()) return FindLatest(name, model);
  const int64_t last = *promoted.rbegin();
  return FindVersion(name, model, last, absl::StrCat("version ", last, " (promoted)"));
}

v1::VersionSummary Summarize(const ServedVersion& version, bool live) {
  v1::VersionSummary summary;
  summary.set_live(live);
  summary.set_version(version.number);
  summary.set_state(version.state);
  summary.set_error(version.error);
  if (version.detector != nullptr) {
    summary.set_artifact_sha256(version.artifact_sha256());
    summary.set_calibration_epoch(version.detector->calibration().epoch());
    summary.set_threshold(version.detector->calibration().threshold());
  }
  return summary;
}

v1::ModelSummary Summarize(const std::string& name, const ServedModel& model) {
  v1::ModelSummary summary;
  summary.set_name(name);
  const absl::StatusOr<const ServedVersion*> live = FindLive(name, model);
  for (const auto& [number, version] : model.versions) {
    *summary.add_versions() = Summarize(version, live.ok() && *live == &version);
  }
  summary.set_change(model.state.change());
  *summary.mutable_labels() = model.state.labels();
  return summary;
}

v1::ShadowSummary SummarizeShadow(const ServedModel& model) {
  if (model.shadow != nullptr) return model.shadow->Summary();
  v1::ShadowSummary summary;
  summary.set_version(model.state.shadow().version());
  summary.set_epoch(model.state.shadow().epoch());
  summary.set_error(model.shadow_error);
  return summary;
}

v1::CalibrationSummary Summarize(const Calibration& calibration, bool live) {
  v1::CalibrationSummary summary = SummarizeCalibration(calibration);
  summary.set_live(live);
  return summary;
}

}  // namespace astray
