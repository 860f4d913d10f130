// A training's state on disk, from which a killed one goes on to the same bytes.
#pragma once

#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "astray/v1/checkpoint.pb.h"
#include "engine/base/random.h"

namespace astray {

inline constexpr uint32_t kCheckpointFormatVersion = 2;              // 1: other random numbers from the same state
inline constexpr size_t kMaxCheckpointParameters = size_t{1} << 26;  // four times of them, and a message ends at 2 GiB

// A training's checkpoint file and what it held last; no path: none is kept.
struct Checkpoint {
  std::string path;
  astray::v1::Checkpoint state;  // step 0: nothing was trained yet

  bool kept() const { return !path.empty(); }
  bool begun() const { return state.step() > 0; }
};

// What the file holds, or a state with nothing trained where there is none. `data_sha256` is of the rows it trains on.
// DataLoss for a damaged file. FailedPrecondition for another format version, other data, or a recipe that differs in
// more than how training goes on (steps, patience, the optimizer's numbers, schedule) or what comes after it (score,
// false-positive rate):
//   "checkpoint 'x': its recipe differs: modified: network.encoder[0]: 64 -> 32; delete it to start afresh"
absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string& path, const astray::v1::Recipe& recipe,
                                          const std::string& data_sha256);

// Replaces the file at once: a crash leaves the state before or this one.
absl::Status WriteCheckpoint(const Checkpoint& checkpoint);

// Numbers and random streams as a checkpoint holds them; the readers fail with DataLoss on another size.
std::string PackFloats(std::span<const float> values);
absl::Status UnpackFloats(const std::string& field, const std::string& bytes, std::span<float> values);
void PackRandom(const Random& random, google::protobuf::RepeatedField<uint64_t>* words);
absl::Status UnpackRandom(const std::string& field, const google::protobuf::RepeatedField<uint64_t>& words,
                          Random* random);

}  // namespace astray
