#include "engine/train/checkpoint.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/file.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

constexpr uint64_t kMaxCheckpointBytes = (uint64_t{1} << 31) - 1;
constexpr size_t kChecksumBytes = 64;

absl::Status Refuse(absl::StatusCode code, const std::string& path, absl::string_view text) {
  return absl::Status(code, absl::StrCat("checkpoint '", path, "': ", text, "; delete it to start afresh"));
}

// Leaves out what may change between two parts of a training.
v1::Recipe WithoutFreeFields(v1::Recipe recipe) {
  v1::TrainingRecipe fixed;
  fixed.set_batch_size(recipe.training().batch_size());
  fixed.set_validation_fraction(recipe.training().validation_fraction());
  if (recipe.training().has_pretraining()) *fixed.mutable_pretraining() = recipe.training().pretraining();
  if (recipe.training().has_sgd()) fixed.mutable_sgd();
  if (recipe.training().has_adam()) fixed.mutable_adam();
  *recipe.mutable_training() = fixed;
  recipe.clear_score();
  recipe.mutable_calibration()->clear_false_positive_rate();
  return recipe;
}

absl::StatusOr<v1::Checkpoint> Read(const std::string& path) {
  ASSIGN_OR_RETURN(std::string content, ReadFile(path, kMaxCheckpointBytes));
  if (content.size() < kChecksumBytes) return Refuse(absl::StatusCode::kDataLoss, path, "it is too short");
  const std::string checksum = content.substr(content.size() - kChecksumBytes);
  content.resize(content.size() - kChecksumBytes);
  if (Sha256Hex(content) != checksum) return Refuse(absl::StatusCode::kDataLoss, path, "its checksum does not fit");
  v1::Checkpoint state;
  if (!state.ParseFromString(content)) return Refuse(absl::StatusCode::kDataLoss, path, "it cannot be read");
  return state;
}

absl::Status CheckSameTraining(const std::string& path, const v1::Checkpoint& state, const v1::Recipe& recipe,
                               const std::string& data_sha256) {
  if (state.format_version() != kCheckpointFormatVersion) {
    return Refuse(absl::StatusCode::kFailedPrecondition, path,
                  absl::StrCat("format version ", state.format_version(), ": this astray reads version ",
                               kCheckpointFormatVersion));
  }
  std::string difference;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&difference);
  if (!differencer.Compare(WithoutFreeFields(state.recipe()), WithoutFreeFields(recipe))) {
    return Refuse(absl::StatusCode::kFailedPrecondition, path,
                  absl::StrCat("its recipe differs: ", difference.substr(0, difference.find('\n'))));
  }
  if (state.data_sha256() != data_sha256)
    return Refuse(absl::StatusCode::kFailedPrecondition, path, "it was made on other data");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string& path, const v1::Recipe& recipe,
                                          const std::string& data_sha256) {
  Checkpoint checkpoint = {.path = path};
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    ASSIGN_OR_RETURN(checkpoint.state, Read(path));
    RETURN_IF_ERROR(CheckSameTraining(path, checkpoint.state, recipe, data_sha256));
  }
  checkpoint.state.set_format_version(kCheckpointFormatVersion);
  checkpoint.state.set_data_sha256(data_sha256);
  *checkpoint.state.mutable_recipe() = recipe;
  return checkpoint;
}

absl::Status WriteCheckpoint(const Checkpoint& checkpoint) {
  std::string content;
  if (!checkpoint.state.SerializeToString(&content)) {
    return absl::InternalError(absl::StrCat("checkpoint '", checkpoint.path, "': could not be serialised"));
  }
  content += Sha256Hex(content);
  return WriteFileAtomically(checkpoint.path, content);
}

std::string PackFloats(std::span<const float> values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

absl::Status UnpackFloats(const std::string& field, const std::string& bytes, std::span<float> values) {
  if (bytes.size() != values.size_bytes()) {
    return absl::DataLossError(
        absl::StrCat("checkpoint: ", field, ": expected ", values.size_bytes(), " bytes, got ", bytes.size()));
  }
  std::vector<float> unpacked(values.size());
  std::memcpy(unpacked.data(), bytes.data(), bytes.size());
  if (!std::ranges::all_of(unpacked, [](float value) { return std::isfinite(value); })) {
    return absl::DataLossError(absl::StrCat("checkpoint: ", field, ": expected finite numbers"));
  }
  std::ranges::copy(unpacked, values.begin());
  return absl::OkStatus();
}

void PackRandom(const Random& random, google::protobuf::RepeatedField<uint64_t>* words) {
  words->Assign(random.state().begin(), random.state().end());
}

absl::Status UnpackRandom(const std::string& field, const google::protobuf::RepeatedField<uint64_t>& words,
                          Random* random) {
  Random::State state;
  if (static_cast<size_t>(words.size()) != state.size()) {
    return absl::DataLossError(
        absl::StrCat("checkpoint: ", field, ": expected ", state.size(), " words, got ", words.size()));
  }
  std::copy(words.begin(), words.end(), state.begin());
  random->set_state(state);
  return absl::OkStatus();
}

}  // namespace astray
