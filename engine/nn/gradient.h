// Runs a network forward and backward for one fixed batch size: loss, and its gradient by every parameter. Primitives
// and buffers are made once. Not thread-safe. Same inputs, same bytes, whatever the threads: work is cut by its size
// alone (docs/decisions/0014).
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "engine/base/random.h"
#include "engine/base/thread_team.h"
#include "engine/nn/network.h"

namespace astray {

class Gradient {
 public:
  // Keeps a reference to `network`, which must outlive it, and reads its parameters at every call.
  // InvalidArgument where the last layer's activation is not the loss's (ActivationOf), or a regularizer cannot be.
  // `regularizers` add to Compute's loss and gradient, by the code of the batch; `dropout` draws the dropout layers'
  // masks. `team`, which may be null and must outlive it, helps where the network is large enough to gain by it.
  static absl::StatusOr<std::unique_ptr<Gradient>> Create(
      const Network& network, astray::v1::Loss loss, size_t batch_size,
      const google::protobuf::RepeatedPtrField<astray::v1::Regularizer>& regularizers = {}, Random dropout = Random(1),
      ThreadTeam* team = nullptr);
  ~Gradient();

  // input [batch_size x input_size]; target [batch_size x reconstruction_size]. `observed` is empty (all observed) or
  // target's size of 0 and 1: entries that are 0 add nothing to loss or gradient.
  // Returns the mean loss over observed entries (loss.h), and the regularizers; gradient() then holds
  // d loss / d parameters().
  absl::StatusOr<double> Compute(std::span<const float> input, std::span<const float> target,
                                 std::span<const float> observed);

  // The loss alone, as in use: without dropout, regularizers and the backward pass.
  absl::StatusOr<double> Loss(std::span<const float> input, std::span<const float> target,
                              std::span<const float> observed);

  std::span<const float> gradient() const;  // laid out as Network::parameters()
  size_t batch_size() const;
  Random& dropout();  // its state is part of a checkpoint

 private:
  struct Impl;
  explicit Gradient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace astray
