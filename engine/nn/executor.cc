#include "engine/nn/executor.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "engine/base/random.h"
#include "engine/base/status_macros.h"
#include "engine/nn/activation.h"
#include "engine/nn/aligned_buffer.h"
#include "engine/nn/onednn.h"

namespace astray {
namespace {

// Candidate row counts of a tile where oneDNN has part, smallest first. A small one keeps single rows cheap, a large
// one feeds the kernel.
constexpr std::array<size_t, 3> kFixedRows = {1, 8, 64};

// Rows of a tile of dense layers only: enough that fetching the weights costs little beside the arithmetic, few enough
// that the tile stays in the second-level cache. Both a multiple of what a kernel takes at once.
constexpr size_t kDenseRows = 96, kFewestDenseRows = 12;
constexpr size_t kTileFloats = size_t{1} << 17;  // of one layer's outputs

// Where rows would lie a multiple of 4 KiB apart they would share one set of the first-level cache.
size_t PaddedWidth(size_t width) { return width % 256 == 0 ? width + 16 : width; }

// A layer that does something here: dropout is left out.
struct Step {
  const DenseLayer* dense = nullptr;
  std::vector<std::unique_ptr<onednn::PackedLayer>> windowed;  // where it is not dense: one for each tile size
  size_t outputs = 0;
  bool is_code = false;
};

void CopyRows(size_t rows, size_t width, const float* from, size_t from_stride, float* to) {
  for (size_t row = 0; row < rows; ++row) std::copy_n(from + row * from_stride, width, to + row * width);
}

}  // namespace

std::shared_ptr<const PackedDenseLayers> PackDenseLayers(const Network& network) {
  auto layers = std::make_shared<PackedDenseLayers>(network.layers());
  for (size_t i = 0; i < network.layers(); ++i) {
    if (network.spec().layers(static_cast<int>(i)).has_dense()) (*layers)[i].emplace(network, i);
  }
  return layers;
}

struct Executor::Impl {
  size_t inputs, outputs, reconstruction_size, code_size;
  v1::Activation last_activation;
  std::shared_ptr<const PackedDenseLayers> dense_layers;
  std::vector<Step> steps;
  std::vector<size_t> tile_rows;  // ascending; of dense layers only, the most that a tile has
  bool fixed_rows = false;        // whether a tile always has so many: one of oneDNN's primitives is among the steps
  size_t width = 0;               // floats of a buffer that a row takes
  std::array<AlignedBuffer, 2> buffers;  // the even steps' outputs and the odd ones'
  AlignedBuffer first;                   // the input of a tile of fixed rows

  absl::Status AddTile(const Network& network, size_t rows);
  void DropTile();  // the last one
  absl::StatusOr<bool> Agree(size_t tile);
  absl::Status RunTile(size_t tile, size_t rows, const float* input, size_t kept_outputs, float* output, float* code);
};

// The windowed layers for another number of rows, and place for them.
absl::Status Executor::Impl::AddTile(const Network& network, size_t rows) {
  size_t step = 0;
  for (size_t i = 0; i < network.layers(); ++i) {
    if (network.spec().layers(static_cast<int>(i)).has_dropout()) continue;
    if (Step& s = steps[step++]; s.dense == nullptr) {
      ASSIGN_OR_RETURN(auto layer, onednn::PackedLayer::Create(network, i, rows));
      s.windowed.push_back(std::move(layer));
    }
  }
  tile_rows.push_back(rows);
  first = AlignedBuffer(rows * inputs);
  for (AlignedBuffer& buffer : buffers) buffer = AlignedBuffer(rows * width);
  return absl::OkStatus();
}

void Executor::Impl::DropTile() {
  tile_rows.pop_back();
  for (Step& step : steps) {
    if (step.dense == nullptr) step.windowed.pop_back();
  }
}

// Whether each row comes out of that tile with the same bits as out of the first one, whatever its place.
absl::StatusOr<bool> Executor::Impl::Agree(size_t tile) {
  const size_t rows = tile_rows[tile];
  std::vector<float> input(rows * inputs), whole(rows * outputs), alone(outputs);
  Random(1).FillNormal(input);
  RETURN_IF_ERROR(RunTile(tile, rows, input.data(), outputs, whole.data(), nullptr));
  for (size_t row = 0; row < rows; ++row) {
    RETURN_IF_ERROR(RunTile(0, 1, input.data() + row * inputs, outputs, alone.data(), nullptr));
    if (std::memcmp(alone.data(), whole.data() + row * outputs, outputs * sizeof(float)) != 0) return false;
  }
  return true;
}

// Of each row's output the first `kept_outputs`; `code` may be null.
absl::Status Executor::Impl::RunTile(size_t tile, size_t rows, const float* input, size_t kept_outputs, float* output,
                                     float* code) {
  size_t run = rows;
  if (fixed_rows) {
    run = tile_rows[tile];
    std::copy_n(input, rows * inputs, first.data());
    // Rows left over from the last call would cost time where they hold denormals.
    std::fill_n(first.data() + rows * inputs, (run - rows) * inputs, 0.0f);
    input = first.data();
  } else if (buffers[0].size() < rows * width) {
    for (AlignedBuffer& buffer : buffers) buffer = AlignedBuffer(rows * width);
  }
  const float* x = input;
  size_t x_stride = inputs;
  for (size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    const bool last = i + 1 == steps.size();
    float* y = buffers[i % 2].data();
    size_t y_stride = fixed_rows ? step.outputs : PaddedWidth(step.outputs);
    if (!fixed_rows && last && kept_outputs == outputs) {
      y = output;
      y_stride = outputs;
    }
    if (step.dense != nullptr) {
      step.dense->Run(run, x, x_stride, y, y_stride);
    } else {
      RETURN_IF_ERROR(step.windowed[tile]->Run(x, y));
    }
    if (last && last_activation == v1::ZERO_INFLATED_COUNTS) {
      for (size_t row = 0; row < rows; ++row) ActivateCounts({y + row * y_stride, outputs});
    }
    if (step.is_code && code != nullptr) CopyRows(rows, code_size, y, y_stride, code);
    x = y;
    x_stride = y_stride;
  }
  if (x != output) CopyRows(rows, kept_outputs, x, x_stride, output);
  return absl::OkStatus();
}

Executor::Executor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Executor::~Executor() = default;

absl::StatusOr<std::unique_ptr<Executor>> Executor::Create(const Network& network,
                                                           std::shared_ptr<const PackedDenseLayers> dense_layers) {
  auto impl = std::make_unique<Impl>();
  impl->inputs = network.input_size();
  impl->outputs = network.output_size();
  impl->reconstruction_size = network.reconstruction_size();
  impl->code_size = network.code_size();
  impl->last_activation = network.shape(network.layers() - 1).activation;
  impl->dense_layers = std::move(dense_layers);
  for (size_t i = 0; i < network.layers(); ++i) {
    if (!network.spec().layers(static_cast<int>(i)).has_dropout()) {
      const std::optional<DenseLayer>& dense = (*impl->dense_layers)[i];
      impl->steps.push_back({.dense = dense ? &*dense : nullptr, .outputs = network.shape(i).output.size()});
      impl->fixed_rows |= !dense;
      impl->width = std::max(impl->width, PaddedWidth(network.shape(i).output.size()));
    }
    if (i == network.spec().code_layer()) impl->steps.back().is_code = true;
  }
  if (!impl->fixed_rows) {
    impl->tile_rows.push_back(std::clamp(kTileFloats / impl->width, kFewestDenseRows, kDenseRows));
    return std::unique_ptr<Executor>(new Executor(std::move(impl)));
  }
  // oneDNN picks a kernel by shape, and two kernels may add in another order. A tile size whose bits differ from the
  // others' is left out, so that verdicts do not depend on batching.
  onednn::UseCallingThreadOnly();
  for (const size_t rows : kFixedRows) {
    RETURN_IF_ERROR(impl->AddTile(network, rows));
    ASSIGN_OR_RETURN(const bool agree, impl->Agree(impl->tile_rows.size() - 1));
    if (!agree) impl->DropTile();
  }
  return std::unique_ptr<Executor>(new Executor(std::move(impl)));
}

absl::Status Executor::Forward(size_t rows, std::span<const float> input, std::span<float> output) {
  return Run(rows, input, impl_->outputs, output, {});
}

absl::Status Executor::Forward(size_t rows, std::span<const float> input, std::span<float> output,
                               std::span<float> code) {
  return Run(rows, input, impl_->outputs, output, code);
}

absl::Status Executor::Reconstruct(size_t rows, std::span<const float> input, std::span<float> reconstruction) {
  return Run(rows, input, impl_->reconstruction_size, reconstruction, {});
}

// Of each row's output the first `kept_outputs`.
absl::Status Executor::Run(size_t rows, std::span<const float> input, size_t kept_outputs, std::span<float> output,
                           std::span<float> code) {
  if (impl_->fixed_rows) onednn::UseCallingThreadOnly();
  const std::vector<size_t>& tiles = impl_->tile_rows;
  for (size_t row = 0; row < rows;) {
    // The smallest tile that holds what is left, or the largest there is.
    auto tile = std::ranges::lower_bound(tiles, rows - row);
    if (tile == tiles.end()) --tile;
    const size_t count = std::min(*tile, rows - row);
    RETURN_IF_ERROR(impl_->RunTile(static_cast<size_t>(tile - tiles.begin()), count, &input[row * impl_->inputs],
                                   kept_outputs, &output[row * kept_outputs],
                                   code.empty() ? nullptr : &code[row * impl_->code_size]));
    row += count;
  }
  return absl::OkStatus();
}

}  // namespace astray
