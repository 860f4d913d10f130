#include "engine/nn/gradient.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/nn/onednn.h"

namespace astray {
namespace {

void Activate(v1::Activation activation, std::span<float> values) {
  switch (activation) {
    case v1::RELU:
      for (float& v : values) v = v > 0.0f ? v : 0.0f;
      break;
    case v1::LEAKY_RELU:
      for (float& v : values) v = v > 0.0f ? v : kLeakyReluSlope * v;
      break;
    case v1::TANH:
      for (float& v : values) v = std::tanh(v);
      break;
    case v1::SIGMOID:
      for (float& v : values) v = 1.0f / (1.0f + std::exp(-v));
      break;
    default:
      break;
  }
}

// delta *= f'(z), written by y = f(z).
void MultiplyByDerivative(v1::Activation activation, std::span<const float> y, std::span<float> delta) {
  switch (activation) {
    case v1::RELU:
      for (size_t i = 0; i < y.size(); ++i) delta[i] = y[i] > 0.0f ? delta[i] : 0.0f;
      break;
    case v1::LEAKY_RELU:
      for (size_t i = 0; i < y.size(); ++i) delta[i] *= y[i] > 0.0f ? 1.0f : kLeakyReluSlope;
      break;
    case v1::TANH:
      for (size_t i = 0; i < y.size(); ++i) delta[i] *= 1.0f - y[i] * y[i];
      break;
    case v1::SIGMOID:
      for (size_t i = 0; i < y.size(); ++i) delta[i] *= y[i] * (1.0f - y[i]);
      break;
    default:
      break;
  }
}

// Keeps KL finite where a unit is off, or on, for every row.
constexpr double kLeastMean = 1e-6;

absl::Status CheckRegularizer(const v1::Regularizer& regularizer, const std::string& entry, v1::Activation code) {
  const float weight =
      regularizer.has_l1_sparsity() ? regularizer.l1_sparsity().weight() : regularizer.kl_sparsity().weight();
  const std::string kind = entry + (regularizer.has_l1_sparsity() ? ".l1_sparsity" : ".kl_sparsity");
  if (regularizer.kind_case() == v1::Regularizer::KIND_NOT_SET) {
    return absl::InvalidArgumentError(absl::StrCat(entry, ": expected l1_sparsity or kl_sparsity, got none"));
  }
  if (!(weight > 0 && std::isfinite(weight))) {
    return absl::InvalidArgumentError(absl::StrCat(kind, ".weight: expected a number above 0, got ", weight));
  }
  if (!regularizer.has_kl_sparsity()) return absl::OkStatus();
  const float target = regularizer.kl_sparsity().target();
  if (!(target > 0 && target < 1)) {
    return absl::InvalidArgumentError(absl::StrCat(kind, ".target: expected a number in (0, 1), got ", target));
  }
  if (code == v1::SIGMOID) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(kind, ": needs a code of SIGMOID units, whose mean is a share, got ", v1::Activation_Name(code)));
}

}  // namespace

absl::Status CheckRegularizers(const google::protobuf::RepeatedPtrField<v1::Regularizer>& regularizers,
                               v1::Activation code) {
  for (int i = 0; i < regularizers.size(); ++i) {
    RETURN_IF_ERROR(CheckRegularizer(regularizers.Get(i), absl::StrCat("regularizer[", i, "]"), code));
  }
  return absl::OkStatus();
}

struct Gradient::Impl {
  const Network* network;
  v1::Loss loss;
  size_t batch_size;
  std::vector<std::unique_ptr<onednn::TrainableDense>> layers;
  AlignedBuffer input;
  std::vector<AlignedBuffer> outputs;  // of each layer, activated; the last before activation for cross-entropy
  std::vector<AlignedBuffer> deltas;   // d loss / d pre-activation of each layer
  AlignedBuffer gradient;
  std::vector<v1::Regularizer> regularizers;

  size_t code_layer() const { return network->spec().code_layer(); }

  // What the regularizers add to the loss; adds d / d code to the code layer's delta.
  double Regularize() {
    const std::span<const float> code = outputs[code_layer()].span();
    const std::span<float> delta = deltas[code_layer()].span();
    const size_t units = code.size() / batch_size;
    const double rows = static_cast<double>(batch_size);
    double sum = 0;
    for (const v1::Regularizer& regularizer : regularizers) {
      if (regularizer.has_l1_sparsity()) {
        const double weight = regularizer.l1_sparsity().weight() / rows;
        for (size_t i = 0; i < code.size(); ++i) {
          sum += weight * std::abs(code[i]);
          delta[i] += static_cast<float>(code[i] > 0 ? weight : code[i] < 0 ? -weight : 0);
        }
        continue;
      }
      const double weight = regularizer.kl_sparsity().weight(), target = regularizer.kl_sparsity().target();
      for (size_t j = 0; j < units; ++j) {
        double mean = 0;
        for (size_t i = j; i < code.size(); i += units) mean += code[i] / rows;
        mean = std::clamp(mean, kLeastMean, 1 - kLeastMean);
        sum += weight * (target * std::log(target / mean) + (1 - target) * std::log((1 - target) / (1 - mean)));
        const double slope = weight / rows * ((1 - target) / (1 - mean) - target / mean);
        for (size_t i = j; i < code.size(); i += units) delta[i] += static_cast<float>(slope);
      }
    }
    return sum;
  }

  v1::Activation activation(size_t layer) const {
    const bool on_logits = loss == v1::BINARY_CROSS_ENTROPY && layer + 1 == layers.size();
    return on_logits ? v1::LINEAR : network->spec().layers(static_cast<int>(layer)).dense().activation();
  }

  absl::Status Forward(std::span<const float> x) {
    std::ranges::copy(x, input.data());
    const float* from = input.data();
    for (size_t i = 0; i < layers.size(); ++i) {
      const float* parameters = network->parameters().data();
      RETURN_IF_ERROR(layers[i]->Forward(from, parameters + network->offsets(i).weights,
                                         parameters + network->offsets(i).bias, outputs[i].data()));
      Activate(activation(i), outputs[i].span());
      from = outputs[i].data();
    }
    return absl::OkStatus();
  }

  // The mean loss; fills `delta` with d loss / d output unless it is empty.
  double OutputLoss(std::span<const float> target, std::span<const float> observed, std::span<float> delta) const {
    const std::span<const float> y = outputs.back().span();
    double count = static_cast<double>(y.size());
    if (!observed.empty()) {
      count = 0;
      for (const float o : observed) count += o;
    }
    if (count == 0) {
      std::ranges::fill(delta, 0.0f);
      return 0;
    }
    const float scale = static_cast<float>(1.0 / count);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) {
      const float weight = observed.empty() ? 1.0f : observed[i];
      if (loss == v1::BINARY_CROSS_ENTROPY) {
        // y is the logit z: -(x ln s(z) + (1 - x) ln(1 - s(z))) = max(z, 0) - x z + ln(1 + e^-|z|).
        const double z = y[i];
        sum += weight * (std::max(z, 0.0) - target[i] * z + std::log1p(std::exp(-std::abs(z))));
        if (!delta.empty()) delta[i] = weight * scale * (1.0f / (1.0f + std::exp(-y[i])) - target[i]);
      } else if (loss == v1::HUBER) {
        const double difference = y[i] - target[i], size = std::abs(difference);
        sum += weight * (size <= 1 ? 0.5 * difference * difference : size - 0.5);
        if (!delta.empty()) delta[i] = weight * scale * static_cast<float>(std::clamp(difference, -1.0, 1.0));
      } else {
        const float difference = y[i] - target[i];
        sum += static_cast<double>(weight) * difference * difference;
        if (!delta.empty()) delta[i] = 2.0f * weight * scale * difference;
      }
    }
    return sum / count;
  }
};

Gradient::Gradient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Gradient::~Gradient() = default;

absl::StatusOr<std::unique_ptr<Gradient>> Gradient::Create(
    const Network& network, v1::Loss loss, size_t batch_size,
    const google::protobuf::RepeatedPtrField<v1::Regularizer>& regularizers) {
  const int last = network.spec().layers_size() - 1;
  if (loss == v1::BINARY_CROSS_ENTROPY && network.spec().layers(last).dense().activation() != v1::SIGMOID) {
    return absl::InvalidArgumentError(
        absl::StrCat("loss: BINARY_CROSS_ENTROPY expects layer '", network.spec().layers(last).name(),
                     "' to be SIGMOID, got ", v1::Activation_Name(network.spec().layers(last).dense().activation())));
  }
  if (batch_size == 0) return absl::InvalidArgumentError("batch_size: expected at least 1, got 0");
  const auto code_layer = static_cast<int>(network.spec().code_layer());
  RETURN_IF_ERROR(CheckRegularizers(regularizers, network.spec().layers(code_layer).dense().activation()));
  auto impl = std::make_unique<Impl>();
  impl->network = &network;
  impl->regularizers.assign(regularizers.begin(), regularizers.end());
  impl->loss = loss;
  impl->batch_size = batch_size;
  impl->input = AlignedBuffer(batch_size * network.input_size());
  impl->gradient = AlignedBuffer(network.parameters().size());
  for (const v1::Layer& layer : network.spec().layers()) {
    ASSIGN_OR_RETURN(auto dense,
                     onednn::TrainableDense::Create({batch_size, layer.dense().inputs(), layer.dense().outputs()}));
    impl->layers.push_back(std::move(dense));
    impl->outputs.emplace_back(batch_size * layer.dense().outputs());
    impl->deltas.emplace_back(batch_size * layer.dense().outputs());
  }
  return std::unique_ptr<Gradient>(new Gradient(std::move(impl)));
}

absl::StatusOr<double> Gradient::Compute(std::span<const float> input, std::span<const float> target,
                                         std::span<const float> observed) {
  onednn::UseCallingThreadOnly();
  RETURN_IF_ERROR(impl_->Forward(input));
  double loss = impl_->OutputLoss(target, observed, impl_->deltas.back().span());
  const float* parameters = impl_->network->parameters().data();
  float* gradient = impl_->gradient.data();
  for (size_t i = impl_->layers.size(); i-- > 0;) {
    if (i == impl_->code_layer()) loss += impl_->Regularize();
    MultiplyByDerivative(impl_->activation(i), impl_->outputs[i].span(), impl_->deltas[i].span());
    const Network::DenseOffsets& offsets = impl_->network->offsets(i);
    const float* x = i == 0 ? impl_->input.data() : impl_->outputs[i - 1].data();
    RETURN_IF_ERROR(impl_->layers[i]->BackwardWeights(impl_->deltas[i].data(), x, gradient + offsets.weights,
                                                      gradient + offsets.bias));
    if (i > 0) {
      RETURN_IF_ERROR(impl_->layers[i]->BackwardData(impl_->deltas[i].data(), parameters + offsets.weights,
                                                     impl_->deltas[i - 1].data()));
    }
  }
  return loss;
}

absl::StatusOr<double> Gradient::Loss(std::span<const float> input, std::span<const float> target,
                                      std::span<const float> observed) {
  onednn::UseCallingThreadOnly();
  RETURN_IF_ERROR(impl_->Forward(input));
  return impl_->OutputLoss(target, observed, {});
}

std::span<const float> Gradient::gradient() const { return impl_->gradient.span(); }
size_t Gradient::batch_size() const { return impl_->batch_size; }

}  // namespace astray
