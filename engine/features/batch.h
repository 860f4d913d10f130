// Vectors on their way into or out of a network: values and which of them were observed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace astray {

struct Batch {
  size_t vectors = 0;
  size_t width = 0;               // values in a vector
  std::vector<float> values;      // vectors x width, row-major, finite
  std::vector<float> observed;    // the same shape: 1, or 0 where the value was missing and was filled in
  std::vector<uint32_t> missing;  // one a vector: how many of its values were

  // Scratch of Pipeline::Apply: single rows before they are laid out in windows; and how many of `observed`, from the
  // first on, are known to be 1, so that they are not written again.
  std::vector<float> row_values, row_observed;
  std::vector<uint32_t> row_missing;
  size_t ones = 0;

  void Resize(size_t new_vectors, size_t new_width) {
    vectors = new_vectors;
    width = new_width;
    values.resize(vectors * width);
    observed.resize(vectors * width);
    missing.resize(vectors);
    ones = std::min(ones, observed.size());
  }
  void ObserveAll() {
    std::fill(observed.begin() + static_cast<std::ptrdiff_t>(ones), observed.end(), 1.0f);
    std::ranges::fill(missing, 0u);
    ones = observed.size();
  }
  std::span<const float> vector(size_t i) const { return {values.data() + i * width, width}; }
};

}  // namespace astray
