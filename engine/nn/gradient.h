// Runs a network forward and backward on oneDNN for one fixed batch size: loss, and its gradient by every parameter.
// Primitives and buffers are made once. Not thread-safe. Same inputs, same bytes.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "engine/nn/network.h"

namespace astray {

// InvalidArgument names entry and field: "regularizer[0].kl_sparsity.target: expected a number in (0, 1), got 2".
// code: the activation of the code layer.
absl::Status CheckRegularizers(const google::protobuf::RepeatedPtrField<astray::v1::Regularizer>& regularizers,
                               astray::v1::Activation code);

class Gradient {
 public:
  // Keeps a reference to `network`, which must outlive it, and reads its parameters at every call.
  // BINARY_CROSS_ENTROPY needs a SIGMOID output (InvalidArgument otherwise) and is computed from the
  // pre-activation, so that saturation costs no accuracy.
  // `regularizers` add to Compute's loss and gradient, by the code of the batch (recipe.proto); KL needs a SIGMOID
  // code.
  static absl::StatusOr<std::unique_ptr<Gradient>> Create(
      const Network& network, astray::v1::Loss loss, size_t batch_size,
      const google::protobuf::RepeatedPtrField<astray::v1::Regularizer>& regularizers = {});
  ~Gradient();

  // input, target [batch_size x input/output_size]. `observed` is empty (all observed) or [batch_size x output_size]
  // of 0 and 1: entries that are 0 add nothing to loss or gradient.
  // Returns the mean loss over observed entries, and the regularizers; gradient() then holds d loss / d parameters().
  // MSE: mean (x̂ - x)²; BCE: mean -(x ln x̂ + (1 - x) ln(1 - x̂)); Huber: mean r²/2 for |r| <= 1, |r| - 1/2 beyond.
  absl::StatusOr<double> Compute(std::span<const float> input, std::span<const float> target,
                                 std::span<const float> observed);

  // The loss alone, without the backward pass.
  absl::StatusOr<double> Loss(std::span<const float> input, std::span<const float> target,
                              std::span<const float> observed);

  std::span<const float> gradient() const;  // laid out as Network::parameters()
  size_t batch_size() const;

 private:
  struct Impl;
  explicit Gradient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace astray
