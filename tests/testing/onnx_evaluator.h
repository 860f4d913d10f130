// Computes an ONNX graph in double precision and plain loops, written from the operators' definitions
// (onnx.ai/onnx/operators): of opset 13, those and the attributes that `astray export` uses. Aborts at others.
#pragma once

#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace astray::testing {

struct OnnxTensor {
  std::vector<int64_t> dims;
  std::vector<double> values;
};

class OnnxEvaluator {
 public:
  explicit OnnxEvaluator(const onnx::GraphProto& graph) : graph_(graph) {
    for (const onnx::TensorProto& tensor : graph.initializer()) {
      OnnxTensor& t = tensors_[tensor.name()];
      t.dims.assign(tensor.dims().begin(), tensor.dims().end());
      t.values.assign(tensor.int64_data().begin(), tensor.int64_data().end());
      for (size_t i = 0; i + sizeof(float) <= tensor.raw_data().size(); i += sizeof(float)) {
        float value;
        std::memcpy(&value, tensor.raw_data().data() + i, sizeof(value));
        t.values.push_back(value);
      }
    }
  }

  void Run(OnnxTensor input) {
    tensors_["input"] = std::move(input);
    for (const onnx::NodeProto& node : graph_.node()) tensors_[node.output(0)] = Compute(node);
  }
  const OnnxTensor& operator[](const std::string& name) const { return tensors_.at(name); }

 private:
  const OnnxTensor& In(const onnx::NodeProto& node, int i) const { return tensors_.at(node.input(i)); }
  static std::vector<int64_t> Ints(const onnx::NodeProto& node, const std::string& name) {
    for (const onnx::AttributeProto& a : node.attribute()) {
      if (a.name() == name) return {a.ints().begin(), a.ints().end()};
    }
    std::abort();
  }

  template <typename F>
  static OnnxTensor Each(OnnxTensor x, F f) {
    std::ranges::transform(x.values, x.values.begin(), f);
    return x;
  }

  OnnxTensor Compute(const onnx::NodeProto& node) const {
    const std::string& op = node.op_type();
    const OnnxTensor& x = In(node, 0);
    if (op == "Identity") return x;
    if (op == "Relu") return Each(x, [](double v) { return std::max(v, 0.0); });
    if (op == "LeakyRelu") {
      const double alpha = node.attribute(0).f();
      return Each(x, [=](double v) { return v < 0 ? alpha * v : v; });
    }
    if (op == "Tanh") return Each(x, [](double v) { return std::tanh(v); });
    if (op == "Sigmoid") return Each(x, [](double v) { return 1 / (1 + std::exp(-v)); });
    if (op == "Softplus") return Each(x, [](double v) { return std::log(std::exp(v) + 1); });
    if (op == "Gemm") return Gemm(node);
    if (op == "Reshape") return Reshape(x, In(node, 1));
    if (op == "Transpose") return Transpose(x, Ints(node, "perm"));
    if (op == "Slice") return Slice(node);
    if (op == "MaxPool") return MaxPool(node);
    if (op == "Conv") return Conv(node);
    if (op == "ConvTranspose") return ConvTranspose(node);
    std::abort();
  }

  OnnxTensor Gemm(const onnx::NodeProto& node) const {
    const OnnxTensor &a = In(node, 0), &b = In(node, 1), &c = In(node, 2);
    const bool transposed = node.attribute(0).name() == "transB" && node.attribute(0).i() != 0;
    const int64_t rows = a.dims[0], inner = a.dims[1], columns = b.dims[transposed ? 0 : 1];
    OnnxTensor y = {{rows, columns}, {}};
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < columns; ++j) {
        double sum = c.values[j];
        for (int64_t k = 0; k < inner; ++k) {
          sum += a.values[r * inner + k] * b.values[transposed ? j * inner + k : k * columns + j];
        }
        y.values.push_back(sum);
      }
    }
    return y;
  }

  static OnnxTensor Reshape(OnnxTensor x, const OnnxTensor& shape) {
    int64_t known = 1;
    std::vector<int64_t> dims;
    for (size_t i = 0; i < shape.values.size(); ++i) {
      const auto dim = static_cast<int64_t>(shape.values[i]);
      dims.push_back(dim == 0 ? x.dims[i] : dim);
      if (dims.back() > 0) known *= dims.back();
    }
    for (int64_t& dim : dims) {
      if (dim < 0) dim = static_cast<int64_t>(x.values.size()) / known;
    }
    x.dims = dims;
    return x;
  }

  static OnnxTensor Transpose(const OnnxTensor& x, const std::vector<int64_t>& perm) {
    std::vector<int64_t> steps(4, 1);
    for (int i = 2; i >= 0; --i) steps[i] = steps[i + 1] * x.dims[i + 1];
    OnnxTensor y = {{x.dims[perm[0]], x.dims[perm[1]], x.dims[perm[2]], x.dims[perm[3]]}, {}};
    for (int64_t a = 0; a < y.dims[0]; ++a) {
      for (int64_t b = 0; b < y.dims[1]; ++b) {
        for (int64_t c = 0; c < y.dims[2]; ++c) {
          for (int64_t d = 0; d < y.dims[3]; ++d) {
            y.values.push_back(
                x.values[a * steps[perm[0]] + b * steps[perm[1]] + c * steps[perm[2]] + d * steps[perm[3]]]);
          }
        }
      }
    }
    return y;
  }

  // Of columns alone.
  OnnxTensor Slice(const onnx::NodeProto& node) const {
    const OnnxTensor& x = In(node, 0);
    const auto first = static_cast<int64_t>(In(node, 1).values[0]), end = static_cast<int64_t>(In(node, 2).values[0]);
    if (In(node, 3).values != std::vector<double>{1}) std::abort();
    OnnxTensor y = {{x.dims[0], end - first}, {}};
    for (int64_t r = 0; r < x.dims[0]; ++r) {
      for (int64_t j = first; j < end; ++j) y.values.push_back(x.values[r * x.dims[1] + j]);
    }
    return y;
  }

  static double& At(OnnxTensor& x, int64_t n, int64_t c, int64_t h, int64_t w) {
    return x.values[((n * x.dims[1] + c) * x.dims[2] + h) * x.dims[3] + w];
  }
  static double Get(const OnnxTensor& x, int64_t n, int64_t c, int64_t h, int64_t w) {
    if (h < 0 || w < 0 || h >= x.dims[2] || w >= x.dims[3]) return 0;
    return x.values[((n * x.dims[1] + c) * x.dims[2] + h) * x.dims[3] + w];
  }
  static OnnxTensor Images(int64_t n, int64_t c, int64_t h, int64_t w, double value) {
    return {{n, c, h, w}, std::vector<double>(static_cast<size_t>(n * c * h * w), value)};
  }
  // body(n, h, w) for every place of the images.
  template <typename Body>
  static void ForEachPlace(const OnnxTensor& x, Body body) {
    for (int64_t n = 0; n < x.dims[0]; ++n) {
      for (int64_t h = 0; h < x.dims[2]; ++h) {
        for (int64_t w = 0; w < x.dims[3]; ++w) body(n, h, w);
      }
    }
  }

  OnnxTensor MaxPool(const onnx::NodeProto& node) const {
    const OnnxTensor& x = In(node, 0);
    const std::vector<int64_t> k = Ints(node, "kernel_shape"), s = Ints(node, "strides");
    OnnxTensor y = Images(x.dims[0], x.dims[1], (x.dims[2] - k[0]) / s[0] + 1, (x.dims[3] - k[1]) / s[1] + 1, -1e300);
    ForEachPlace(y, [&](int64_t n, int64_t h, int64_t w) {
      for (int64_t c = 0; c < x.dims[1]; ++c) {
        for (int64_t i = 0; i < k[0]; ++i) {
          for (int64_t j = 0; j < k[1]; ++j) {
            At(y, n, c, h, w) = std::max(At(y, n, c, h, w), Get(x, n, c, h * s[0] + i, w * s[1] + j));
          }
        }
      }
    });
    return y;
  }

  OnnxTensor Conv(const onnx::NodeProto& node) const {
    const OnnxTensor &x = In(node, 0), &w = In(node, 1), &bias = In(node, 2);
    const std::vector<int64_t> s = Ints(node, "strides"), p = Ints(node, "pads");
    OnnxTensor y = Images(x.dims[0], w.dims[0], (x.dims[2] + p[0] + p[2] - w.dims[2]) / s[0] + 1,
                          (x.dims[3] + p[1] + p[3] - w.dims[3]) / s[1] + 1, 0);
    ForEachPlace(y, [&](int64_t n, int64_t row, int64_t column) {
      for (int64_t m = 0; m < w.dims[0]; ++m) {
        double sum = bias.values[m];
        for (int64_t c = 0; c < w.dims[1]; ++c) {
          for (int64_t i = 0; i < w.dims[2]; ++i) {
            for (int64_t j = 0; j < w.dims[3]; ++j) {
              sum += Get(w, m, c, i, j) * Get(x, n, c, row * s[0] + i - p[0], column * s[1] + j - p[1]);
            }
          }
        }
        At(y, n, m, row, column) = sum;
      }
    });
    return y;
  }

  OnnxTensor ConvTranspose(const onnx::NodeProto& node) const {
    const OnnxTensor &x = In(node, 0), &w = In(node, 1), &bias = In(node, 2);
    const std::vector<int64_t> s = Ints(node, "strides"), p = Ints(node, "pads");
    OnnxTensor y = Images(x.dims[0], w.dims[1], (x.dims[2] - 1) * s[0] + w.dims[2] - p[0] - p[2],
                          (x.dims[3] - 1) * s[1] + w.dims[3] - p[1] - p[3], 0);
    ForEachPlace(y, [&](int64_t n, int64_t h, int64_t q) {
      for (int64_t m = 0; m < w.dims[1]; ++m) At(y, n, m, h, q) = bias.values[m];
    });
    ForEachPlace(x, [&](int64_t n, int64_t h, int64_t q) {
      for (int64_t c = 0; c < w.dims[0]; ++c) {
        for (int64_t m = 0; m < w.dims[1]; ++m) {
          for (int64_t i = 0; i < w.dims[2]; ++i) {
            for (int64_t j = 0; j < w.dims[3]; ++j) {
              const int64_t row = h * s[0] + i - p[0], column = q * s[1] + j - p[1];
              if (row < 0 || column < 0 || row >= y.dims[2] || column >= y.dims[3]) continue;
              At(y, n, m, row, column) += Get(x, n, c, h, q) * Get(w, c, m, i, j);
            }
          }
        }
      }
    });
    return y;
  }

  const onnx::GraphProto& graph_;
  std::map<std::string, OnnxTensor> tensors_;
};

}  // namespace astray::testing
