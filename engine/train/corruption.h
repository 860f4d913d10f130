// Damages clean vectors before the network sees them: a list of corruptions from the recipe, applied in order, drawn
// afresh at every call. Not thread-safe; the same seed and calls give the same bytes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "engine/base/random.h"
#include "engine/base/thread_team.h"
#include "engine/train/token_corruption.h"
#include "engine/train/vector_set.h"

namespace astray {

// InvalidArgument names the entry and field: "corruption[1].masking.keep_probability: expected (0, 1], got 1.5".
absl::Status CheckCorruption(const google::protobuf::RepeatedPtrField<v1::Corruption>& corruption, VectorShape shape);

class Corruptor {
 public:
  // Refuses what CheckCorruption refuses.
  static absl::StatusOr<Corruptor> Create(const google::protobuf::RepeatedPtrField<v1::Corruption>& corruption,
                                          VectorShape shape, Random random);

  // values: [vectors x width], changed in place; to the same bytes without a team and with one of any size.
  void Apply(std::span<float> values, ThreadTeam* team = nullptr);

  Random& random() { return random_; }  // its state is part of a checkpoint

 private:
  Corruptor(std::vector<v1::Corruption> corruption, VectorShape shape, Random random);
  void ApplyOne(const v1::Corruption& corruption, std::span<float> values);
  void Add(float sigma, std::span<float> values);
  void AddOfRandomLevel(float max_sigma, std::span<float> values);
  void Remove(const v1::PatchRemoval& patch, std::span<float> values);
  void Shuffle(const v1::LocalShuffle& shuffle, std::span<float> values);
  void Swap(float probability, std::span<float> values);
  // Calls change(draws, chunk, begin, part) for the values from `begin` on, chunk by chunk of fresh draws, on the team.
  template <typename Change>
  void ForEachChunk(std::span<float> values, Change change);
  // Calls change(value, u) with u from U(0, 1) for each value.
  template <typename Change>
  void ForEach(std::span<float> values, Change change);
  // Calls change(vector) for each vector.
  template <typename Change>
  void ForEachVector(std::span<float> values, Change change);

  std::vector<v1::Corruption> corruption_;
  VectorShape shape_;
  Random random_;
  TokenCorruptor tokens_;
  ThreadTeam* team_ = nullptr;          // of the current call
  std::vector<float> levels_, before_;  // scratch
  std::vector<uint32_t> order_;         // scratch
};

}  // namespace astray
