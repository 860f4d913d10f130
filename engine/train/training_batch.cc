#include "engine/train/training_batch.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

namespace astray {
namespace {

constexpr size_t kValuesOfATask = 1 << 14;

}  // namespace

TrainingBatch::TrainingBatch(size_t vectors, size_t width)
    : vectors_(vectors),
      width_(width),
      input_(vectors * width),
      target_(vectors * width),
      observed_(vectors * width),
      counts_(vectors) {}

void TrainingBatch::Gather(const VectorSet& vectors, std::span<const size_t> picked, ThreadTeam* team) {
  filled_ = picked.size();
  const size_t slots = std::max<size_t>(1, kValuesOfATask / width_);
  RunOn(team, (vectors_ + slots - 1) / slots, [&](size_t task) {
    for (size_t slot = task * slots; slot < std::min(vectors_, (task + 1) * slots); ++slot) {
      const std::span<float> input = input_.span().subspan(slot * width_, width_);
      const std::span<float> target = target_.span().subspan(slot * width_, width_);
      const std::span<float> observed = observed_.span().subspan(slot * width_, width_);
      if (slot < filled_) {
        std::ranges::copy(vectors.values(picked[slot]), target.begin());
        std::ranges::copy(target, input.begin());
        std::ranges::copy(vectors.observed(picked[slot]), observed.begin());
      } else {
        for (const std::span<float> part : {input, target, observed}) std::ranges::fill(part, 0.0f);
      }
      uint32_t ones = 0;
      for (const float o : observed) ones += o != 0 ? 1 : 0;
      counts_[slot] = ones;
    }
  });
}

void TrainingBatch::Corrupt(Corruptor& corruptor, ThreadTeam* team) {
  corruptor.Apply(input_.span().first(filled_ * width_), team);
}

double TrainingBatch::observed_count() const {
  return static_cast<double>(std::accumulate(counts_.begin(), counts_.end(), size_t{0}));
}

std::span<const float> TrainingBatch::observed() const {
  if (observed_count() == static_cast<double>(observed_.size())) return {};
  return observed_.span();
}

}  // namespace astray
