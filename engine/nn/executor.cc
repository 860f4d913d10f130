#include "engine/nn/executor.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "engine/base/status_macros.h"
#include "engine/nn/activation.h"
#include "engine/nn/onednn.h"

namespace astray {
namespace {

// Candidate row counts of a tile, smallest first. A small one keeps single rows cheap, a large one feeds the kernel.
constexpr std::array<size_t, 3> kTileRows = {1, 8, 64};

// The network for one number of rows.
class Tile {
 public:
  static absl::StatusOr<Tile> Create(const Network& network, size_t rows) {
    Tile tile;
    tile.rows_ = rows;
    tile.last_activation_ = network.shape(network.layers() - 1).activation;
    tile.buffers_.emplace_back(rows * network.input_size());
    for (size_t i = 0; i < network.layers(); ++i) {
      if (!network.spec().layers(static_cast<int>(i)).has_dropout()) {
        ASSIGN_OR_RETURN(auto layer, onednn::PackedLayer::Create(network, i, rows));
        tile.layers_.push_back(std::move(layer));
        tile.buffers_.emplace_back(rows * network.shape(i).output.size());
      }
      if (i == network.spec().code_layer()) tile.code_ = tile.buffers_.size() - 1;
    }
    return tile;
  }

  size_t rows() const { return rows_; }
  float* input() { return buffers_.front().data(); }
  const float* code() const { return buffers_[code_].data(); }
  const AlignedBuffer& output() const { return buffers_.back(); }

  absl::Status Run() {
    for (size_t i = 0; i < layers_.size(); ++i) {
      RETURN_IF_ERROR(layers_[i]->Run(buffers_[i].data(), buffers_[i + 1].data()));
    }
    if (last_activation_ == v1::ZERO_INFLATED_COUNTS) {
      Activate(last_activation_, buffers_.back().size() / rows_, buffers_.back().span());
    }
    return absl::OkStatus();
  }

 private:
  size_t rows_ = 0;
  v1::Activation last_activation_ = v1::LINEAR;
  std::vector<std::unique_ptr<onednn::PackedLayer>> layers_;  // dropout, which does nothing here, left out
  std::vector<AlignedBuffer> buffers_;                        // input, then each layer's output
  size_t code_ = 0;                                           // of buffers_
};

// Whether each row of `tile` comes out with the same bits as from `reference`, whatever its place.
absl::StatusOr<bool> Agree(Tile& reference, Tile& tile, size_t inputs, size_t outputs) {
  Random random(1);
  random.FillNormal({tile.input(), tile.rows() * inputs});
  RETURN_IF_ERROR(tile.Run());
  for (size_t row = 0; row < tile.rows(); row += reference.rows()) {
    std::copy_n(tile.input() + row * inputs, reference.rows() * inputs, reference.input());
    RETURN_IF_ERROR(reference.Run());
    if (std::memcmp(reference.output().data(), tile.output().data() + row * outputs,
                    reference.rows() * outputs * sizeof(float)) != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace

struct Executor::Impl {
  size_t inputs, outputs, reconstruction_size, code_size;
  std::vector<Tile> tiles;  // ascending row counts
};

Executor::Executor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Executor::~Executor() = default;

absl::StatusOr<std::unique_ptr<Executor>> Executor::Create(const Network& network) {
  auto impl = std::make_unique<Impl>();
  impl->inputs = network.input_size();
  impl->outputs = network.output_size();
  impl->reconstruction_size = network.reconstruction_size();
  impl->code_size = network.code_size();
  // oneDNN picks a kernel by shape, and two kernels may add in another order. A tile size whose bits differ from the
  // others' is left out, so that verdicts do not depend on batching.
  for (const size_t rows : kTileRows) {
    ASSIGN_OR_RETURN(Tile tile, Tile::Create(network, rows));
    if (!impl->tiles.empty()) {
      ASSIGN_OR_RETURN(const bool agree, Agree(impl->tiles.front(), tile, impl->inputs, impl->outputs));
      if (!agree) continue;
    }
    impl->tiles.push_back(std::move(tile));
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
  onednn::UseCallingThreadOnly();
  const auto& [inputs, outputs, reconstruction_size, code_size, tiles] = *impl_;
  for (size_t row = 0; row < rows;) {
    // The smallest tile that holds what is left, or the largest there is.
    auto tile = std::ranges::find_if(impl_->tiles, [&](const Tile& t) { return t.rows() >= rows - row; });
    if (tile == impl_->tiles.end()) --tile;
    const size_t count = std::min(tile->rows(), rows - row);
    std::copy_n(input.data() + row * inputs, count * inputs, tile->input());
    // Rows left over from the last call would cost time where they hold denormals.
    std::fill_n(tile->input() + count * inputs, (tile->rows() - count) * inputs, 0.0f);
    RETURN_IF_ERROR(tile->Run());
    for (size_t i = 0; i < count; ++i) {
      std::copy_n(tile->output().data() + i * outputs, kept_outputs, output.data() + (row + i) * kept_outputs);
    }
    if (!code.empty()) {
      std::copy_n(tile->code(), count * code_size, code.data() + row * code_size);
    }
    row += count;
  }
  return absl::OkStatus();
}

}  // namespace astray
