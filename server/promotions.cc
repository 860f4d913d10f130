#include "server/promotions.h"

#include <algorithm>

namespace astray {
namespace {

constexpr int64_t kOfVersions = 0;  // in promotion_order
constexpr size_t kMaxOrder = 4 * kMaxPromotions;

template <typename List>
void KeepNewest(size_t most, List* list) {
  const auto size = static_cast<size_t>(list->size());
  if (size > most) list->erase(list->begin(), list->begin() + static_cast<std::ptrdiff_t>(size - most));
}

void AddToOrder(int64_t entry, v1::ServingState* state) {
  state->add_promotion_order(entry);
  KeepNewest(kMaxOrder, state->mutable_promotion_order());
}

void RemoveFromOrder(int64_t entry, v1::ServingState* state) {
  auto* order = state->mutable_promotion_order();
  const auto last = std::find(order->rbegin(), order->rend(), entry);
  if (last != order->rend()) order->erase(std::next(last).base());
}

v1::VersionState* StateOf(int64_t version, v1::ServingState* state) {
  auto* versions = state->mutable_versions();
  const auto it = std::find_if(versions->begin(), versions->end(),
                               [&](const v1::VersionState& candidate) { return candidate.version() == version; });
  return it == versions->end() ? nullptr : &*it;
}

}  // namespace

const v1::VersionState* FindVersionState(const v1::ServingState& state, int64_t version, const std::string& sha256) {
  for (const v1::VersionState& candidate : state.versions()) {
    if (candidate.version() == version && candidate.artifact_sha256() == sha256) return &candidate;
  }
  return nullptr;
}

std::vector<uint64_t> PromotedEpochs(const v1::ServingState& state, int64_t version, const std::string& sha256) {
  const v1::VersionState* found = FindVersionState(state, version, sha256);
  if (found == nullptr) return {};
  return {found->promoted_epochs().begin(), found->promoted_epochs().end()};
}

std::vector<uint64_t> NamedEpochs(const v1::ServingState& state, int64_t version) {
  std::vector<uint64_t> epochs;
  for (const v1::VersionState& candidate : state.versions()) {
    if (candidate.version() != version) continue;
    epochs.insert(epochs.end(), candidate.promoted_epochs().begin(), candidate.promoted_epochs().end());
  }
  if (state.shadow().version() == version && state.shadow().epoch() != 0) epochs.push_back(state.shadow().epoch());
  return epochs;
}

void AddPromotedEpoch(int64_t version, const std::string& sha256, uint64_t epoch, v1::ServingState* state,
                      size_t most) {
  v1::VersionState* target = StateOf(version, state);
  if (target == nullptr) target = state->add_versions();
  if (target->artifact_sha256() != sha256) target->clear_promoted_epochs();
  target->set_version(version);
  target->set_artifact_sha256(sha256);
  target->add_promoted_epochs(epoch);
  KeepNewest(std::clamp<size_t>(most, 2, kMaxPromotions), target->mutable_promoted_epochs());
  AddToOrder(version, state);
}

void AddPromotedVersion(int64_t version, v1::ServingState* state) {
  state->add_promoted_versions(version);
  KeepNewest(kMaxPromotions, state->mutable_promoted_versions());
  AddToOrder(kOfVersions, state);
}

void RemovePromotedEpoch(int64_t version, v1::ServingState* state) {
  StateOf(version, state)->mutable_promoted_epochs()->RemoveLast();
  RemoveFromOrder(version, state);
}

void RemovePromotedVersion(v1::ServingState* state) {
  state->mutable_promoted_versions()->RemoveLast();
  RemoveFromOrder(kOfVersions, state);
}

}  // namespace astray
