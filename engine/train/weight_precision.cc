#include "engine/train/weight_precision.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/nn/executor.h"

namespace astray {
namespace {

constexpr double kMostMoved = 0.01;  // of the squared residuals

// Whether noise of the size of what rounding moves would be lost in the residuals.
absl::StatusOr<bool> LeavesResiduals(const Network& network, const Network& rounded, const VectorSet& held_out) {
  const std::vector<float> values = held_out.GatherValues(), observed = held_out.GatherObserved();
  std::vector<float> before(values.size()), after(values.size());
  for (const auto& [of, output] : {std::pair(&network, &before), std::pair(&rounded, &after)}) {
    ASSIGN_OR_RETURN(const auto executor, Executor::Create(*of));
    RETURN_IF_ERROR(executor->Reconstruct(held_out.size(), values, *output));
  }
  std::vector<double> moved(held_out.width()), left(held_out.width());
  for (size_t i = 0; i < values.size(); ++i) {
    const double move = double{after[i]} - before[i], residual = double{values[i]} - before[i];
    moved[i % moved.size()] += observed[i] * move * move;
    left[i % left.size()] += observed[i] * residual * residual;
  }
  return std::ranges::equal(moved, left, [](double m, double l) { return m <= kMostMoved * l; });
}

}  // namespace

absl::Status SetWeightPrecision(const VectorSet& held_out, Network* network, v1::Recipe* recipe) {
  const v1::WeightPrecision asked = recipe->network().weight_precision();
  if (asked == v1::FLOAT32) return absl::OkStatus();
  Network rounded = network->Clone();
  rounded.RoundDenseWeights();
  if (asked == v1::WEIGHT_PRECISION_UNSPECIFIED) {
    ASSIGN_OR_RETURN(const bool fine, LeavesResiduals(*network, rounded, held_out));
    recipe->mutable_network()->set_weight_precision(fine ? v1::BFLOAT16 : v1::FLOAT32);
    if (!fine) return absl::OkStatus();
  }
  *network = std::move(rounded);
  return absl::OkStatus();
}

}  // namespace astray
