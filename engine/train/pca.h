// Principal component analysis: the linear reconstruction that a denoising autoencoder has to beat.
#pragma once

#include <Eigen/Dense>
#include <cstddef>
#include <span>
#include <vector>

namespace astray {

class Pca {
 public:
  // Wider vectors than this take too long to decompose (cubic in the width).
  static constexpr size_t kMaxWidth = 1024;

  // values: [vectors x width]; at least two vectors.
  Pca(std::span<const float> values, size_t width);

  struct Errors {
    size_t components = 0;
    double denoising = 0;  // mean squared error of the corrupted vectors' reconstruction against the clean ones
    double clean = 0;      // of the clean vectors' reconstruction
  };

  // For every number of components from 1 to most_components at once: with c, d the coordinates of clean and corrupted
  // vectors, the error of k components is the sum of (c_i - d_i)² over i < k and of c_i² over the rest.
  // Returns the number with the smallest denoising error.
  Errors Best(std::span<const float> clean, std::span<const float> corrupted, size_t most_components) const;

  // The same for a given number of components.
  Errors For(std::span<const float> clean, std::span<const float> corrupted, size_t components) const;

  // The smallest number of components that leaves at most `share` of the clean vectors' variance.
  size_t ComponentsThatLeave(double share, std::span<const float> clean) const;

 private:
  std::vector<Errors> AllErrors(std::span<const float> clean, std::span<const float> corrupted) const;
  Eigen::VectorXd mean_;
  Eigen::MatrixXd components_;  // columns, largest variance first
};

}  // namespace astray
