#include "engine/nn/layer_shape.h"

#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

// What a layer sees of the network before it.
struct Before {
  std::optional<TensorShape> shape;  // none where the first layer must say
  std::string name;                  // of the layer before, empty for the first
};

std::string Text(const TensorShape& shape) {
  return absl::StrCat(shape.height, " x ", shape.width, " x ", shape.channels);
}

absl::Status CheckWidth(absl::string_view field, uint64_t width) {
  if (width >= 1 && width <= kMaxWidth) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": expected 1 to ", kMaxWidth, ", got ", width));
}

// A shape that enters: fills it in where it is left out. A flat vector may be seen in any shape of its size.
absl::StatusOr<TensorShape> ResolveShape(const Before& before, v1::TensorShape* shape) {
  if (shape->height() == 0 && shape->width() == 0 && shape->channels() == 0 && before.shape) {
    shape->set_height(static_cast<uint32_t>(before.shape->height));
    shape->set_width(static_cast<uint32_t>(before.shape->width));
    shape->set_channels(static_cast<uint32_t>(before.shape->channels));
  }
  RETURN_IF_ERROR(CheckWidth("input.height", shape->height()));
  RETURN_IF_ERROR(CheckWidth("input.width", shape->width()));
  RETURN_IF_ERROR(CheckWidth("input.channels", shape->channels()));
  const TensorShape resolved = {shape->height(), shape->width(), shape->channels()};
  RETURN_IF_ERROR(CheckWidth("input", resolved.size()));
  if (!before.shape || resolved == *before.shape) return resolved;
  const bool flat = before.shape->height == 1 && before.shape->width == 1;
  if (flat && resolved.size() == before.shape->size()) return resolved;
  const std::string source = before.name.empty() ? "a vector's" : absl::StrCat("of '", before.name, "'");
  return absl::InvalidArgumentError(absl::StrCat("input: expected ", Text(*before.shape),
                                                 " (height x width x channels ", source, "), got ", Text(resolved)));
}

absl::Status CheckActivation(v1::Activation activation) {
  if (activation >= v1::LINEAR && activation <= v1::ZERO_INFLATED_COUNTS) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("activation: expected LINEAR, RELU, LEAKY_RELU, TANH, SIGMOID or ZERO_INFLATED_COUNTS, got ",
                   static_cast<int>(activation)));
}

void FillOnes(v1::Extent* extent) {
  if (extent->height() == 0) extent->set_height(1);
  if (extent->width() == 0) extent->set_width(1);
}

// Of a kernel along one axis. The padding is less than the kernel, so that every output sees some input.
absl::Status CheckAxis(absl::string_view axis, uint64_t input, uint64_t kernel, uint64_t stride, uint64_t padding) {
  if (padding >= kernel && padding > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("padding.", axis, ": expected less than the kernel's ", kernel, ", got ", padding));
  }
  if (kernel > input + 2 * padding) {
    return absl::InvalidArgumentError(absl::StrCat("kernel.", axis, ": expected at most ", input + 2 * padding,
                                                   " (the input's ", input, " and twice the padding), got ", kernel));
  }
  if (stride > kMaxWidth) {
    return absl::InvalidArgumentError(absl::StrCat("stride.", axis, ": expected 1 to ", kMaxWidth, ", got ", stride));
  }
  return absl::OkStatus();
}

template <typename Layer>
absl::StatusOr<LayerShape> ResolveKernel(const Before& before, bool transposed, Layer* layer) {
  LayerShape shape;
  ASSIGN_OR_RETURN(shape.input, ResolveShape(before, layer->mutable_input()));
  RETURN_IF_ERROR(CheckWidth("channels", layer->channels()));
  RETURN_IF_ERROR(CheckActivation(layer->activation()));
  FillOnes(layer->mutable_kernel());
  FillOnes(layer->mutable_stride());
  const auto& kernel = layer->kernel();
  const auto& stride = layer->stride();
  const auto& padding = layer->padding();
  const auto outputs = [&](absl::string_view axis, uint64_t input, uint64_t k, uint64_t s,
                           uint64_t p) -> absl::StatusOr<size_t> {
    if (!transposed) {
      RETURN_IF_ERROR(CheckAxis(axis, input, k, s, p));
      return (input + 2 * p - k) / s + 1;
    }
    const uint64_t whole = (input - 1) * s + k;
    if (s > kMaxWidth || k > kMaxWidth || whole <= 2 * p) {
      return absl::InvalidArgumentError(absl::StrCat("kernel.", axis, ": expected outputs, got (", input, " - 1) x ", s,
                                                     " + ", k, " - 2 x ", p, " of them"));
    }
    return whole - 2 * p;
  };
  ASSIGN_OR_RETURN(shape.output.height,
                   outputs("height", shape.input.height, kernel.height(), stride.height(), padding.height()));
  ASSIGN_OR_RETURN(shape.output.width,
                   outputs("width", shape.input.width, kernel.width(), stride.width(), padding.width()));
  shape.output.channels = layer->channels();
  // Each first, so that no product of them overflows.
  RETURN_IF_ERROR(CheckWidth("outputs", shape.output.height));
  RETURN_IF_ERROR(CheckWidth("outputs", shape.output.width));
  RETURN_IF_ERROR(CheckWidth("outputs", shape.output.size()));
  RETURN_IF_ERROR(CheckWidth("kernel.height", kernel.height()));
  RETURN_IF_ERROR(CheckWidth("kernel.width", kernel.width()));
  const size_t taps = size_t{kernel.height()} * kernel.width();
  if (taps > kMaxWidth) {
    return absl::InvalidArgumentError(absl::StrCat("kernel: expected at most ", kMaxWidth, " places, got ", taps));
  }
  shape.fan_in = taps * shape.input.channels;
  shape.fan_out = taps * shape.output.channels;
  shape.weights = shape.fan_in * shape.output.channels;
  shape.biases = shape.output.channels;
  shape.activation = layer->activation();
  return shape;
}

absl::StatusOr<LayerShape> ResolveMaxPool(const Before& before, v1::MaxPoolLayer* pool) {
  LayerShape shape;
  ASSIGN_OR_RETURN(shape.input, ResolveShape(before, pool->mutable_input()));
  FillOnes(pool->mutable_size());
  for (const auto& [axis, input, size] : {std::tuple{"height", shape.input.height, size_t{pool->size().height()}},
                                          std::tuple{"width", shape.input.width, size_t{pool->size().width()}}}) {
    if (input % size != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("size.", axis, ": expected a divisor of ", input, " (the input's ", axis, "), got ", size));
    }
  }
  shape.output = {shape.input.height / pool->size().height(), shape.input.width / pool->size().width(),
                  shape.input.channels};
  return shape;
}

absl::StatusOr<LayerShape> ResolveDropout(const Before& before, const v1::DropoutLayer& dropout) {
  if (before.name.empty()) {
    return absl::InvalidArgumentError("dropout: expected a layer before it; a corruption (masking) drops inputs");
  }
  if (!(dropout.rate() > 0 && dropout.rate() < 1)) {
    return absl::InvalidArgumentError(absl::StrCat("rate: expected a number in (0, 1), got ", dropout.rate()));
  }
  LayerShape shape;
  shape.input = shape.output = *before.shape;
  return shape;
}

// `earlier`: the shapes of the layers before.
absl::StatusOr<size_t> ResolveTie(const v1::NetworkSpec& spec, const std::vector<LayerShape>& earlier,
                                  const v1::DenseLayer& dense) {
  for (size_t i = 0; i < earlier.size(); ++i) {
    const v1::Layer& layer = spec.layers(static_cast<int>(i));
    if (layer.name() != dense.tied_to()) continue;
    if (!layer.has_dense() || earlier[i].tied_to) break;
    if (layer.dense().inputs() == dense.outputs() && layer.dense().outputs() == dense.inputs()) return i;
    return absl::InvalidArgumentError(absl::StrCat("tied_to: expected ", layer.dense().outputs(), " inputs and ",
                                                   layer.dense().inputs(), " outputs (the weights of '", layer.name(),
                                                   "', transposed), got ", dense.inputs(), " and ", dense.outputs()));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("tied_to: expected an earlier dense layer with weights of its own, got '", dense.tied_to(), "'"));
}

absl::StatusOr<LayerShape> ResolveDense(const Before& before, const v1::NetworkSpec& spec,
                                        const std::vector<LayerShape>& earlier, v1::DenseLayer* dense) {
  if (dense->inputs() == 0 && before.shape) dense->set_inputs(static_cast<uint32_t>(before.shape->size()));
  RETURN_IF_ERROR(CheckWidth("inputs", dense->inputs()));
  RETURN_IF_ERROR(CheckWidth("outputs", dense->outputs()));
  RETURN_IF_ERROR(CheckActivation(dense->activation()));
  if (before.shape && dense->inputs() != before.shape->size()) {
    const std::string source =
        before.name.empty() ? "the values of a vector" : absl::StrCat("the outputs of '", before.name, "'");
    return absl::InvalidArgumentError(
        absl::StrCat("inputs: expected ", before.shape->size(), " (", source, "), got ", dense->inputs()));
  }
  LayerShape shape;
  shape.input = {1, 1, dense->inputs()};
  shape.output = {1, 1, dense->outputs()};
  shape.fan_in = dense->inputs();
  shape.fan_out = dense->outputs();
  shape.biases = dense->outputs();
  shape.activation = dense->activation();
  if (dense->tied_to().empty()) {
    shape.weights = shape.fan_in * shape.fan_out;
  } else {
    ASSIGN_OR_RETURN(shape.tied_to, ResolveTie(spec, earlier, *dense));
  }
  return shape;
}

absl::StatusOr<LayerShape> ResolveLayer(const Before& before, const std::vector<LayerShape>& earlier, int index,
                                        v1::NetworkSpec* spec) {
  v1::Layer* layer = spec->mutable_layers(index);
  switch (layer->kind_case()) {
    case v1::Layer::kDense:
      return ResolveDense(before, *spec, earlier, layer->mutable_dense());
    case v1::Layer::kConvolution:
      return ResolveKernel(before, false, layer->mutable_convolution());
    case v1::Layer::kMaxPool:
      return ResolveMaxPool(before, layer->mutable_max_pool());
    case v1::Layer::kTransposedConvolution:
      return ResolveKernel(before, true, layer->mutable_transposed_convolution());
    case v1::Layer::kDropout:
      return ResolveDropout(before, layer->dropout());
    case v1::Layer::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      "kind: expected dense, convolution, max_pool, transposed_convolution or dropout, got none");
}

}  // namespace

absl::StatusOr<std::vector<LayerShape>> ResolveShapes(std::optional<TensorShape> input, v1::NetworkSpec* spec) {
  if (spec->layers().empty() || spec->layers_size() > static_cast<int>(kMaxLayers)) {
    return absl::InvalidArgumentError(
        absl::StrCat("layers: expected 1 to ", kMaxLayers, " layers, got ", spec->layers_size()));
  }
  if (spec->code_layer() >= static_cast<uint32_t>(spec->layers_size())) {
    return absl::InvalidArgumentError(absl::StrCat("code_layer: expected an index below ", spec->layers_size(),
                                                   " (the number of layers), got ", spec->code_layer()));
  }
  std::vector<LayerShape> shapes;
  std::set<std::string> names;
  Before before = {.shape = input, .name = ""};
  size_t values = 0, parameters = 0;
  for (int i = 0; i < spec->layers_size(); ++i) {
    const std::string& name = spec->layers(i).name();
    const std::string where = absl::StrCat("layer '", name, "': ");
    if (!names.insert(name).second) {
      return absl::InvalidArgumentError(absl::StrCat(where, "expected a name of its own, got one used before"));
    }
    absl::StatusOr<LayerShape> shape = ResolveLayer(before, shapes, i, spec);
    if (!shape.ok()) return absl::Status(shape.status().code(), absl::StrCat(where, shape.status().message()));
    if (shape->activation == v1::ZERO_INFLATED_COUNTS &&
        (!spec->layers(i).has_dense() || i + 1 < spec->layers_size() || shape->output.size() % 3 != 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "activation: ZERO_INFLATED_COUNTS is for a last dense layer of three outputs a feature, ",
                       "got ", shape->output.size(), " outputs of layer ", i + 1, " of ", spec->layers_size()));
    }
    values += shape->output.size();
    parameters += shape->weights + shape->biases;
    if (values > kMaxValues) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "expected at most ", kMaxValues, " outputs of all layers together, got more"));
    }
    if (parameters > kMaxParameters) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "expected at most ", kMaxParameters, " parameters in a network, got more"));
    }
    before = {.shape = shape->output, .name = name};
    shapes.push_back(*std::move(shape));
  }
  return shapes;
}

}  // namespace astray
