// Missing values by self-consistency: what is missing becomes what the network makes of the vector that holds it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/nn/executor.h"

namespace astray {

inline constexpr uint32_t kMaxImputationIterations = 100;
inline constexpr float kImputationTolerance = 1e-3f;  // in scaled units

struct ImputationOutcome {
  uint32_t iterations = 0;  // 0 where nothing is missing
  bool converged = true;    // the last iteration moved no value by more than kImputationTolerance
};

// Solves x_j = r(x)_j for the missing entries j of each vector by x <- r(x), the network's reconstruction, from the
// values they come with, until no entry moves by more than kImputationTolerance or kMaxImputationIterations are done.
// A vector's outcome does not depend on the vectors beside it. Reuse an object and nothing is allocated.
class Imputer {
 public:
  // values, observed: [outcomes.size() x width]; observed is 1, or 0 for the entries to fill in.
  absl::Status Impute(Executor& executor, size_t width, std::span<const float> observed, std::span<float> values,
                      std::span<ImputationOutcome> outcomes);

 private:
  std::vector<size_t> active_;  // vectors that still move
  std::vector<float> input_, output_;
};

}  // namespace astray
