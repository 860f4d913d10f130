#include "engine/train/network_recipe.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/nn/loss.h"

namespace astray {
namespace {

constexpr uint32_t kWide = 256;

absl::Status Refuse(absl::string_view text) { return absl::InvalidArgumentError(absl::StrCat("network", text)); }

void SetExtent(uint32_t height, uint32_t width, v1::Extent* extent) {
  extent->set_height(height);
  extent->set_width(width);
}

// The two-level network of preset CONVOLUTIONAL; a height of 1 has nothing to convolve or pool over.
void AddConvolutional(const TensorShape& shape, v1::NetworkRecipe* network) {
  const bool image = shape.height > 1;
  const auto add = [&](std::string name) {
    v1::Layer* layer = network->add_layers();
    layer->set_name(std::move(name));
    return layer;
  };
  for (const uint32_t level : {1u, 2u}) {
    v1::ConvolutionLayer* convolution = add(absl::StrCat("convolution_", level))->mutable_convolution();
    convolution->set_channels(32 * level);
    SetExtent(image ? 3 : 1, 3, convolution->mutable_kernel());
    SetExtent(image ? 1 : 0, 1, convolution->mutable_padding());
    SetExtent(image ? 2 : 1, 2, add(absl::StrCat("pool_", level))->mutable_max_pool()->mutable_size());
  }
  for (const uint32_t level : {1u, 2u}) {
    v1::TransposedConvolutionLayer* back =
        add(level == 2 ? "output" : "upsampling_1")->mutable_transposed_convolution();
    back->set_channels(level == 2 ? static_cast<uint32_t>(shape.channels) : 32);
    SetExtent(image ? 2 : 1, 2, back->mutable_kernel());
    SetExtent(image ? 2 : 1, 2, back->mutable_stride());
  }
  network->set_code("pool_2");
}

void ExpandPreset(const TensorShape& shape, v1::NetworkRecipe* network) {
  const auto width = static_cast<uint32_t>(shape.size());
  switch (network->preset()) {
    case v1::TAPERED: {
      const uint32_t code = std::max(2u, width / 8);
      for (uint32_t units = width / 2; units > code; units /= 2) network->add_encoder(units);
      network->add_encoder(code);
      break;
    }
    case v1::DENSE_512_64:
      network->add_encoder(512);
      network->add_encoder(64);
      break;
    case v1::CONVOLUTIONAL:
      AddConvolutional(shape, network);
      break;
    default:
      // docs/decisions/0002-default-recipe.md
      network->add_encoder(kWide);
      network->add_encoder(std::min(kWide, 2 * width));
      break;
  }
  network->set_preset(v1::PRESET_UNSPECIFIED);
}

v1::Activation DefaultOutput(const v1::Recipe& recipe) {
  const v1::Activation needed = ActivationOf(recipe.loss());
  if (needed == v1::ZERO_INFLATED_COUNTS) return needed;
  return recipe.features().scaling() == v1::MIN_MAX ? v1::SIGMOID : v1::LINEAR;
}

uint32_t OutputsFor(const v1::NetworkRecipe& network, size_t width) {
  return static_cast<uint32_t>(network.output_activation() == v1::ZERO_INFLATED_COUNTS ? 3 * width : width);
}

// What an explicit list of layers leaves out.
void FillLayer(const v1::NetworkRecipe& network, int index, size_t width, v1::Layer* layer) {
  const bool last = index + 1 == network.layers_size();
  if (layer->name().empty()) layer->set_name(absl::StrCat("layer_", index + 1));
  const auto activate = [&](auto* kind) {
    if (last) {
      kind->set_activation(network.output_activation());
    } else if (kind->activation() == v1::ACTIVATION_UNSPECIFIED) {
      kind->set_activation(network.activation());
    }
  };
  if (layer->has_dense()) {
    activate(layer->mutable_dense());
    if (last && layer->dense().outputs() == 0) layer->mutable_dense()->set_outputs(OutputsFor(network, width));
  }
  if (layer->has_convolution()) activate(layer->mutable_convolution());
  if (layer->has_transposed_convolution()) activate(layer->mutable_transposed_convolution());
}

// The layer called `code`, or the one with the fewest values.
std::optional<uint32_t> FindCode(const v1::NetworkRecipe& network, const std::vector<LayerShape>& shapes) {
  uint32_t narrowest = 0;
  for (uint32_t i = 0; i < shapes.size(); ++i) {
    if (!network.code().empty() && network.layers(static_cast<int>(i)).name() == network.code()) return i;
    if (shapes[i].output.size() < shapes[narrowest].output.size()) narrowest = i;
  }
  if (network.code().empty()) return narrowest;
  return std::nullopt;
}

absl::Status FillLayers(const TensorShape& shape, v1::NetworkRecipe* network) {
  for (int i = 0; i < network->layers_size(); ++i) {
    FillLayer(*network, i, shape.size(), network->mutable_layers(i));
  }
  v1::NetworkSpec spec;
  *spec.mutable_layers() = network->layers();
  const auto shapes = ResolveShapes(shape, &spec);
  if (!shapes.ok()) return Refuse(absl::StrCat(": ", shapes.status().message()));
  const std::string& last = spec.layers(spec.layers_size() - 1).name();
  if (const size_t outputs = OutputsFor(*network, shape.size()); shapes->back().output.size() != outputs) {
    return Refuse(absl::StrCat(": layer '", last, "': expected ", outputs, " outputs (a vector's ", shape.size(),
                               " values), got ", shapes->back().output.size()));
  }
  const std::optional<uint32_t> code = FindCode(*network, *shapes);
  if (!code) return Refuse(absl::StrCat(".code: expected the name of a layer, got '", network->code(), "'"));
  network->set_code(spec.layers(static_cast<int>(*code)).name());
  network->mutable_layers()->Swap(spec.mutable_layers());
  return absl::OkStatus();
}

}  // namespace

TensorShape VectorShapeOf(const v1::Recipe& recipe, size_t features) {
  if (!recipe.features().has_shape()) {
    const size_t places = recipe.features().sequence().one_hot_places();
    if (places > 0) return {1, places, features / places};
    return {1, recipe.features().window(), features};
  }
  const v1::TensorShape& shape = recipe.features().shape();
  return {shape.height(), shape.width(), shape.channels()};
}

VectorShape TokensOf(const TensorShape& shape) {
  if (shape.height > 1) return {.rows = shape.height, .features = shape.width * shape.channels};
  return {.rows = shape.width, .features = shape.channels};
}

VectorShape TokensOf(const v1::Recipe& recipe, const VectorSet& vectors) {
  return TokensOf(VectorShapeOf(recipe, vectors.shape().features));
}

absl::Status FillNetwork(const TensorShape& shape, v1::Recipe* recipe) {
  v1::NetworkRecipe* network = recipe->mutable_network();
  const bool preset = network->preset() != v1::PRESET_UNSPECIFIED, encoder = !network->encoder().empty(),
             layers = !network->layers().empty();
  if (preset + encoder + layers > 1) {
    return Refuse(": expected one of preset, encoder and layers, got more than one");
  }
  if (network->activation() == v1::ACTIVATION_UNSPECIFIED) network->set_activation(v1::RELU);
  if (network->output_activation() == v1::ACTIVATION_UNSPECIFIED) {
    network->set_output_activation(DefaultOutput(*recipe));
  }
  if (!encoder && !layers) ExpandPreset(shape, network);
  if (!(network->dropout() >= 0 && network->dropout() < 1)) {
    return Refuse(absl::StrCat(".dropout: expected a number in [0, 1), got ", network->dropout()));
  }
  if (!network->layers().empty()) {
    if (network->tied() || network->dropout() > 0) {
      return Refuse(": tied and dropout are for an encoder of dense layers; in layers, say tied_to and dropout");
    }
    return FillLayers(shape, network);
  }
  if (!network->code().empty()) return Refuse(".code: is for layers; the last layer of an encoder is the code");
  if (network->tied() && network->output_activation() == v1::ZERO_INFLATED_COUNTS) {
    return Refuse(".tied: expected an output of one value a feature, but ZERO_INFLATED_COUNTS has three");
  }
  v1::NetworkSpec spec = BuildNetworkSpec(*recipe, shape.size());
  if (const auto shapes = ResolveShapes(std::nullopt, &spec); !shapes.ok()) {
    return Refuse(absl::StrCat(".encoder: ", shapes.status().message()));
  }
  return absl::OkStatus();
}

v1::NetworkSpec BuildNetworkSpec(const v1::Recipe& recipe, size_t width) {
  const v1::NetworkRecipe& network = recipe.network();
  v1::NetworkSpec spec;
  if (!network.layers().empty()) {
    *spec.mutable_layers() = network.layers();
    for (int i = 0; i < network.layers_size(); ++i) {
      if (network.layers(i).name() == network.code()) spec.set_code_layer(static_cast<uint32_t>(i));
    }
    return spec;
  }
  uint32_t inputs = static_cast<uint32_t>(width), dropouts = 0;
  const auto add = [&](std::string name, uint32_t outputs, v1::Activation activation) {
    v1::Layer* layer = spec.add_layers();
    layer->set_name(std::move(name));
    layer->mutable_dense()->set_inputs(inputs);
    layer->mutable_dense()->set_outputs(outputs);
    layer->mutable_dense()->set_activation(activation);
    inputs = outputs;
    return layer->mutable_dense();
  };
  const auto drop = [&] {
    if (network.dropout() == 0) return;
    v1::Layer* layer = spec.add_layers();
    layer->set_name(absl::StrCat("dropout_", ++dropouts));
    layer->mutable_dropout()->set_rate(network.dropout());
  };
  // Encoder layer i, counted from 0; the last is the code.
  const int depth = network.encoder_size();
  const auto name = [&](int i) { return i + 1 == depth ? std::string("code") : absl::StrCat("encoder_", i + 1); };
  for (int i = 0; i < depth; ++i) {
    add(name(i), network.encoder(i), network.activation());
    if (i + 1 < depth) drop();
  }
  spec.set_code_layer(static_cast<uint32_t>(spec.layers_size() - 1));
  for (int i = depth - 2; i >= 0; --i) {
    v1::DenseLayer* layer = add(absl::StrCat("decoder_", depth - 1 - i), network.encoder(i), network.activation());
    if (network.tied()) layer->set_tied_to(name(i + 1));
    drop();
  }
  v1::DenseLayer* output = add("output", OutputsFor(network, width), network.output_activation());
  if (network.tied()) output->set_tied_to(name(0));
  return spec;
}

}  // namespace astray
