#include "engine/nn/gradient.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "engine/base/random_array.h"
#include "engine/base/status_macros.h"
#include "engine/nn/activation.h"
#include "engine/nn/loss.h"
#include "engine/nn/onednn.h"
#include "engine/nn/regularizer.h"
#include "engine/nn/tiling.h"

namespace astray {
namespace {

// One layer of the batch: dense, or one with kernels or pooling (parts), or dropout.
struct Step {
  bool dense = false;
  std::vector<Tile> output_tiles, input_tiles;                 // dense: of its products
  std::vector<std::unique_ptr<onednn::TrainableLayer>> parts;  // one for each of row_tiles
  std::unique_ptr<onednn::TrainableLayer> whole;               // kernels: the gradient by their weights
  v1::Activation activation = v1::LINEAR;                      // none where the loss is of the layer's z
  float dropout_rate = 0;
  AlignedBuffer output;  // activated
  AlignedBuffer delta;   // d loss / d output, then / d z
  AlignedBuffer kept;    // dropout: 0 or 1 / (1 - rate) for each value

  bool is_dropout() const { return !dense && parts.empty(); }
};

// The gradient by the weights and biases of some outputs of a dense layer, or by all of another one's.
struct WeightTask {
  size_t layer, begin, outputs;
};

// Of tasks on several threads, the first failure.
class Outcome {
 public:
  void Add(absl::Status status) {
    if (status.ok()) return;
    const absl::MutexLock lock(&mutex_);
    status_.Update(std::move(status));
  }
  absl::Status status() const {
    const absl::MutexLock lock(&mutex_);
    return status_;
  }

 private:
  mutable absl::Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

struct Gradient::Impl {
  Impl(const Network& n, std::span<const v1::Regularizer> r, Random random)
      : network(&n), regularizers(r.begin(), r.end()), contraction(r, n), dropout(random) {}

  const Network* network;
  std::vector<v1::Regularizer> regularizers;
  ContractivePenalty contraction;
  Random dropout;
  ThreadTeam* team = nullptr;
  v1::Loss loss = v1::MEAN_SQUARED_ERROR;
  size_t batch_size = 0;
  const float* input = nullptr;  // of the current call
  AlignedBuffer gradient;
  std::vector<Step> steps;
  std::vector<Tile> row_tiles;  // for what is no product
  std::vector<double> sums;     // one for each of row_tiles
  std::vector<WeightTask> weight_tasks;

  size_t code_layer() const { return network->spec().code_layer(); }
  size_t inputs(size_t i) const { return network->shape(i).input.size(); }
  size_t outputs(size_t i) const { return network->shape(i).output.size(); }
  const float* weights(size_t i) const { return network->parameters().data() + network->offsets(i).weights; }
  const float* bias(size_t i) const { return network->parameters().data() + network->offsets(i).bias; }
  const float* input_of(size_t i) const { return i == 0 ? input : steps[i - 1].output.data(); }

  // Multiplications and additions of forward and backward.
  double Flops() const {
    double products = 0;
    for (size_t i = 0; i < network->layers(); ++i) {
      const LayerShape& shape = network->shape(i);
      const size_t places =
          network->spec().layers(static_cast<int>(i)).has_dense() ? 1 : shape.output.height * shape.output.width;
      products += static_cast<double>(shape.tied_to ? inputs(i) * outputs(i) : shape.weights * places);
    }
    return 6 * products * static_cast<double>(batch_size);
  }

  void PlanWeightTasks(double flops) {
    for (size_t i = 0; i < steps.size(); ++i) {
      if (!steps[i].dense) {
        if (network->shape(i).biases > 0) weight_tasks.push_back({i, 0, 0});
        continue;
      }
      for (const Tile& tile : CutOutputs(batch_size, outputs(i), inputs(i), flops)) {
        weight_tasks.push_back({i, tile.column, tile.columns});
      }
    }
  }

  absl::Status ForEach(const std::vector<Tile>& tiles, absl::FunctionRef<absl::Status(const Tile&, size_t)> task) {
    Outcome outcome;
    RunOn(team, tiles.size(), [&](size_t t) { outcome.Add(task(tiles[t], t)); });
    return outcome.status();
  }

  double SumOverRows(absl::FunctionRef<double(const Tile&)> task) {
    RunOn(team, row_tiles.size(), [&](size_t t) { sums[t] = task(row_tiles[t]); });
    return std::accumulate(sums.begin(), sums.end(), 0.0);
  }

  void Drop(Step& step, const float* x) {
    const RandomArray draws(dropout.NextUint64());
    const float keep = 1 / (1 - step.dropout_rate);
    RunOn(team, RandomArray::Chunks(step.kept.size()), [&](size_t chunk) {
      const size_t begin = chunk * RandomArray::kChunk, end = std::min(begin + RandomArray::kChunk, step.kept.size());
      draws.FillUniform(chunk, step.kept.span().subspan(begin, end - begin));
      for (size_t k = begin; k < end; ++k) {
        float& kept = step.kept.data()[k];
        kept = kept < step.dropout_rate ? 0.0f : keep;
        step.output.data()[k] = kept * x[k];
      }
    });
  }

  // The columns that begin at `column` of layer i's weights, [inputs x outputs]. They lie as [outputs x inputs], but a
  // tied layer's as its owner has them, the other way round.
  onednn::Operand ForwardWeights(size_t i, size_t column) const {
    if (network->shape(i).tied_to) return {weights(i) + column, outputs(i)};
    return {weights(i) + column * inputs(i), inputs(i), true};
  }
  // The same of [outputs x inputs].
  onednn::Operand BackwardWeights(size_t i, size_t column) const {
    if (network->shape(i).tied_to) return {weights(i) + column * outputs(i), outputs(i), true};
    return {weights(i) + column, inputs(i)};
  }

  absl::Status ForwardDense(size_t i) {
    const size_t m = inputs(i), n = outputs(i);
    const float* x = input_of(i);
    return ForEach(steps[i].output_tiles, [&](const Tile& tile, size_t) {
      float* y = steps[i].output.data() + tile.row * n + tile.column;
      RETURN_IF_ERROR(
          onednn::Multiply(tile.rows, tile.columns, m, {x + tile.row * m, m}, ForwardWeights(i, tile.column), y, n));
      AddBiasAndActivate(steps[i].activation, bias(i) + tile.column, tile.rows, tile.columns, n, y);
      return absl::OkStatus();
    });
  }

  absl::Status ForwardKernels(size_t i) {
    const size_t n = outputs(i);
    return ForEach(row_tiles, [&](const Tile& tile, size_t t) {
      float* y = steps[i].output.data() + tile.row * n;
      RETURN_IF_ERROR(steps[i].parts[t]->Forward(input_of(i) + tile.row * inputs(i), weights(i), bias(i), y));
      AddBiasAndActivate(steps[i].activation, nullptr, tile.rows, n, n, y);
      return absl::OkStatus();
    });
  }

  absl::Status Forward(std::span<const float> x, bool training) {
    input = x.data();
    for (size_t i = 0; i < steps.size(); ++i) {
      if (steps[i].dense) {
        RETURN_IF_ERROR(ForwardDense(i));
      } else if (!steps[i].is_dropout()) {
        RETURN_IF_ERROR(ForwardKernels(i));
      } else if (training) {
        Drop(steps[i], input_of(i));
      } else {
        std::copy_n(input_of(i), steps[i].output.size(), steps[i].output.data());
      }
    }
    return absl::OkStatus();
  }

  double CountObserved(std::span<const float> observed, size_t width) {
    return SumOverRows([&](const Tile& tile) {
      uint32_t ones = 0;
      for (const float o : observed.subspan(tile.row * width, tile.rows * width)) ones += o != 0 ? 1 : 0;
      return static_cast<double>(ones);
    });
  }

  // The mean loss; with `slopes` the last layer's delta becomes d loss / d z.
  double OutputLoss(std::span<const float> target, std::span<const float> observed, bool slopes) {
    const size_t last = steps.size() - 1, n = outputs(last), width = target.size() / batch_size;
    const double count = observed.empty() ? static_cast<double>(target.size()) : CountObserved(observed, width);
    if (count == 0) {
      std::ranges::fill(steps[last].delta.span(), 0.0f);
      return 0;
    }
    const float scale = static_cast<float>(1.0 / count);
    const std::span<const float> z = steps[last].output.span();
    const std::span<float> delta = slopes ? steps[last].delta.span() : std::span<float>();
    const double sum = SumOverRows([&](const Tile& tile) {
      const auto part = [](auto values, size_t begin, size_t size) {
        return values.empty() ? values : values.subspan(begin, size);
      };
      // Counts have several outputs for each value; of the others all rows go as one.
      const size_t together = n == width ? tile.rows : 1;
      double sum_of_tile = 0;
      for (size_t row = tile.row; row < tile.row + tile.rows; row += together) {
        sum_of_tile +=
            SumOfLosses(loss, part(z, row * n, together * n), part(target, row * width, together * width),
                        part(observed, row * width, together * width), scale, part(delta, row * n, together * n));
      }
      if (slopes && !IsRegularized(last)) Differentiate(last, {tile.row, tile.rows, 0, n});
      return sum_of_tile;
    });
    return sum / count;
  }

  // Whether something is added to d loss / d output of the layer.
  bool IsRegularized(size_t i) const { return i == code_layer() && !regularizers.empty(); }

  // From d loss / d output to d loss / d z.
  void Differentiate(size_t i, const Tile& tile) {
    if (steps[i].is_dropout()) return;
    const size_t n = outputs(i), begin = tile.row * n + tile.column;
    MultiplyByDerivative(steps[i].activation, tile.rows, tile.columns, n, steps[i].output.data() + begin,
                         steps[i].delta.data() + begin);
  }

  // From layer i's delta to that of layer i - 1; returns what the regularizers cost.
  absl::StatusOr<double> BackwardData(size_t i) {
    double cost = 0;
    if (IsRegularized(i)) {
      const std::span<float> delta = steps[i].delta.span();
      cost += AddSparsity(regularizers, batch_size, steps[i].output.span(), delta);
      Differentiate(i, {0, batch_size, 0, outputs(i)});
      cost += contraction.AddToDelta(*network, batch_size, steps[i].output.span(), delta);
    }
    if (i == 0) return cost;
    const size_t m = inputs(i), n = outputs(i);
    const float* delta = steps[i].delta.data();
    float* before = steps[i - 1].delta.data();
    const bool differentiate = !IsRegularized(i - 1);
    if (steps[i].dense) {
      RETURN_IF_ERROR(ForEach(steps[i].input_tiles, [&](const Tile& tile, size_t) {
        RETURN_IF_ERROR(onednn::Multiply(tile.rows, tile.columns, n, {delta + tile.row * n, n},
                                         BackwardWeights(i, tile.column), before + tile.row * m + tile.column, m));
        if (differentiate) Differentiate(i - 1, tile);
        return absl::OkStatus();
      }));
      return cost;
    }
    RETURN_IF_ERROR(ForEach(row_tiles, [&](const Tile& tile, size_t t) {
      const size_t begin = tile.row * m, end = begin + tile.rows * m;
      if (steps[i].is_dropout()) {
        for (size_t k = begin; k < end; ++k) before[k] = delta[k] * steps[i].kept.data()[k];
      } else {
        RETURN_IF_ERROR(steps[i].parts[t]->BackwardData(delta + tile.row * n, weights(i), before + begin));
      }
      if (differentiate) Differentiate(i - 1, {tile.row, tile.rows, 0, m});
      return absl::OkStatus();
    }));
    return cost;
  }

  absl::Status WeightGradient(const WeightTask& task) {
    const size_t i = task.layer, m = inputs(i), n = outputs(i);
    const float* delta = steps[i].delta.data() + task.begin;
    float* own = gradient.data() + network->offsets(i).weights;
    float* by_bias = gradient.data() + network->offsets(i).bias;
    if (!steps[i].dense) return steps[i].whole->BackwardWeights(delta, input_of(i), own, by_bias);
    SumRows(batch_size, task.outputs, n, delta, by_bias + task.begin);
    if (network->shape(i).tied_to) return absl::OkStatus();
    own += task.begin * m;
    RETURN_IF_ERROR(onednn::Multiply(task.outputs, m, batch_size, {delta, n, true}, {input_of(i), m}, own, m));
    // Of layers that borrow these weights: what the owner has for outputs are their inputs.
    for (size_t k = i + 1; k < steps.size(); ++k) {
      if (network->shape(k).tied_to != i) continue;
      RETURN_IF_ERROR(onednn::Multiply(task.outputs, m, batch_size, {input_of(k) + task.begin, n, true},
                                       {steps[k].delta.data(), m}, own, m, /*add=*/true));
    }
    return absl::OkStatus();
  }

  absl::Status WeightGradients() {
    Outcome outcome;
    RunOn(team, weight_tasks.size(), [&](size_t t) { outcome.Add(WeightGradient(weight_tasks[t])); });
    contraction.AddToGradient(*network, gradient.span());
    return outcome.status();
  }
};

Gradient::Gradient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Gradient::~Gradient() = default;

absl::StatusOr<std::unique_ptr<Gradient>> Gradient::Create(
    const Network& network, v1::Loss loss, size_t batch_size,
    const google::protobuf::RepeatedPtrField<v1::Regularizer>& regularizers, Random dropout, ThreadTeam* team) {
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
  const double flops = impl->Flops();
  impl->team = flops < kLeastStepFlops ? nullptr : team;
  impl->row_tiles = CutRows(batch_size, flops);
  impl->sums.resize(impl->row_tiles.size());
  impl->gradient = AlignedBuffer(network.parameters().size());
  for (size_t i = 0; i < network.layers(); ++i) {
    const LayerShape& shape = network.shape(i);
    Step step;
    const size_t inputs = shape.input.size(), outputs = shape.output.size();
    step.output = AlignedBuffer(batch_size * outputs);
    step.delta = AlignedBuffer(batch_size * outputs);
    step.activation = i == last && expected != v1::ACTIVATION_UNSPECIFIED ? v1::LINEAR : shape.activation;
    const v1::Layer& layer = network.spec().layers(static_cast<int>(i));
    if (layer.has_dropout()) {
      step.dropout_rate = layer.dropout().rate();
      step.kept = AlignedBuffer(batch_size * outputs);
    } else if (layer.has_dense()) {
      step.dense = true;
      step.output_tiles = CutProduct(batch_size, outputs, inputs, flops);
      step.input_tiles = CutProduct(batch_size, inputs, outputs, flops);
    } else {
      for (const Tile& tile : impl->row_tiles) {
        ASSIGN_OR_RETURN(auto part, onednn::TrainableLayer::Create(network, i, tile.rows));
        step.parts.push_back(std::move(part));
      }
      if (shape.biases > 0) {
        ASSIGN_OR_RETURN(step.whole, onednn::TrainableLayer::Create(network, i, batch_size));
      }
    }
    impl->steps.push_back(std::move(step));
  }
  impl->PlanWeightTasks(flops);
  return std::unique_ptr<Gradient>(new Gradient(std::move(impl)));
}

absl::StatusOr<double> Gradient::Compute(std::span<const float> input, std::span<const float> target,
                                         std::span<const float> observed) {
  RETURN_IF_ERROR(impl_->Forward(input, true));
  double loss = impl_->OutputLoss(target, observed, true);
  for (size_t i = impl_->steps.size(); i-- > 0;) {
    ASSIGN_OR_RETURN(const double cost, impl_->BackwardData(i));
    loss += cost;
  }
  RETURN_IF_ERROR(impl_->WeightGradients());
  return loss;
}

absl::StatusOr<double> Gradient::Loss(std::span<const float> input, std::span<const float> target,
                                      std::span<const float> observed) {
  RETURN_IF_ERROR(impl_->Forward(input, false));
  return impl_->OutputLoss(target, observed, false);
}

std::span<const float> Gradient::gradient() const { return impl_->gradient.span(); }
size_t Gradient::batch_size() const { return impl_->batch_size; }
Random& Gradient::dropout() { return impl_->dropout; }

}  // namespace astray
