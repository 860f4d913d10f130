// The half of DetectorRegistry that is about what goes live, what comes back, and what runs in shadow before it does.
#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"
#include "server/detector_registry.h"
#include "server/promotions.h"
#include "spdlog/spdlog.h"

namespace astray {
namespace {

constexpr uint64_t kOwnEpoch = 1;  // of the calibration inside the artifact

v1::ModelRef VersionRef(const std::string& name, int64_t number) {
  v1::ModelRef ref;
  ref.set_name(name);
  ref.set_version(number);
  return ref;
}

// 0 where none serves.
int64_t LiveNumber(const std::string& name, const ServedModel& model) {
  const absl::StatusOr<const ServedVersion*> live = FindLive(name, model);
  return live.ok() ? (*live)->number : 0;
}

std::string CandidateText(const v1::ShadowState& candidate) {
  return candidate.epoch() == 0 ? absl::StrCat("version ", candidate.version())
                                : absl::StrCat("version ", candidate.version(), " epoch ", candidate.epoch());
}

bool IsShadow(const v1::ServingState& state, const v1::ShadowState& candidate) {
  return state.has_shadow() && state.shadow().version() == candidate.version() &&
         state.shadow().epoch() == candidate.epoch();
}

absl::Status CheckGate(const std::string& name, const v1::PromotionGate& gate, const ServedModel& model,
                       const v1::ShadowState& candidate) {
  if (!(gate.max_disagreement() >= 0 && gate.max_disagreement() <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("gate.max_disagreement: expected a number in [0, 1], got ", gate.max_disagreement()));
  }
  if (model.shadow == nullptr || !IsShadow(model.state, candidate)) {
    return absl::FailedPreconditionError(absl::StrCat("model '", name, "': gate: expected ", CandidateText(candidate),
                                                      " in shadow, got ",
                                                      !model.state.has_shadow()    ? "none"
                                                      : model.shadow_error.empty() ? CandidateText(model.state.shadow())
                                                                                   : model.shadow_error));
  }
  const v1::ShadowSummary seen = model.shadow->Summary();
  const uint64_t min_rows = std::max<uint64_t>(1, gate.min_rows());
  if (seen.rows() >= min_rows && seen.disagreement() <= gate.max_disagreement()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "model '", name, "': gate: expected a disagreement of at most ", gate.max_disagreement(), " over at least ",
      min_rows, " rows, got ", seen.disagreement(), " over ", seen.rows(), " rows (", seen.only_candidate_anomalous(),
      " anomalous for the candidate alone, ", seen.only_live_anomalous(), " for the live version alone)"));
}

void EndShadow(const v1::ShadowState& promoted, v1::ServingState* state) {
  if (IsShadow(*state, promoted)) state->clear_shadow();
}

v1::ShadowState Candidate(int64_t version, uint64_t epoch) {
  v1::ShadowState candidate;
  candidate.set_version(version);
  candidate.set_epoch(epoch);
  return candidate;
}

// Which promotion comes back next: 0 a version's, else one of this version's calibrations; nullopt where none is left.
// Drops entries with nothing behind them: of a version that is gone, of another artifact, of a list that was cut.
std::optional<int64_t> LastPromotion(const ServedModel& model, v1::ServingState* state) {
  auto* order = state->mutable_promotion_order();
  for (; !order->empty(); order->RemoveLast()) {
    const int64_t entry = *order->rbegin();
    if (entry == 0) {
      if (!state->promoted_versions().empty()) return entry;
      continue;
    }
    const auto version = model.versions.find(entry);
    if (version == model.versions.end()) continue;
    // Of one that does not serve the artifact is not known: whoever rolls back is told so.
    if (version->second.detector == nullptr ||
        !PromotedEpochs(*state, entry, version->second.artifact_sha256()).empty()) {
      return entry;
    }
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<v1::CalibrationChange> DetectorRegistry::GoLive(const std::string& name, int64_t number,
                                                               v1::ServingState state,
                                                               std::shared_ptr<const Calibration> calibration) {
  ASSIGN_OR_RETURN(ServedModel model, CopyModel(name));
  ServedVersion& version = model.versions.at(number);
  v1::CalibrationChange change;
  change.set_model(name);
  change.set_version(number);
  const Calibration& previous = version.detector->calibration();
  *change.mutable_previous() = Summarize(previous, previous.epoch() == calibration->epoch());
  *change.mutable_live() = Summarize(*calibration, true);
  change.set_previous_version(LiveNumber(name, model));
  change.set_live_version(change.previous_version());

  EndShadow(Candidate(number, calibration->epoch()), &state);
  RETURN_IF_ERROR(WriteState(name, std::move(state), &model));
  version.SetCalibration(std::move(calibration));
  change.set_change(model.state.change());
  spdlog::info("model {} version {}: calibration epoch {} is live, threshold {:.6g} (before: epoch {}, {:.6g})", name,
               number, change.live().epoch(), change.live().threshold(), change.previous().epoch(),
               change.previous().threshold());
  Publish(name, std::move(model));
  return change;
}

absl::StatusOr<v1::CalibrationChange> DetectorRegistry::GoLive(const std::string& name, v1::ServingState state) {
  ASSIGN_OR_RETURN(ServedModel model, CopyModel(name));
  v1::CalibrationChange change;
  change.set_model(name);
  change.set_previous_version(LiveNumber(name, model));
  if (change.previous_version() != 0) {
    *change.mutable_previous() = Summarize(model.versions.at(change.previous_version()).detector->calibration(), false);
  }
  std::swap(model.state, state);
  const absl::StatusOr<const ServedVersion*> live = FindLive(name, model);
  if (!live.ok()) return absl::FailedPreconditionError(live.status().message());
  std::swap(model.state, state);  // which WriteState replaces, once the new one is on disk
  change.set_live_version((*live)->number);
  change.set_version((*live)->number);
  *change.mutable_live() = Summarize((*live)->detector->calibration(), true);
  change.mutable_previous()->set_live(change.previous_version() == change.live_version());
  RETURN_IF_ERROR(WriteState(name, std::move(state), &model));
  change.set_change(model.state.change());
  spdlog::info("model {}: version {} is live (before: {}), {}", name, change.live_version(), change.previous_version(),
               model.state.promoted_versions().empty() || *model.state.promoted_versions().rbegin() == 0
                   ? "and whichever is the latest from now on"
                   : "until another one is promoted");
  Publish(name, std::move(model));
  return change;
}

absl::StatusOr<v1::CalibrationChange> DetectorRegistry::Promote(const v1::ModelRef& ref, uint64_t epoch,
                                                                const v1::PromotionGate* gate) {
  absl::MutexLock lock(&change_mutex_);
  const std::shared_ptr<const RegistrySnapshot> current = Current();
  ASSIGN_OR_RETURN(const ServedVersion* version, FindServing(*current, ref));
  ASSIGN_OR_RETURN(std::shared_ptr<const Calibration> calibration, ReadEpoch(ref.name(), *version, epoch));
  if (gate != nullptr) {
    RETURN_IF_ERROR(CheckGate(ref.name(), *gate, *current->at(ref.name()), Candidate(version->number, epoch)));
  }
  ASSIGN_OR_RETURN(v1::ServingState state, ReadStateToChange(ref.name()));
  const std::vector<uint64_t> epochs = PromotedEpochs(state, version->number, version->artifact_sha256());
  if (epoch != (epochs.empty() ? kOwnEpoch : epochs.back())) {
    AddPromotedEpoch(version->number, version->artifact_sha256(), epoch, &state, MostPromotedEpochs());
  }
  return GoLive(ref.name(), version->number, std::move(state), std::move(calibration));
}

absl::StatusOr<v1::CalibrationChange> DetectorRegistry::PromoteVersion(const std::string& name, int64_t number,
                                                                       const v1::PromotionGate* gate) {
  absl::MutexLock lock(&change_mutex_);
  const std::shared_ptr<const RegistrySnapshot> current = Current();
  if (number == 0) {
    RETURN_IF_ERROR(CopyModel(name).status());
  } else {
    RETURN_IF_ERROR(FindServing(*current, VersionRef(name, number)).status());
  }
  const v1::ShadowState candidate = Candidate(number, 0);
  if (gate != nullptr) RETURN_IF_ERROR(CheckGate(name, *gate, *current->at(name), candidate));
  ASSIGN_OR_RETURN(v1::ServingState state, ReadStateToChange(name));
  const auto& promoted = state.promoted_versions();
  if (number != (promoted.empty() ? 0 : *promoted.rbegin())) AddPromotedVersion(number, &state);
  EndShadow(candidate, &state);
  return GoLive(name, std::move(state));
}

absl::StatusOr<v1::CalibrationChange> DetectorRegistry::RollBackEpoch(const std::string& name,
                                                                      const ServedVersion& version,
                                                                      v1::ServingState state) {
  RemovePromotedEpoch(version.number, &state);
  const std::vector<uint64_t> epochs = PromotedEpochs(state, version.number, version.artifact_sha256());
  ASSIGN_OR_RETURN(std::shared_ptr<const Calibration> calibration,
                   ReadEpoch(name, version, epochs.empty() ? kOwnEpoch : epochs.back()));
  return GoLive(name, version.number, std::move(state), std::move(calibration));
}

absl::StatusOr<v1::CalibrationChange> DetectorRegistry::Rollback(const v1::ModelRef& ref) {
  absl::MutexLock lock(&change_mutex_);
  const std::string& name = ref.name();
  const std::shared_ptr<const RegistrySnapshot> current = Current();
  absl::StatusOr<const ServedVersion*> version = FindServing(*current, ref);
  if (ref.choice_case() != v1::ModelRef::CHOICE_NOT_SET) RETURN_IF_ERROR(version.status());
  RETURN_IF_ERROR(CopyModel(name).status());
  ASSIGN_OR_RETURN(v1::ServingState state, ReadStateToChange(name));
  if (ref.choice_case() == v1::ModelRef::CHOICE_NOT_SET) {
    const std::optional<int64_t> last = LastPromotion(*current->at(name), &state);
    if (last == 0) {
      RemovePromotedVersion(&state);
      return GoLive(name, std::move(state));
    }
    // Where none is left, the live version may have some of before the order was kept.
    if (last.has_value()) version = FindServing(*current, VersionRef(name, *last));
  }
  RETURN_IF_ERROR(version.status());
  if (PromotedEpochs(state, (*version)->number, (*version)->artifact_sha256()).empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("model '", name, "' version ", (*version)->number, ": no promotion to undo"));
  }
  return RollBackEpoch(name, **version, std::move(state));
}

absl::StatusOr<std::shared_ptr<Shadow>> DetectorRegistry::MakeShadow(const std::string& name,
                                                                     const ServedModel& model) const {
  if (!model.state.has_shadow()) return nullptr;
  const v1::ShadowState& asked = model.state.shadow();
  ASSIGN_OR_RETURN(const ServedVersion* live, FindLive(name, model));
  ASSIGN_OR_RETURN(const ServedVersion* version, FindServing(model, VersionRef(name, asked.version())));
  const uint64_t epoch = asked.epoch() == 0 ? version->detector->calibration().epoch() : asked.epoch();
  const auto same = [](const Detector& a, const Detector& b, uint64_t b_epoch) {
    return a.model().version == b.model().version && a.model().artifact_sha256 == b.model().artifact_sha256 &&
           a.calibration().epoch() == b_epoch;
  };
  if (model.shadow != nullptr && same(*model.shadow->candidate(), *version->detector, epoch) &&
      same(*model.shadow->live(), *live->detector, live->detector->calibration().epoch())) {
    return model.shadow;
  }
  std::shared_ptr<const Detector> candidate = version->detector;
  if (epoch != candidate->calibration().epoch()) {
    ASSIGN_OR_RETURN(std::shared_ptr<const Calibration> calibration, ReadEpoch(name, *version, epoch));
    candidate = candidate->WithCalibration(std::move(calibration));
  }
  RETURN_IF_ERROR(Shadow::Check(*live->detector, *candidate));
  return std::make_shared<Shadow>(live->detector, std::move(candidate), &lane_,
                                  metrics_->ForShadow(name, asked.version()));
}

absl::StatusOr<v1::SetShadowResponse> DetectorRegistry::SetShadow(const v1::SetShadowRequest& request) {
  absl::MutexLock lock(&change_mutex_);
  const std::string& name = request.name();
  ASSIGN_OR_RETURN(ServedModel model, CopyModel(name));
  ASSIGN_OR_RETURN(v1::ServingState state, ReadStateToChange(name));
  switch (request.candidate_case()) {
    case v1::SetShadowRequest::kVersion:
      *state.mutable_shadow() = Candidate(request.version(), 0);
      break;
    case v1::SetShadowRequest::kEpoch: {
      ASSIGN_OR_RETURN(const ServedVersion* live, FindLive(name, model));
      if (request.epoch() == 0) return absl::InvalidArgumentError("epoch: expected at least 1, got 0");
      *state.mutable_shadow() = Candidate(live->number, request.epoch());
      break;
    }
    case v1::SetShadowRequest::CANDIDATE_NOT_SET:
      state.clear_shadow();
      break;
  }
  model.shadow = nullptr;  // what was counted begins anew
  std::swap(model.state, state);
  RETURN_IF_ERROR(MakeShadow(name, model).status());
  std::swap(model.state, state);
  RETURN_IF_ERROR(WriteState(name, std::move(state), &model));
  v1::SetShadowResponse response;
  response.set_model(name);
  response.set_change(model.state.change());
  spdlog::info("model {}: in shadow: {}", name,
               model.state.has_shadow() ? CandidateText(model.state.shadow()) : std::string("nothing"));
  Publish(name, std::move(model));
  const std::shared_ptr<const RegistrySnapshot> now = Current();
  if (const ServedModel& served = *now->at(name); served.state.has_shadow()) {
    *response.mutable_shadow() = SummarizeShadow(served);
  }
  return response;
}

}  // namespace astray
