#include "server/detector_registry.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"
#include "engine/detect/artifact.h"
#include "server/fingerprint.h"
#include "spdlog/spdlog.h"

namespace astray {
namespace {

constexpr int kMaxLabels = 64;
constexpr size_t kShadowValues = size_t{1} << 22;  // that wait to be scored by shadows: 16 MiB

absl::Status CheckLabel(const std::string& label) {
  // A number would read like a version.
  if (CheckModelName(label).ok() && ParseVersion(label) == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("label: expected [a-z0-9][a-z0-9_.-]{0,62} and no number, got '", label.substr(0, 64), "'"));
}

bool Serves(const ServedModel& model) {
  return std::any_of(model.versions.begin(), model.versions.end(),
                     [](const auto& entry) { return entry.second.detector != nullptr; });
}

void StopServing(ServedVersion* version) {
  version->state = v1::VersionSummary::UNLOADED;
  version->error.clear();
  version->detector = nullptr;
  version->calibration = nullptr;
  version->metrics = nullptr;
  version->drift = nullptr;
}

}  // namespace

DetectorRegistry::DetectorRegistry(std::filesystem::path base_path, Metrics* metrics, size_t keep_calibrations)
    : base_path_(base_path),
      store_(std::move(base_path)),
      metrics_(metrics),
      keep_calibrations_(keep_calibrations),
      lane_(kShadowValues),
      snapshot_(std::make_shared<const RegistrySnapshot>()) {}

std::shared_ptr<const RegistrySnapshot> DetectorRegistry::Current() const {
  absl::ReaderMutexLock lock(&snapshot_mutex_);
  return snapshot_;
}

void DetectorRegistry::Publish(const std::string& name, ServedModel model) {
  absl::StatusOr<std::shared_ptr<Shadow>> shadow = MakeShadow(name, model);
  std::string error(shadow.status().message());
  model.shadow = shadow.ok() ? *std::move(shadow) : nullptr;
  if (!error.empty() && error != model.shadow_error) spdlog::warn("model {}: nothing is in shadow: {}", name, error);
  model.shadow_error = std::move(error);
  const absl::StatusOr<const ServedVersion*> live = FindLive(name, model);
  for (auto& [number, version] : model.versions) {
    version.change = model.state.change();
    version.shadow = live.ok() && *live == &version ? model.shadow : nullptr;
  }
  auto next = std::make_shared<RegistrySnapshot>(*Current());
  (*next)[name] = std::make_shared<const ServedModel>(std::move(model));
  SetSnapshot(std::move(next));
}

void DetectorRegistry::Remove(const std::string& name) {
  auto next = std::make_shared<RegistrySnapshot>(*Current());
  next->erase(name);
  SetSnapshot(std::move(next));
}

void DetectorRegistry::SetSnapshot(std::shared_ptr<const RegistrySnapshot> next) {
  absl::MutexLock lock(&snapshot_mutex_);
  snapshot_.swap(next);
}

absl::StatusOr<const ServedVersion*> DetectorRegistry::FindIn(const RegistrySnapshot& current,
                                                              const v1::ModelRef& ref) const {
  absl::StatusOr<const ServedVersion*> version = FindServing(current, ref);
  if (!absl::IsNotFound(version.status())) return version;
  absl::ReaderMutexLock lock(&snapshot_mutex_);
  if (polled_) return version;
  return absl::UnavailableError(absl::StrCat("model '", ShownText(ref.name()), "': models are being loaded; retry"));
}

absl::StatusOr<ServedDetector> DetectorRegistry::Find(const v1::ModelRef& ref) const { return Find(*Current(), ref); }

absl::StatusOr<ServedDetector> DetectorRegistry::Find(const RegistrySnapshot& current, const v1::ModelRef& ref) const {
  ASSIGN_OR_RETURN(const ServedVersion* version, FindIn(current, ref));
  return ServedDetector{version->detector, version->metrics, version->drift, version->shadow, version->change};
}

absl::Status DetectorRegistry::Poll() {
  absl::MutexLock lock(&change_mutex_);
  const absl::StatusOr<std::vector<std::string>> names = ListModelNames(base_path_);
  if (!names.ok()) {
    if (!std::exchange(folder_lost_, true)) {
      spdlog::error("models: {}; what is loaded goes on serving", std::string(names.status().message()));
    }
    return names.status();
  }
  folder_lost_ = false;
  for (const std::string& name : *names) {
    // Not logged: a folder that cannot be listed now may be the next time, and what is loaded goes on serving.
    Refresh(name, false).IgnoreError();
  }
  for (const auto& [name, model] : *Current()) {
    if (std::binary_search(names->begin(), names->end(), name)) continue;
    spdlog::info("model {}: its folder is gone, stopped serving", name);
    metrics_->DropLoadFailures(name);
    Remove(name);
  }
  UpdateReadiness();
  return absl::OkStatus();
}

bool DetectorRegistry::ready() const {
  absl::ReaderMutexLock lock(&snapshot_mutex_);
  return ready_;
}

void DetectorRegistry::UpdateReadiness() {
  size_t versions = 0, serving = 0;
  for (const auto& [name, model] : *Current()) {
    versions += model->versions.size();
    for (const auto& [number, version] : model->versions) serving += version.detector != nullptr ? 1 : 0;
  }
  metrics_->SetModelsLoaded(serving);
  absl::MutexLock lock(&snapshot_mutex_);
  ready_ = ready_ || serving > 0 || versions == 0;
  polled_ = true;
}

absl::Status DetectorRegistry::Refresh(const std::string& name, bool force) {
  const absl::StatusOr<std::vector<int64_t>> numbers = ListVersions(base_path_, name);
  if (!numbers.ok()) return numbers.status();
  const std::shared_ptr<const RegistrySnapshot> current = Current();
  const auto it = current->find(name);
  ServedModel model = it == current->end() ? ServedModel() : *it->second;
  if (numbers->empty() && model.versions.empty()) return absl::OkStatus();

  bool changed = false;
  if (force) model.unloaded = false;
  const std::string state_fingerprint = FileFingerprint(store_.ServingStatePath(name));
  const bool new_state = force || it == current->end() || state_fingerprint != model.state_fingerprint;
  if (new_state) {
    changed = true;
    model.state_fingerprint = state_fingerprint;
    RefreshState(name, &model);
  }
  changed = std::erase_if(model.versions,
                          [&](const auto& entry) {
                            return !std::binary_search(numbers->begin(), numbers->end(), entry.first);
                          }) > 0 ||
            changed;
  for (const int64_t number : *numbers) {
    ServedVersion& version = model.versions[number];
    version.number = number;
    if (!force && (model.unloaded || version.state == v1::VersionSummary::UNLOADED)) {
      changed = changed || version.state != v1::VersionSummary::UNLOADED;
      StopServing(&version);
      continue;
    }
    const std::string fingerprint = FolderFingerprint(base_path_ / name / absl::StrCat(number));
    if (force || version.state == v1::VersionSummary::STATE_UNSPECIFIED || fingerprint != version.fingerprint) {
      changed = true;
      version.fingerprint = fingerprint;
      LoadVersion(name, model.state, &version);
    } else if (new_state && version.detector != nullptr) {
      ApplyLiveCalibration(name, model.state, &version);
    }
  }
  if (changed) Publish(name, std::move(model));
  return absl::OkStatus();
}

void DetectorRegistry::RefreshState(const std::string& name, ServedModel* model) {
  absl::StatusOr<v1::ServingState> state = store_.ReadServingState(name);
  if (state.ok()) {
    // Never backwards, though somebody removed the file or wrote an old one.
    state->set_change(std::max(state->change(), model->state.change()));
    model->state = *std::move(state);
    return;
  }
  spdlog::error("model {}: {}; its labels and promoted calibrations are not taken over", name,
                std::string(state.status().message()));
  metrics_->CountLoadFailure(name);
}

void DetectorRegistry::LoadVersion(const std::string& name, const v1::ServingState& state, ServedVersion* version) {
  absl::StatusOr<std::shared_ptr<const Detector>> detector =
      ReadArtifact(base_path_ / name / absl::StrCat(version->number));
  if (!detector.ok()) {
    const bool serves = version->detector != nullptr;
    version->error = std::string(detector.status().message());
    version->state = serves ? v1::VersionSummary::SERVING : v1::VersionSummary::FAILED;
    metrics_->CountLoadFailure(name);
    spdlog::error("model {} version {}: does not load{}: {}", name, version->number,
                  serves ? ", what was loaded goes on serving" : "", version->error);
    return;
  }
  version->error.clear();
  version->state = v1::VersionSummary::SERVING;
  if (version->detector != nullptr && version->artifact_sha256() != (*detector)->model().artifact_sha256) {
    version->drift = nullptr;
  }
  version->detector = *std::move(detector);
  version->calibration = std::make_shared<const Calibration>(version->detector->calibration());
  if (version->metrics == nullptr) version->metrics = metrics_->ForModel(name, version->number);
  ApplyLiveCalibration(name, state, version);
  spdlog::info("model {} version {}: loaded, artifact {}, calibration epoch {}, threshold {:.6g}", name,
               version->number, version->artifact_sha256().substr(0, 12), version->detector->calibration().epoch(),
               version->detector->calibration().threshold());
}

absl::StatusOr<ServedModel> DetectorRegistry::CopyModel(const std::string& name) const {
  const std::shared_ptr<const RegistrySnapshot> current = Current();
  const auto it = current->find(name);
  if (it != current->end()) return *it->second;
  v1::ModelRef ref;
  ref.set_name(name);
  return FindServing(*current, ref).status();
}

absl::StatusOr<v1::ModelSummary> DetectorRegistry::Load(const std::string& name) {
  RETURN_IF_ERROR(CheckModelName(name));
  absl::MutexLock lock(&change_mutex_);
  RETURN_IF_ERROR(Refresh(name, true));
  UpdateReadiness();
  const std::shared_ptr<const RegistrySnapshot> current = Current();
  const auto it = current->find(name);
  if (it == current->end() || it->second->versions.empty()) {
    return absl::NotFoundError(absl::StrCat("model '", name, "': its folder holds no version"));
  }
  if (!Serves(*it->second)) {
    v1::ModelRef ref;
    ref.set_name(name);
    return absl::FailedPreconditionError(FindServing(*current, ref).status().message());
  }
  return Summarize(name, *it->second);
}

absl::StatusOr<v1::ModelSummary> DetectorRegistry::Unload(const std::string& name, int64_t number) {
  absl::MutexLock lock(&change_mutex_);
  ASSIGN_OR_RETURN(ServedModel model, CopyModel(name));
  if (number == 0) {
    model.unloaded = true;
    for (auto& [unused, version] : model.versions) StopServing(&version);
  } else {
    const auto it = model.versions.find(number);
    if (it == model.versions.end()) {
      return absl::NotFoundError(absl::StrCat("model '", name, "': version ", number, ": not found"));
    }
    StopServing(&it->second);
  }
  v1::ModelSummary summary = Summarize(name, model);
  Publish(name, std::move(model));
  UpdateReadiness();
  spdlog::info("model {}: unloaded {}", name, number == 0 ? "every version" : absl::StrCat("version ", number));
  return summary;
}

absl::StatusOr<v1::ModelSummary> DetectorRegistry::SetLabel(const std::string& name, const std::string& label,
                                                            int64_t number) {
  RETURN_IF_ERROR(CheckLabel(label));
  absl::MutexLock lock(&change_mutex_);
  ASSIGN_OR_RETURN(ServedModel model, CopyModel(name));
  ASSIGN_OR_RETURN(v1::ServingState state, ReadStateToChange(name));
  if (number == 0) {
    if (state.mutable_labels()->erase(label) == 0) {
      return absl::NotFoundError(absl::StrCat("model '", name, "': label '", label, "': not found"));
    }
  } else {
    v1::ModelRef ref;
    ref.set_name(name);
    ref.set_version(number);
    RETURN_IF_ERROR(FindServing(*Current(), ref).status());
    (*state.mutable_labels())[label] = number;
    if (state.labels_size() > kMaxLabels) {
      return absl::FailedPreconditionError(
          absl::StrCat("model '", name, "': expected at most ", kMaxLabels, " labels; remove one first"));
    }
  }
  RETURN_IF_ERROR(WriteState(name, std::move(state), &model));
  v1::ModelSummary summary = Summarize(name, model);
  Publish(name, std::move(model));
  return summary;
}

v1::ListModelsResponse DetectorRegistry::List() const {
  v1::ListModelsResponse response;
  for (const auto& [name, model] : *Current()) *response.add_models() = Summarize(name, *model);
  return response;
}

void DetectorRegistry::RecordDrift() const {
  // The snapshot keeps the series that are set.
  const std::shared_ptr<const RegistrySnapshot> current = Current();
  for (const auto& [name, model] : *current) {
    for (const auto& [number, version] : model->versions) {
      if (version.drift != nullptr) metrics_->drift().Set(name, number, version.drift->Summarize());
    }
  }
}

}  // namespace astray
