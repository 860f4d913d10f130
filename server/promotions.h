// What operators promoted, as a ServingState keeps it: versions, each version's calibrations, and in which order
// rollback takes them back. Functions of the state alone; at most kMaxPromotions of each list are kept, of calibrations
// maybe fewer; the oldest go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "astray/v1/calibration.pb.h"

namespace astray {

inline constexpr size_t kMaxPromotions = 256;

// What `state` says of a version of this artifact; null where it says nothing.
const v1::VersionState* FindVersionState(const v1::ServingState& state, int64_t version, const std::string& sha256);

// Calibrations of a version of this artifact as they were promoted; the last is live. Empty: the artifact's own is.
std::vector<uint64_t> PromotedEpochs(const v1::ServingState& state, int64_t version, const std::string& sha256);

// Every calibration that `state` names for a version, of whichever artifact: promoted, or in shadow.
std::vector<uint64_t> NamedEpochs(const v1::ServingState& state, int64_t version);

// Forgets what was promoted for another artifact of this version, and all but the last `most`, which is at least 2: the
// one before is what rollback returns to.
void AddPromotedEpoch(int64_t version, const std::string& sha256, uint64_t epoch, v1::ServingState* state,
                      size_t most = kMaxPromotions);
// version 0: whichever is the latest.
void AddPromotedVersion(int64_t version, v1::ServingState* state);

// Take back the last promotion of a calibration of this version, or of a version. There must be one.
void RemovePromotedEpoch(int64_t version, v1::ServingState* state);
void RemovePromotedVersion(v1::ServingState* state);

}  // namespace astray
