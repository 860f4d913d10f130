// Damages clean vectors before the network sees them: a list of corruptions from the recipe, applied in order, drawn
// afresh at every call. Not thread-safe; the same seed and calls give the same bytes.
#pragma once

#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "engine/base/random.h"

namespace astray {

// InvalidArgument names the entry and field: "corruption[1].masking.keep_probability: expected (0, 1], got 1.5".
absl::Status CheckCorruption(const google::protobuf::RepeatedPtrField<v1::Corruption>& corruption);

class Corruptor {
 public:
  // `width`: values in a vector. Refuses what CheckCorruption refuses.
  static absl::StatusOr<Corruptor> Create(const google::protobuf::RepeatedPtrField<v1::Corruption>& corruption,
                                          size_t width, Random random);

  // values: [vectors x width], changed in place.
  void Apply(std::span<float> values);

 private:
  Corruptor(std::vector<v1::Corruption> corruption, size_t width, Random random);
  void AddNoise(float sigma, std::span<float> values);

  std::vector<v1::Corruption> corruption_;
  size_t width_;
  Random random_;
  std::vector<float> draws_;  // scratch
};

}  // namespace astray
