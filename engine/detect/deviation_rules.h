// Which deviations of a reading from what the network expects count as none (recipe.proto, DeviationRule): too small to
// matter, or in the direction that nobody minds. With x the reading and e the expected value of a position, both in the
// user's units, and the rules of its feature, its deviation counts as none where
//   |x - e| < ignore_below,  |x - e| < ignore_below_ratio * |e|,  direction ABOVE and x <= e,  or BELOW and x >= e.
// Compiled once, when a model is made or loaded; immutable and thread-safe then.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "engine/detect/residual_sums.h"
#include "engine/features/pipeline.h"

namespace astray {

inline constexpr int kMaxDeviationRules = 1000;

// InvalidArgument where a rule cannot be one (untrusted); names it and, for an unknown feature, the known one that is
// spelled most like it: "rule[1].feature: expected a feature of the model, got 'flw'; did you mean 'flow'?". The same
// for a score of which a deviation that counts as none is no 0: the likelihood of counts, the cross-entropy.
absl::Status CheckDeviationRules(const google::protobuf::RepeatedPtrField<astray::v1::DeviationRule>& rules,
                                 const std::vector<std::string>& feature_names, astray::v1::ScoreKind kind,
                                 astray::v1::Loss loss);

class DeviationRules {
 public:
  DeviationRules() = default;  // none

  // The rules passed CheckDeviationRules for the pipeline's features.
  static DeviationRules Compile(const google::protobuf::RepeatedPtrField<astray::v1::DeviationRule>& rules,
                                const Pipeline& pipeline);

  bool empty() const { return features_.empty(); }

  // The output by which vectors are judged, `vectors.outputs` of each: theirs without rules. Else a copy in `counted`,
  // in which the deviations that count as none are: output there is input. Allocates nothing where `counted` has room.
  const float* Counted(const Scaler& scaler, const RebuiltVectors& vectors, std::vector<float>* counted) const;

 private:
  struct FeatureRule {
    double ignore_below = 0, ignore_below_ratio = 0;
    bool above_counts = true, below_counts = true;

    void Join(const FeatureRule& other);  // lets go what either does
    bool Counts(double reading, double expected) const;
  };

  std::vector<FeatureRule> features_;  // one a feature, or none at all
};

}  // namespace astray
