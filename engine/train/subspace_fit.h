// Near which subspace windows of normal rows lie (detect/normal_subspace.h).
#pragma once

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/calibration.pb.h"
#include "engine/features/pipeline.h"
#include "engine/train/hindsight_fit.h"

namespace astray {

// The principal components of the training windows, the largest first, until four fifths of their variance lie within;
// at most kMaxSubspaceComponents and kMaxSubspaceValues. Four fifths, since a window of noise has no few directions:
// what counts is to have those in which it moves most. The variance of each position is that of held-out windows, or
// of training ones where that is more, and not below what score_scale.h allows. Looks at 512 windows of each at most,
// evenly, so that it takes less than a second. None where no window fits into the training rows.
absl::StatusOr<std::optional<astray::v1::SubspaceScale>> FitSubspace(const Pipeline& pipeline,
                                                                     const std::vector<Stretch>& held_out,
                                                                     const std::vector<Stretch>& training);

}  // namespace astray
