#include "engine/train/token_corruption.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace astray {
namespace {

// Knuth 1969: products of uniform numbers until one is below e^-mean. For the short means of spans.
size_t Poisson(double mean, Random& random) {
  const double limit = std::exp(-mean);
  size_t count = 0;
  for (double product = random.Uniform(); product > limit; product *= random.Uniform()) ++count;
  return count;
}

}  // namespace

TokenCorruptor::TokenCorruptor(VectorShape shape) : shape_(shape) {}

std::span<float> TokenCorruptor::token(std::span<float> vector, size_t i) const {
  return vector.subspan(i * shape_.features, shape_.features);
}

void TokenCorruptor::Begin(std::span<float> vector) {
  before_.assign(vector.begin(), vector.end());
  written_ = 0;
}

void TokenCorruptor::Copy(size_t i, std::span<float> vector) {
  if (written_ < tokens()) std::ranges::copy(token(before_, i), token(vector, written_++).begin());
}

void TokenCorruptor::Put(float fill, std::span<float> vector) {
  if (written_ < tokens()) std::ranges::fill(token(vector, written_++), fill);
}

void TokenCorruptor::FillRest(float fill, std::span<float> vector) {
  while (written_ < tokens()) Put(fill, vector);
}

void TokenCorruptor::Mask(const v1::TokenMask& mask, Random& random, std::span<float> vector) {
  for (size_t i = 0; i < tokens(); ++i) {
    if (random.Uniform() < mask.probability()) std::ranges::fill(token(vector, i), mask.fill());
  }
}

void TokenCorruptor::Delete(const v1::TokenDeletion& deletion, Random& random, std::span<float> vector) {
  Begin(vector);
  for (size_t i = 0; i < tokens(); ++i) {
    if (random.Uniform() >= deletion.probability()) Copy(i, vector);
  }
  FillRest(deletion.fill(), vector);
}

void TokenCorruptor::Permute(const v1::SpanPermutation& permutation, Random& random, std::span<float> vector) {
  // Parts begin at 0 and at `spans` - 1 different places after it.
  order_.resize(tokens() - 1);
  std::iota(order_.begin(), order_.end(), 1u);
  random.Shuffle(order_);
  places_.assign(order_.begin(), order_.begin() + permutation.spans() - 1);
  places_.push_back(0);
  std::ranges::sort(places_);
  order_.resize(places_.size());
  std::iota(order_.begin(), order_.end(), 0u);
  random.Shuffle(order_);
  Begin(vector);
  for (const uint32_t part : order_) {
    const size_t end = part + 1 < places_.size() ? places_[part + 1] : tokens();
    for (size_t i = places_[part]; i < end; ++i) Copy(i, vector);
  }
}

void TokenCorruptor::MaskSpans(const v1::SpanMask& mask, Random& random, std::span<float> vector) {
  const double mean = mask.has_mean_length() ? mask.mean_length() : kDefaultSpanLength;
  auto left = static_cast<size_t>(std::lround(mask.share() * static_cast<double>(tokens())));
  while (left > 0) {
    const size_t length = std::min(left, 1 + Poisson(mean - 1, random));
    const size_t begin = random.UniformInt(tokens() - length + 1);
    std::ranges::fill(vector.subspan(begin * shape_.features, length * shape_.features), mask.fill());
    left -= length;
  }
}

void TokenCorruptor::Infill(const v1::Infilling& infilling, Random& random, std::span<float> vector) {
  const double mean = infilling.has_mean_length() ? infilling.mean_length() : kDefaultSpanLength;
  hidden_.assign(tokens(), 0);
  places_.assign(tokens(), 0);
  auto left = static_cast<size_t>(std::lround(infilling.share() * static_cast<double>(tokens())));
  while (left > 0) {
    const size_t length = std::min(left, Poisson(mean, random));
    const size_t begin = random.UniformInt(tokens() - length + 1);
    if (length == 0 && begin < tokens()) ++places_[begin];
    std::fill_n(hidden_.begin() + static_cast<std::ptrdiff_t>(begin), length, 1);
    left -= length;
  }
  Begin(vector);
  for (size_t i = 0; i < tokens(); ++i) {
    for (uint32_t k = 0; k < places_[i]; ++k) Put(infilling.fill(), vector);
    if (!hidden_[i]) {
      Copy(i, vector);
    } else if (i == 0 || !hidden_[i - 1]) {
      Put(infilling.fill(), vector);  // one for the span, or for spans that touch
    }
  }
  FillRest(infilling.fill(), vector);
}

}  // namespace astray
