// What the code h of a batch costs beside the loss (recipe.proto, Regularizer).
#pragma once

#include <span>
#include <vector>

#include "absl/status/status.h"
#include "astray/v1/recipe.pb.h"
#include "engine/nn/network.h"

namespace astray {

// InvalidArgument names entry and field: "regularizer[0].kl_sparsity.target: expected a number in (0, 1), got 2".
absl::Status CheckRegularizers(const google::protobuf::RepeatedPtrField<astray::v1::Regularizer>& regularizers,
                               const Network& network);

// The sparsity of a batch's code, [rows x code_size]: returns its cost and adds d cost / d code to `delta`.
double AddSparsity(std::span<const astray::v1::Regularizer> regularizers, size_t rows, std::span<const float> code,
                   std::span<float> delta);

// The contractive penalty of an encoder of one dense layer h = f(z), z = W x + b: exactly
//   weight * mean over rows of |d h / d x|² = weight * mean of sum_j f'(z_j)² |W_j|²   (Rifai et al. 2011).
class ContractivePenalty {
 public:
  // The sum of the weights of all contractive entries; 0 where there is none.
  ContractivePenalty(std::span<const astray::v1::Regularizer> regularizers, const Network& network);

  // Returns the cost; adds d cost / d z to `delta` [rows x code_size] and keeps d cost / d W for AddToGradient.
  double AddToDelta(const Network& network, size_t rows, std::span<const float> code, std::span<float> delta);
  // Adds to the gradient by the code layer's weights.
  void AddToGradient(const Network& network, std::span<float> gradient) const;

 private:
  double weight_ = 0;
  std::vector<double> row_norms_;    // |W_j|²
  std::vector<double> row_factors_;  // d cost / d |W_j|²
};

}  // namespace astray
