#include "client/onnx_model.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/nn/activation.h"

namespace astray {
namespace {

constexpr int kIrVersion = 7;  // the format that came with opset 13 (ONNX 1.8)

class GraphWriter {
 public:
  explicit GraphWriter(const Network& network) : network_(network) {
    graph_.set_name("astray");
    AddValue("input", network.input_size(), graph_.add_input());
  }

  onnx::GraphProto Write() && {
    std::string code;
    for (size_t i = 0; i < network_.layers(); ++i) {
      AddLayer(i);
      if (i == network_.spec().code_layer()) code = flat_ = Flat();
    }
    if (network_.reconstruction_size() < network_.output_size()) TakeReconstruction();
    const std::string reconstruction = Flat();
    Name(code, "code");
    if (reconstruction == code) {
      *AddNode("Identity", {"code"}).mutable_output(0) = "reconstruction";
    } else {
      Name(reconstruction, "reconstruction");
    }
    AddValue("reconstruction", network_.reconstruction_size(), graph_.add_output());
    AddValue("code", network_.code_size(), graph_.add_output());
    return std::move(graph_);
  }

 private:
  static void AddValue(const std::string& name, size_t width, onnx::ValueInfoProto* value) {
    value->set_name(name);
    auto* type = value->mutable_type()->mutable_tensor_type();
    type->set_elem_type(onnx::TensorProto::FLOAT);
    type->mutable_shape()->add_dim()->set_dim_param("batch");
    type->mutable_shape()->add_dim()->set_dim_value(static_cast<int64_t>(width));
  }

  // A node of one output, "t" and a number.
  onnx::NodeProto& AddNode(const std::string& op, const std::vector<std::string>& inputs) {
    onnx::NodeProto& node = *graph_.add_node();
    node.set_op_type(op);
    for (const std::string& input : inputs) node.add_input(input);
    node.add_output(absl::StrCat("t", graph_.node_size()));
    node.set_name(absl::StrCat(op, "_", graph_.node_size()));
    return node;
  }

  static void SetInts(onnx::NodeProto& node, const std::string& name, const std::vector<int64_t>& values) {
    onnx::AttributeProto& attribute = *node.add_attribute();
    attribute.set_name(name);
    attribute.set_type(onnx::AttributeProto::INTS);
    attribute.mutable_ints()->Add(values.begin(), values.end());
  }
  static void SetInt(onnx::NodeProto& node, const std::string& name, int64_t value) {
    onnx::AttributeProto& attribute = *node.add_attribute();
    attribute.set_name(name);
    attribute.set_type(onnx::AttributeProto::INT);
    attribute.set_i(value);
  }

  std::string AddInt64s(const std::string& name, const std::vector<int64_t>& values) {
    onnx::TensorProto& tensor = *graph_.add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(onnx::TensorProto::INT64);
    tensor.add_dims(static_cast<int64_t>(values.size()));
    tensor.mutable_int64_data()->Add(values.begin(), values.end());
    return name;
  }
  std::string AddFloats(const std::string& name, size_t offset, const std::vector<size_t>& dims) {
    onnx::TensorProto& tensor = *graph_.add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(onnx::TensorProto::FLOAT);
    size_t count = 1;
    for (const size_t dim : dims) {
      tensor.add_dims(static_cast<int64_t>(dim));
      count *= dim;
    }
    // Little-endian, as weights.bin.
    tensor.set_raw_data(network_.parameters().data() + offset, count * sizeof(float));
    return name;
  }

  const v1::Layer& layer(size_t i) const { return network_.spec().layers(static_cast<int>(i)); }
  std::string WeightsName(size_t i) const { return absl::StrCat(layer(i).name(), ".weights"); }

  // The current tensor as [batch x values], channels last; ONNX's images have channels first.
  std::string Flat() {
    if (image_.empty()) return flat_;
    onnx::NodeProto& transpose = AddNode("Transpose", {image_});
    SetInts(transpose, "perm", {0, 2, 3, 1});
    image_.clear();
    return flat_ = AddNode("Reshape", {transpose.output(0), FlatShape()}).output(0);
  }
  std::string Image(const TensorShape& shape) {
    if (!image_.empty()) return image_;
    const std::string dims = AddInt64s(absl::StrCat("shape_", graph_.node_size()),
                                       {0, static_cast<int64_t>(shape.height), static_cast<int64_t>(shape.width),
                                        static_cast<int64_t>(shape.channels)});
    const std::string reshaped = AddNode("Reshape", {flat_, dims}).output(0);
    onnx::NodeProto& transpose = AddNode("Transpose", {reshaped});
    SetInts(transpose, "perm", {0, 3, 1, 2});
    return transpose.output(0);
  }
  const std::string& FlatShape() {
    if (flat_shape_.empty()) flat_shape_ = AddInt64s("flat_shape", {0, -1});
    return flat_shape_;
  }

  void AddLayer(size_t i) {
    const v1::Layer& l = layer(i);
    const LayerShape& shape = network_.shape(i);
    if (l.has_dropout()) return;
    if (l.has_dense()) {
      const std::string x = Flat();
      const std::string weights = shape.tied_to ? WeightsName(*shape.tied_to)
                                                : AddFloats(WeightsName(i), network_.offsets(i).weights,
                                                            {shape.output.size(), shape.input.size()});
      onnx::NodeProto& gemm = AddNode("Gemm", {x, weights, AddBias(i)});
      SetInt(gemm, "transB", shape.tied_to ? 0 : 1);
      flat_ = Activated(gemm.output(0), shape.activation);
    } else if (l.has_max_pool()) {
      const std::string x = Image(shape.input);
      onnx::NodeProto& pool = AddNode("MaxPool", {x});
      const std::vector<int64_t> size = {l.max_pool().size().height(), l.max_pool().size().width()};
      SetInts(pool, "kernel_shape", size);
      SetInts(pool, "strides", size);
      image_ = pool.output(0);
    } else if (l.has_convolution()) {
      AddWindowed("Conv", i, l.convolution(), {shape.output.channels, shape.input.channels});
    } else {
      AddWindowed("ConvTranspose", i, l.transposed_convolution(), {shape.input.channels, shape.output.channels});
    }
  }

  template <typename Layer>
  void AddWindowed(const std::string& op, size_t i, const Layer& layer, std::vector<size_t> dims) {
    const LayerShape& shape = network_.shape(i);
    const std::string x = Image(shape.input);
    dims.push_back(layer.kernel().height());
    dims.push_back(layer.kernel().width());
    const std::string weights = AddFloats(WeightsName(i), network_.offsets(i).weights, dims);
    onnx::NodeProto& node = AddNode(op, {x, weights, AddBias(i)});
    SetInts(node, "kernel_shape", {layer.kernel().height(), layer.kernel().width()});
    SetInts(node, "strides", {layer.stride().height(), layer.stride().width()});
    SetInts(node, "pads",
            {layer.padding().height(), layer.padding().width(), layer.padding().height(), layer.padding().width()});
    image_ = Activated(node.output(0), shape.activation);
  }

  std::string AddBias(size_t i) {
    return AddFloats(absl::StrCat(layer(i).name(), ".bias"), network_.offsets(i).bias, {network_.shape(i).biases});
  }

  std::string Activated(const std::string& z, v1::Activation activation) {
    switch (activation) {
      case v1::RELU:
        return AddNode("Relu", {z}).output(0);
      case v1::TANH:
        return AddNode("Tanh", {z}).output(0);
      case v1::SIGMOID:
        return AddNode("Sigmoid", {z}).output(0);
      case v1::LEAKY_RELU: {
        onnx::NodeProto& node = AddNode("LeakyRelu", {z});
        onnx::AttributeProto& alpha = *node.add_attribute();
        alpha.set_name("alpha");
        alpha.set_type(onnx::AttributeProto::FLOAT);
        alpha.set_f(kLeakyReluSlope);
        return node.output(0);
      }
      default:  // counts: TakeReconstruction
        return z;
    }
  }

  // Of counts the first third: ln(1 + e^x).
  void TakeReconstruction() {
    const std::string z = Flat();
    const std::string starts = AddInt64s("first", {0}), axes = AddInt64s("columns", {1});
    const std::string ends = AddInt64s("counts", {static_cast<int64_t>(network_.reconstruction_size())});
    const std::string counts = AddNode("Slice", {z, starts, ends, axes}).output(0);
    flat_ = AddNode("Softplus", {counts}).output(0);
  }

  // Renames what a node gives, wherever it is.
  void Name(const std::string& from, const std::string& to) {
    for (onnx::NodeProto& node : *graph_.mutable_node()) {
      for (std::string& name : *node.mutable_input()) {
        if (name == from) name = to;
      }
      for (std::string& name : *node.mutable_output()) {
        if (name == from) name = to;
      }
    }
  }

  const Network& network_;
  onnx::GraphProto graph_;
  std::string flat_ = "input";  // the current tensor, [batch x values]...
  std::string image_;           // ... unless this is: [batch x channels x height x width]
  std::string flat_shape_;
};

}  // namespace

onnx::ModelProto OnnxModel(const Network& network) {
  onnx::ModelProto model;
  model.set_ir_version(kIrVersion);
  model.set_producer_name("astray");
  model.set_producer_version(ASTRAY_VERSION);
  onnx::OperatorSetIdProto& opset = *model.add_opset_import();
  opset.set_domain("");
  opset.set_version(kOnnxOpset);
  *model.mutable_graph() = GraphWriter(network).Write();
  return model;
}

}  // namespace astray
