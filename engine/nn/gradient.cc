#include "engine/nn/gradient.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/nn/activation.h"
#include "engine/nn/loss.h"
#include "engine/nn/onednn.h"
#include "engine/nn/regularizer.h"

namespace astray {
namespace {

// One layer of the batch.
struct Step {
  std::unique_ptr<onednn::TrainableLayer> layer;  // none for dropout
  v1::Activation activation = v1::LINEAR;         // what Forward applies: none where the loss is of the layer's z
  float dropout_rate = 0;
  AlignedBuffer output;         // activated
  AlignedBuffer delta;          // d loss / d output, then / d z
  AlignedBuffer kept;           // dropout: 0 or 1 / (1 - rate) for each value
  AlignedBuffer tied_gradient;  // of a tied layer: d loss / d the weights it borrows
};

}  // namespace

struct Gradient::Impl {
  Impl(const Network& n, std::span<const v1::Regularizer> r, Random random)
      : network(&n), regularizers(r.begin(), r.end()), contraction(r, n), dropout(random) {}

  const Network* network;
  std::vector<v1::Regularizer> regularizers;
  ContractivePenalty contraction;
  Random dropout;
  v1::Loss loss = v1::MEAN_SQUARED_ERROR;
  size_t batch_size = 0;
  AlignedBuffer input, gradient;
  std::vector<Step> steps;

  size_t code_layer() const { return network->spec().code_layer(); }
  const float* weights(size_t i) const { return network->parameters().data() + network->offsets(i).weights; }
  const float* bias(size_t i) const { return network->parameters().data() + network->offsets(i).bias; }
  const float* input_of(size_t i) const { return i == 0 ? input.data() : steps[i - 1].output.data(); }

  void Drop(Step& step, const float* x) {
    dropout.FillUniform(step.kept.span());
    const float keep = 1 / (1 - step.dropout_rate);
    for (size_t k = 0; k < step.kept.size(); ++k) {
      float& kept = step.kept.data()[k];
      kept = kept < step.dropout_rate ? 0.0f : keep;
      step.output.data()[k] = kept * x[k];
    }
  }

  absl::Status Forward(std::span<const float> x, bool training) {
    std::ranges::copy(x, input.data());
    for (size_t i = 0; i < steps.size(); ++i) {
      Step& step = steps[i];
      if (step.layer != nullptr) {
        RETURN_IF_ERROR(step.layer->Forward(input_of(i), weights(i), bias(i), step.output.data()));
        Activate(step.activation, network->shape(i).output.size(), step.output.span());
      } else if (training) {
        Drop(step, input_of(i));
      } else {
        std::copy_n(input_of(i), step.output.size(), step.output.data());
      }
    }
    return absl::OkStatus();
  }

  // The mean loss; fills `delta` with d loss / d z of the last layer unless it is empty.
  double OutputLoss(std::span<const float> target, std::span<const float> observed, std::span<float> delta) const {
    double count = static_cast<double>(target.size());
    if (!observed.empty()) {
      count = 0;
      for (const float o : observed) count += o;
    }
    if (count == 0) {
      std::ranges::fill(delta, 0.0f);
      return 0;
    }
    const std::span<const float> z = steps.back().output.span();
    const size_t outputs = z.size() / batch_size, width = target.size() / batch_size;
    const float scale = static_cast<float>(1.0 / count);
    double sum = 0;
    for (size_t row = 0; row < batch_size; ++row) {
      sum += SumOfLosses(loss, z.subspan(row * outputs, outputs), target.subspan(row * width, width),
                         observed.empty() ? observed : observed.subspan(row * width, width), scale,
                         delta.empty() ? delta : delta.subspan(row * outputs, outputs));
    }
    return sum / count;
  }

  // From d loss / d output of layer i to the gradient by its parameters and to layer i - 1; returns what the
  // regularizers cost.
  absl::StatusOr<double> Backward(size_t i) {
    Step& step = steps[i];
    double cost = 0;
    if (i == code_layer()) cost += AddSparsity(regularizers, batch_size, step.output.span(), step.delta.span());
    if (step.layer == nullptr) {
      const std::span<float> before = steps[i - 1].delta.span();
      for (size_t k = 0; k < before.size(); ++k) before[k] = step.delta.data()[k] * step.kept.data()[k];
      return cost;
    }
    MultiplyByDerivative(step.activation, step.output.span(), step.delta.span());
    if (i == code_layer()) cost += contraction.AddToDelta(*network, batch_size, step.output.span(), step.delta.span());
    if (network->shape(i).biases > 0) {
      float* own =
          network->shape(i).tied_to ? step.tied_gradient.data() : gradient.data() + network->offsets(i).weights;
      RETURN_IF_ERROR(
          step.layer->BackwardWeights(step.delta.data(), input_of(i), own, gradient.data() + network->offsets(i).bias));
      if (i == code_layer()) contraction.AddToGradient(*network, gradient.span());
      AddTied(i);
    }
    if (i > 0) RETURN_IF_ERROR(step.layer->BackwardData(step.delta.data(), weights(i), steps[i - 1].delta.data()));
    return cost;
  }

  // Layers that borrow layer i's weights come after it, so their part is there before layer i's own.
  void AddTied(size_t i) {
    for (size_t k = i + 1; k < steps.size(); ++k) {
      if (network->shape(k).tied_to != i) continue;
      const std::span<const float> tied = steps[k].tied_gradient.span();
      float* own = gradient.data() + network->offsets(i).weights;
      for (size_t w = 0; w < tied.size(); ++w) own[w] += tied[w];
    }
  }
};

Gradient::Gradient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Gradient::~Gradient() = default;

absl::StatusOr<std::unique_ptr<Gradient>> Gradient::Create(
    const Network& network, v1::Loss loss, size_t batch_size,
    const google::protobuf::RepeatedPtrField<v1::Regularizer>& regularizers, Random dropout) {
  const size_t last = network.layers() - 1;
  const v1::Activation expected = ActivationOf(loss), activation = network.shape(last).activation;
  const bool any = expected == v1::ACTIVATION_UNSPECIFIED && activation != v1::ZERO_INFLATED_COUNTS;
  if (activation != expected && !any) {
    return absl::InvalidArgumentError(absl::StrCat(
        "loss: ", v1::Loss_Name(loss), " expects layer '", network.spec().layers(static_cast<int>(last)).name(),
        "' to be ", expected == v1::ACTIVATION_UNSPECIFIED ? "of one output a feature" : v1::Activation_Name(expected),
        ", got ", v1::Activation_Name(activation)));
  }
  if (batch_size == 0) return absl::InvalidArgumentError("batch_size: expected at least 1, got 0");
  RETURN_IF_ERROR(CheckRegularizers(regularizers, network));
  const std::vector<v1::Regularizer> entries(regularizers.begin(), regularizers.end());
  auto impl = std::make_unique<Impl>(network, entries, dropout);
  impl->loss = loss;
  impl->batch_size = batch_size;
  impl->input = AlignedBuffer(batch_size * network.input_size());
  impl->gradient = AlignedBuffer(network.parameters().size());
  for (size_t i = 0; i < network.layers(); ++i) {
    const LayerShape& shape = network.shape(i);
    Step step;
    const size_t outputs = batch_size * shape.output.size();
    step.output = AlignedBuffer(outputs);
    step.delta = AlignedBuffer(outputs);
    step.activation = i == last && expected != v1::ACTIVATION_UNSPECIFIED ? v1::LINEAR : shape.activation;
    const v1::Layer& layer = network.spec().layers(static_cast<int>(i));
    if (layer.has_dropout()) {
      step.dropout_rate = layer.dropout().rate();
      step.kept = AlignedBuffer(outputs);
    } else {
      ASSIGN_OR_RETURN(step.layer, onednn::TrainableLayer::Create(network, i, batch_size));
    }
    if (shape.tied_to) step.tied_gradient = AlignedBuffer(shape.input.size() * shape.output.size());
    impl->steps.push_back(std::move(step));
  }
  return std::unique_ptr<Gradient>(new Gradient(std::move(impl)));
}

absl::StatusOr<double> Gradient::Compute(std::span<const float> input, std::span<const float> target,
                                         std::span<const float> observed) {
  onednn::UseCallingThreadOnly();
  RETURN_IF_ERROR(impl_->Forward(input, true));
  double loss = impl_->OutputLoss(target, observed, impl_->steps.back().delta.span());
  for (size_t i = impl_->steps.size(); i-- > 0;) {
    ASSIGN_OR_RETURN(const double cost, impl_->Backward(i));
    loss += cost;
  }
  return loss;
}

absl::StatusOr<double> Gradient::Loss(std::span<const float> input, std::span<const float> target,
                                      std::span<const float> observed) {
  onednn::UseCallingThreadOnly();
  RETURN_IF_ERROR(impl_->Forward(input, false));
  return impl_->OutputLoss(target, observed, {});
}

std::span<const float> Gradient::gradient() const { return impl_->gradient.span(); }
size_t Gradient::batch_size() const { return impl_->batch_size; }
Random& Gradient::dropout() { return impl_->dropout; }

}  // namespace astray
