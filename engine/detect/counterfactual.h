// Names the features behind an anomaly by repairing them. A bad reading pulls what the network expects of the others
// away from them, so that they look bad, too; where it alone is repaired, they fit again. The repair of one that only
// suffers leaves the culprit as it is.
//
// A feature is repaired by taking all of its positions in the vector for missing and filling them in from the scaler's
// fill by the Imputer; the error is then that of the vector without it. Each suspect is repaired alone. Then, one after
// the other, the one that leaves the lowest score stays repaired, until the score is at most 1, no repair lowers it, or
// `most` are repaired.
//
// A vector's outcome does not depend on the vectors beside it, bit for bit. Not thread-safe. Reuse an object and
// nothing is allocated.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/still_wanted.h"
#include "engine/detect/error_formula.h"
#include "engine/detect/imputation.h"
#include "engine/features/batch.h"
#include "engine/nn/executor.h"

namespace astray {

struct DetectorModel;

inline constexpr size_t kMaxRepairs = 8;
inline constexpr size_t kMinSuspects = 5;
// Of the 0.4 % that take longer none was named otherwise (docs/decisions/0011-counterfactual-reasons.md).
inline constexpr uint32_t kRepairIterations = 16;

struct RepairStep {
  uint32_t feature = 0;
  float score = 0;  // of the vector with this feature and those of the steps before it repaired
};

class Counterfactual {
 public:
  // How many suspects a vector has whose repair is asked for `most` features.
  static size_t Suspects(size_t most) { return most == 0 ? 0 : most > kMinSuspects ? most : kMinSuspects; }

  void Clear() { cases_.clear(); }
  // A vector of the batch, of the given score by the given threshold, with at most Suspects(most) features to suspect;
  // of repairs that are equally good the earlier one's counts.
  void Add(size_t vector, float score, double threshold, std::span<const uint32_t> suspects);

  // formula: the model's. most: 1 to kMaxRepairs. wanted: asked before each pass through the network, of at most 256
  // vectors; its error is this one's.
  absl::Status Run(const DetectorModel& model, const ErrorFormula& formula, size_t most, const Batch& batch,
                   Executor& executor, StillWanted wanted = absl::OkStatus);

  // Of the i-th vector added: its score with each suspect alone repaired, in their order, NaN where nothing else is
  // observed; and the steps of its repair.
  std::span<const float> alone(size_t i) const { return std::span(cases_[i].alone).first(cases_[i].suspect_count); }
  std::span<const RepairStep> steps(size_t i) const { return std::span(cases_[i].steps).first(cases_[i].step_count); }

 private:
  struct Case {
    size_t vector = 0;
    float score = 0;  // after the steps so far
    double threshold = 0;
    bool done = false;
    uint32_t suspect_count = 0, step_count = 0;
    std::array<uint32_t, kMaxRepairs> suspects = {};
    std::array<float, kMaxRepairs> alone = {};
    std::array<RepairStep, kMaxRepairs> steps = {};

    bool IsRepaired(uint32_t feature) const;
  };
  struct Trial {  // a case's next step
    uint32_t of = 0;
    uint32_t suspect = 0;  // of the case's
    float score = 0;
  };

  void PlanTrials();
  absl::Status RunTrials(const DetectorModel& model, const ErrorFormula& formula, const Batch& batch,
                         Executor& executor, StillWanted wanted);
  void TakeBest();

  std::vector<Case> cases_;
  std::vector<Trial> trials_;
  Imputer imputer_;
  std::vector<float> values_, observed_, known_, output_, counted_, errors_;
  ErrorFormula::Scratch formula_scratch_;
  std::vector<ImputationOutcome> outcomes_;
};

}  // namespace astray
