// The half of DetectorRegistry that is about calibrations and what is kept of them.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "engine/base/status_macros.h"
#include "engine/detect/entity_streams.h"
#include "server/detector_registry.h"
#include "server/fingerprint.h"
#include "server/promotions.h"
#include "spdlog/spdlog.h"

namespace astray {
namespace {

constexpr uint64_t kOwnEpoch = 1;  // of the calibration inside the artifact

}  // namespace

absl::StatusOr<v1::ServingState> DetectorRegistry::ReadStateToChange(const std::string& name) const {
  absl::StatusOr<v1::ServingState> state = store_.ReadServingState(name);
  if (state.ok()) return state;
  return absl::FailedPreconditionError(absl::StrCat(state.status().message(), "; mend or remove that file first"));
}

absl::Status DetectorRegistry::WriteState(const std::string& name, v1::ServingState state, ServedModel* model) {
  state.set_change(std::max(state.change(), model->state.change()) + 1);
  RETURN_IF_ERROR(store_.WriteServingState(name, state));
  model->state = std::move(state);
  model->state_fingerprint = FileFingerprint(store_.ServingStatePath(name));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Calibration>> DetectorRegistry::ReadEpoch(const std::string& name,
                                                                               const ServedVersion& version,
                                                                               uint64_t epoch) const {
  if (epoch == kOwnEpoch) return version.calibration;
  absl::StatusOr<Calibration> calibration = store_.Read(name, version.number, epoch);
  if (absl::IsNotFound(calibration.status())) {
    ASSIGN_OR_RETURN(std::vector<uint64_t> epochs, store_.ListEpochs(name, version.number));
    epochs.insert(epochs.begin(), kOwnEpoch);
    if (epochs.size() > 10) epochs.erase(epochs.begin(), epochs.end() - 10);
    return absl::NotFoundError(absl::StrCat("model '", name, "' version ", version.number, ": calibration epoch ",
                                            epoch, ": not found; the newest are: ", absl::StrJoin(epochs, ", ")));
  }
  if (!calibration.ok()) return absl::FailedPreconditionError(calibration.status().message());
  if (calibration->origin().artifact_sha256 != version.artifact_sha256()) {
    return absl::FailedPreconditionError(absl::StrCat("model '", name, "' version ", version.number,
                                                      ": calibration epoch ", epoch, " belongs to another artifact (",
                                                      calibration->origin().artifact_sha256.substr(0, 12),
                                                      "), this one is ", version.artifact_sha256().substr(0, 12)));
  }
  return std::make_shared<const Calibration>(*std::move(calibration));
}

void DetectorRegistry::ApplyLiveCalibration(const std::string& name, const v1::ServingState& state,
                                            ServedVersion* version) {
  std::shared_ptr<const Calibration> live = version->calibration;
  const std::vector<uint64_t> epochs = PromotedEpochs(state, version->number, version->artifact_sha256());
  if (!epochs.empty()) {
    absl::StatusOr<std::shared_ptr<const Calibration>> promoted = ReadEpoch(name, *version, epochs.back());
    if (promoted.ok()) {
      live = *std::move(promoted);
    } else {
      spdlog::error("model {} version {}: the promoted calibration cannot be used, the artifact's own serves: {}", name,
                    version->number, std::string(promoted.status().message()));
      metrics_->CountLoadFailure(name);
    }
  } else if (std::any_of(state.versions().begin(), state.versions().end(), [&](const v1::VersionState& candidate) {
               return candidate.version() == version->number && candidate.promoted_epochs_size() > 0 &&
                      candidate.artifact_sha256() != version->artifact_sha256();
             })) {
    spdlog::warn("model {} version {}: calibrations were promoted for another artifact of this version; ignored", name,
                 version->number);
  }
  version->SetCalibration(std::move(live));
}

absl::StatusOr<std::shared_ptr<const Calibration>> DetectorRegistry::AddCalibration(const Detector& detector,
                                                                                    CalibrationSamples samples,
                                                                                    double false_positive_rate,
                                                                                    bool promote) {
  const std::string& name = detector.model().name;
  v1::ModelRef ref;
  ref.set_name(name);
  ref.set_version(detector.model().version);
  absl::MutexLock lock(&change_mutex_);
  const std::shared_ptr<const RegistrySnapshot> current = Current();
  const absl::StatusOr<const ServedVersion*> version = FindServing(*current, ref);
  if (!version.ok() || (*version)->artifact_sha256() != detector.model().artifact_sha256) {
    return absl::AbortedError(absl::StrCat("model '", name, "' version ", ref.version(),
                                           ": unloaded or replaced during the calibration; start again"));
  }
  v1::ServingState state;
  if (promote) {
    // Read first: nothing is kept of a call that cannot promote.
    ASSIGN_OR_RETURN(state, ReadStateToChange(name));
  }
  ASSIGN_OR_RETURN(const std::vector<uint64_t> taken, store_.ListEpochs(name, ref.version()));
  const uint64_t epoch = std::max({kOwnEpoch, detector.calibration().epoch(), taken.empty() ? 0 : taken.back()}) + 1;
  ASSIGN_OR_RETURN(Calibration made, Calibration::Create(std::move(samples), false_positive_rate,
                                                         {.epoch = epoch,
                                                          .created_unix_seconds = absl::ToUnixSeconds(absl::Now()),
                                                          .artifact_sha256 = detector.model().artifact_sha256}));
  auto calibration = std::make_shared<const Calibration>(std::move(made));
  RETURN_IF_ERROR(store_.Save(name, ref.version(), *calibration));
  spdlog::info("model {} version {}: calibration epoch {} of {} vectors, threshold {:.6g}", name, ref.version(), epoch,
               calibration->samples(), calibration->threshold());
  if (promote) {
    AddPromotedEpoch(ref.version(), (*version)->artifact_sha256(), epoch, &state, MostPromotedEpochs());
    RETURN_IF_ERROR(GoLive(name, ref.version(), std::move(state), calibration).status());
  }
  PruneCalibrations(name, ref.version());
  return calibration;
}

size_t DetectorRegistry::MostPromotedEpochs() const {
  return keep_calibrations_ == 0 ? kMaxPromotions : keep_calibrations_;
}

void DetectorRegistry::PruneCalibrations(const std::string& name, int64_t number) {
  if (keep_calibrations_ == 0) return;
  const absl::StatusOr<size_t> removed = [&]() -> absl::StatusOr<size_t> {
    // As it is on disk, where somebody may have changed it since the last look, and as it is served.
    ASSIGN_OR_RETURN(const v1::ServingState written, store_.ReadServingState(name));
    const std::shared_ptr<const RegistrySnapshot> current = Current();
    const ServedModel& served = *current->at(name);
    std::vector<uint64_t> named = NamedEpochs(written, number);
    for (const uint64_t epoch : NamedEpochs(served.state, number)) named.push_back(epoch);
    named.push_back(served.versions.at(number).detector->calibration().epoch());
    return store_.Prune(name, number, keep_calibrations_, named);
  }();
  if (!removed.ok()) {
    spdlog::warn("model {} version {}: old calibrations are not removed: {}", name, number,
                 std::string(removed.status().message()));
  } else if (*removed > 0) {
    spdlog::info("model {} version {}: {} old calibrations removed", name, number, *removed);
  }
}

absl::StatusOr<v1::ModelDescription> DetectorRegistry::Describe(const v1::ModelRef& ref) const {
  const std::shared_ptr<const RegistrySnapshot> current = Current();
  ASSIGN_OR_RETURN(const ServedVersion* version, FindIn(*current, ref));
  const DetectorModel& model = version->detector->model();
  v1::ModelDescription description;
  description.set_name(ref.name());
  const ServedModel& served = *current->at(ref.name());
  const absl::StatusOr<const ServedVersion*> serving_by_default = FindLive(ref.name(), served);
  *description.mutable_version() = Summarize(*version, serving_by_default.ok() && *serving_by_default == version);
  if (served.state.has_shadow()) *description.mutable_shadow() = SummarizeShadow(served);
  *description.mutable_recipe() = model.recipe;
  for (const std::string& feature : model.pipeline.feature_names()) description.add_features(feature);
  *description.mutable_profiles() = model.pipeline.scaler().state().profile();
  description.set_window(static_cast<uint32_t>(model.pipeline.window()));
  description.set_parameters(version->detector->parameter_count());
  if (const auto policy = StreamPolicy::FromRecipe(model.recipe); policy.ok()) {
    description.set_memory_rows(static_cast<uint32_t>(EntityStreams::MemoryRows(model.pipeline.window(), *policy)));
  }
  description.set_code_units(static_cast<uint32_t>(version->detector->code_size()));
  *description.mutable_drift() = version->drift->Summarize();

  const uint64_t live = version->detector->calibration().epoch();
  *description.add_calibrations() = Summarize(*version->calibration, live == kOwnEpoch);
  ASSIGN_OR_RETURN(const std::vector<uint64_t> epochs, store_.ListEpochs(ref.name(), version->number));
  for (const uint64_t epoch : epochs) {
    const absl::StatusOr<std::shared_ptr<const Calibration>> calibration = ReadEpoch(ref.name(), *version, epoch);
    if (calibration.ok() && epoch != kOwnEpoch) {
      *description.add_calibrations() = Summarize(**calibration, live == epoch);
    }
  }
  for (const auto& [label, number] : served.state.labels()) {
    if (number == version->number) description.add_labels(label);
  }
  std::sort(description.mutable_labels()->begin(), description.mutable_labels()->end());
  return description;
}

}  // namespace astray
