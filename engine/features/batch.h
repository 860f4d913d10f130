// Vectors on their way into or out of a network: values and which of them were observed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace astray {

struct Batch {
  size_t vectors = 0;
  size_t width = 0;             // values in a vector
  std::vector<float> values;    // vectors x width, row-major, finite
  std::vector<float> observed;  // the same shape: 1, or 0 where the value was missing and was filled in

  // Scratch of Pipeline::Apply: single rows before they are laid out in windows.
  std::vector<float> row_values, row_observed;

  void Resize(size_t new_vectors, size_t new_width) {
    vectors = new_vectors;
    width = new_width;
    values.resize(vectors * width);
    observed.resize(vectors * width);
  }
  std::span<const float> vector(size_t i) const { return {values.data() + i * width, width}; }
};

}  // namespace astray
