#include "engine/detect/imputation.h"

#include <algorithm>
#include <cmath>

#include "engine/base/status_macros.h"

namespace astray {

void Imputer::SetRange(std::span<const float> low, std::span<const float> high) {
  low_ = low;
  high_ = high;
}

absl::Status Imputer::Impute(Executor& executor, size_t width, std::span<const float> observed, std::span<float> values,
                             std::span<ImputationOutcome> outcomes, uint32_t max_iterations, StillWanted wanted) {
  active_.clear();
  for (size_t i = 0; i < outcomes.size(); ++i) {
    outcomes[i] = ImputationOutcome();
    if (std::ranges::find(observed.subspan(i * width, width), 0.0f) == observed.begin() + (i + 1) * width) continue;
    active_.push_back(i);
  }
  for (uint32_t iteration = 1; !active_.empty() && iteration <= max_iterations; ++iteration) {
    RETURN_IF_ERROR(wanted());
    input_.clear();
    for (const size_t i : active_) {
      const auto vector = values.subspan(i * width, width);
      input_.insert(input_.end(), vector.begin(), vector.end());
    }
    output_.resize(input_.size());
    RETURN_IF_ERROR(executor.Reconstruct(active_.size(), input_, output_));
    for (size_t k = 0; k < active_.size(); ++k) {
      float distance = 0;
      for (size_t j = 0; j < width; ++j) {
        const size_t at = active_[k] * width + j;
        if (observed[at] != 0) continue;
        const size_t feature = j % low_.size();
        const float rebuilt = std::clamp(output_[k * width + j], low_[feature], high_[feature]);
        distance = std::max(distance, std::abs(rebuilt - values[at]));
        values[at] = (values[at] + rebuilt) / 2;
      }
      outcomes[active_[k]] = {.iterations = iteration, .converged = distance <= kImputationTolerance};
    }
    std::erase_if(active_, [&](size_t i) { return outcomes[i].converged; });
  }
  return absl::OkStatus();
}

}  // namespace astray
