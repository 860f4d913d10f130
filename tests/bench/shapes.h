// The three networks that speed is measured with; random weights, calibrated on random rows.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tests/testing/tiny_detector.h"

namespace astray::bench {

struct Shape {
  const char* name;
  size_t width;                  // values in and out
  std::vector<uint32_t> hidden;  // widths between
};

inline const std::vector<Shape>& Shapes() {
  static const std::vector<Shape> shapes = {
      {"s1", 38, {64, 16, 64}}, {"s2", 256, {128, 32, 128}}, {"s3", 784, {512, 64, 512}}};
  return shapes;
}

// Multiplications and additions of one vector's forward pass.
inline double FlopsOf(const Shape& shape) {
  double products = 0;
  size_t inputs = shape.width;
  for (const uint32_t outputs : shape.hidden) {
    products += static_cast<double>(inputs) * outputs;
    inputs = outputs;
  }
  return 2 * (products + static_cast<double>(inputs) * static_cast<double>(shape.width));
}

// Relu and a linear output throughout; the model's name is the shape's.
inline TinyDetectorOptions DetectorOf(const Shape& shape) {
  TinyDetectorOptions options;
  options.name = shape.name;
  options.features.clear();
  for (size_t j = 0; j < shape.width; ++j) options.features.push_back("f" + std::to_string(j));
  options.hidden = shape.hidden;
  options.code_activation = v1::RELU;
  options.calibration_rows = 4000;
  options.false_positive_rate = 0.01;
  return options;
}

}  // namespace astray::bench
