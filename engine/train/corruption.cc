#include "engine/train/corruption.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/random_array.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

constexpr size_t kLeastShared = 1 << 15;  // fewer values are sooner done by one thread

absl::Status CheckSigma(const std::string& field, float sigma) {
  if (sigma > 0 && std::isfinite(sigma)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": expected a number above 0, got ", sigma));
}

absl::Status CheckProbability(const std::string& field, float probability) {
  if (probability > 0 && probability <= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": expected (0, 1], got ", probability));
}

absl::Status CheckFill(const std::string& field, float fill) {
  if (std::isfinite(fill)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": expected a finite number, got ", fill));
}

absl::Status CheckRange(const std::string& entry, float low, float high) {
  if (std::isfinite(low) && std::isfinite(high) && low < high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(entry, ".high: expected a number above low (", low, "), got ", high));
}

absl::Status CheckCount(const std::string& field, size_t count, size_t least, size_t most, absl::string_view what) {
  if (count >= least && count <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      most < least ? absl::StrCat(field, ": expected ", what, " of at least ", least, ", got ", most)
                   : absl::StrCat(field, ": expected ", least, " to ", most, " (", what, "), got ", count));
}

absl::Status CheckTokens(const std::string& entry, VectorShape shape) {
  if (shape.rows > 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      entry, ": needs vectors of several tokens (features.window above 1, or features.shape), got vectors of one"));
}

// Spans: SpanMask or Infilling.
template <typename Spans>
absl::Status CheckSpans(const std::string& entry, const Spans& spans, VectorShape shape) {
  RETURN_IF_ERROR(CheckTokens(entry, shape));
  if (!(spans.share() > 0 && spans.share() < 1)) {
    return absl::InvalidArgumentError(absl::StrCat(entry, ".share: expected a number in (0, 1), got ", spans.share()));
  }
  const float length = spans.has_mean_length() ? spans.mean_length() : kDefaultSpanLength;
  if (!(length >= 1 && length <= kMaxSpanLength)) {
    return absl::InvalidArgumentError(
        absl::StrCat(entry, ".mean_length: expected 1 to ", kMaxSpanLength, ", got ", length));
  }
  return CheckFill(entry + ".fill", spans.fill());
}

float HighOf(const v1::ClippedGaussianNoise& noise) { return noise.has_high() ? noise.high() : 1.0f; }
float HighOf(const v1::SaltAndPepper& noise) { return noise.has_high() ? noise.high() : 1.0f; }
float ProbabilityOf(const v1::LocalShuffle& shuffle) {
  return shuffle.has_probability() ? shuffle.probability() : 1.0f;
}

absl::Status Check(const v1::Corruption& corruption, VectorShape shape, const std::string& entry) {
  switch (corruption.kind_case()) {
    case v1::Corruption::kGaussian: {
      const v1::GaussianNoise& noise = corruption.gaussian();
      if ((noise.sigma() != 0) == (noise.max_sigma() != 0)) {
        return absl::InvalidArgumentError(absl::StrCat(entry, ".gaussian: expected one of sigma and max_sigma, got ",
                                                       noise.sigma() == 0 ? "neither" : "both"));
      }
      if (noise.sigma() != 0) return CheckSigma(entry + ".gaussian.sigma", noise.sigma());
      return CheckSigma(entry + ".gaussian.max_sigma", noise.max_sigma());
    }
    case v1::Corruption::kClippedGaussian: {
      const v1::ClippedGaussianNoise& noise = corruption.clipped_gaussian();
      RETURN_IF_ERROR(CheckRange(entry + ".clipped_gaussian", noise.low(), HighOf(noise)));
      return CheckSigma(entry + ".clipped_gaussian.sigma", noise.sigma());
    }
    case v1::Corruption::kMasking:
      RETURN_IF_ERROR(CheckProbability(entry + ".masking.keep_probability", corruption.masking().keep_probability()));
      return CheckFill(entry + ".masking.fill", corruption.masking().fill());
    case v1::Corruption::kSaltAndPepper: {
      const v1::SaltAndPepper& noise = corruption.salt_and_pepper();
      RETURN_IF_ERROR(CheckRange(entry + ".salt_and_pepper", noise.low(), HighOf(noise)));
      return CheckProbability(entry + ".salt_and_pepper.probability", noise.probability());
    }
    case v1::Corruption::kPatchRemoval: {
      const v1::PatchRemoval& patch = corruption.patch_removal();
      RETURN_IF_ERROR(CheckCount(entry + ".patch_removal.rows", patch.rows(), 0, shape.rows, "features.window"));
      RETURN_IF_ERROR(
          CheckCount(entry + ".patch_removal.features", patch.features(), 0, shape.features, "the data's features"));
      if (patch.rows() % shape.rows == 0 && patch.features() % shape.features == 0) {
        return absl::InvalidArgumentError(
            absl::StrCat(entry, ".patch_removal: expected a part of ", shape.rows, " rows x ", shape.features,
                         " features, got all of it: nothing would be left to rebuild it from"));
      }
      return CheckFill(entry + ".patch_removal.fill", patch.fill());
    }
    case v1::Corruption::kLocalShuffle: {
      const v1::LocalShuffle& shuffle = corruption.local_shuffle();
      RETURN_IF_ERROR(CheckCount(entry + ".local_shuffle.rows", shuffle.rows(), 2, shape.rows, "features.window"));
      return CheckProbability(entry + ".local_shuffle.probability", ProbabilityOf(shuffle));
    }
    case v1::Corruption::kBitFlip:
      return CheckProbability(entry + ".bit_flip.probability", corruption.bit_flip().probability());
    case v1::Corruption::kFeatureSwap:
      return CheckProbability(entry + ".feature_swap.probability", corruption.feature_swap().probability());
    case v1::Corruption::kTokenMask:
      RETURN_IF_ERROR(CheckTokens(entry + ".token_mask", shape));
      RETURN_IF_ERROR(CheckProbability(entry + ".token_mask.probability", corruption.token_mask().probability()));
      return CheckFill(entry + ".token_mask.fill", corruption.token_mask().fill());
    case v1::Corruption::kTokenDeletion:
      RETURN_IF_ERROR(CheckTokens(entry + ".token_deletion", shape));
      RETURN_IF_ERROR(
          CheckProbability(entry + ".token_deletion.probability", corruption.token_deletion().probability()));
      return CheckFill(entry + ".token_deletion.fill", corruption.token_deletion().fill());
    case v1::Corruption::kSpanPermutation:
      RETURN_IF_ERROR(CheckTokens(entry + ".span_permutation", shape));
      return CheckCount(entry + ".span_permutation.spans", corruption.span_permutation().spans(), 2, shape.rows,
                        "the number of tokens");
    case v1::Corruption::kSpanMask:
      return CheckSpans(entry + ".span_mask", corruption.span_mask(), shape);
    case v1::Corruption::kInfilling:
      return CheckSpans(entry + ".infilling", corruption.infilling(), shape);
    case v1::Corruption::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(entry, ": expected one kind of corruption, such as gaussian or masking, got none"));
}

}  // namespace

absl::Status CheckCorruption(const google::protobuf::RepeatedPtrField<v1::Corruption>& corruption, VectorShape shape) {
  for (int i = 0; i < corruption.size(); ++i) {
    RETURN_IF_ERROR(Check(corruption.Get(i), shape, absl::StrCat("corruption[", i, "]")));
  }
  return absl::OkStatus();
}

absl::StatusOr<Corruptor> Corruptor::Create(const google::protobuf::RepeatedPtrField<v1::Corruption>& corruption,
                                            VectorShape shape, Random random) {
  RETURN_IF_ERROR(CheckCorruption(corruption, shape));
  return Corruptor({corruption.begin(), corruption.end()}, shape, random);
}

Corruptor::Corruptor(std::vector<v1::Corruption> corruption, VectorShape shape, Random random)
    : corruption_(std::move(corruption)), shape_(shape), random_(random), tokens_(shape) {}

void Corruptor::Apply(std::span<float> values, ThreadTeam* team) {
  team_ = values.size() < kLeastShared ? nullptr : team;
  for (const v1::Corruption& corruption : corruption_) ApplyOne(corruption, values);
}

template <typename Change>
void Corruptor::ForEachChunk(std::span<float> values, Change change) {
  const RandomArray draws(random_.NextUint64());
  RunOn(team_, RandomArray::Chunks(values.size()), [&](size_t chunk) {
    const size_t begin = chunk * RandomArray::kChunk;
    change(draws, chunk, begin, values.subspan(begin, std::min(RandomArray::kChunk, values.size() - begin)));
  });
}

template <typename Change>
void Corruptor::ForEach(std::span<float> values, Change change) {
  ForEachChunk(values, [&](const RandomArray& draws, size_t chunk, size_t, std::span<float> part) {
    std::array<float, RandomArray::kChunk> u;
    draws.FillUniform(chunk, std::span(u).first(part.size()));
    for (size_t i = 0; i < part.size(); ++i) part[i] = change(part[i], u[i]);
  });
}

template <typename Change>
void Corruptor::ForEachVector(std::span<float> values, Change change) {
  for (size_t begin = 0; begin < values.size(); begin += shape_.width()) {
    change(values.subspan(begin, shape_.width()));
  }
}

void Corruptor::ApplyOne(const v1::Corruption& corruption, std::span<float> values) {
  switch (corruption.kind_case()) {
    case v1::Corruption::kGaussian:
      if (corruption.gaussian().sigma() > 0) return Add(corruption.gaussian().sigma(), values);
      return AddOfRandomLevel(corruption.gaussian().max_sigma(), values);
    case v1::Corruption::kClippedGaussian: {
      const v1::ClippedGaussianNoise& noise = corruption.clipped_gaussian();
      Add(noise.sigma(), values);
      const float low = noise.low(), high = HighOf(noise);
      for (float& value : values) value = std::clamp(value, low, high);
      return;
    }
    case v1::Corruption::kMasking: {
      const float keep = corruption.masking().keep_probability(), fill = corruption.masking().fill();
      return ForEach(values, [=](float value, float u) { return u < keep ? value : fill; });
    }
    case v1::Corruption::kSaltAndPepper: {
      const v1::SaltAndPepper& noise = corruption.salt_and_pepper();
      const float p = noise.probability(), low = noise.low(), high = HighOf(noise);
      return ForEach(values, [=](float value, float u) { return u >= p ? value : 2 * u < p ? low : high; });
    }
    case v1::Corruption::kPatchRemoval:
      return Remove(corruption.patch_removal(), values);
    case v1::Corruption::kLocalShuffle:
      return Shuffle(corruption.local_shuffle(), values);
    case v1::Corruption::kBitFlip: {
      const float p = corruption.bit_flip().probability();
      return ForEach(values, [=](float value, float u) { return u < p ? 1 - value : value; });
    }
    case v1::Corruption::kFeatureSwap:
      return Swap(corruption.feature_swap().probability(), values);
    case v1::Corruption::kTokenMask:
      return ForEachVector(values, [&](auto v) { tokens_.Mask(corruption.token_mask(), random_, v); });
    case v1::Corruption::kTokenDeletion:
      return ForEachVector(values, [&](auto v) { tokens_.Delete(corruption.token_deletion(), random_, v); });
    case v1::Corruption::kSpanPermutation:
      return ForEachVector(values, [&](auto v) { tokens_.Permute(corruption.span_permutation(), random_, v); });
    case v1::Corruption::kSpanMask:
      return ForEachVector(values, [&](auto v) { tokens_.MaskSpans(corruption.span_mask(), random_, v); });
    case v1::Corruption::kInfilling:
      return ForEachVector(values, [&](auto v) { tokens_.Infill(corruption.infilling(), random_, v); });
    case v1::Corruption::KIND_NOT_SET:
      return;
  }
}

void Corruptor::Add(float sigma, std::span<float> values) {
  ForEachChunk(values, [&](const RandomArray& draws, size_t chunk, size_t, std::span<float> part) {
    draws.AddNormal(chunk, sigma, part);
  });
}

void Corruptor::AddOfRandomLevel(float max_sigma, std::span<float> values) {
  const size_t width = shape_.width();
  levels_.resize(values.size() / width);
  for (float& level : levels_) level = max_sigma * static_cast<float>(random_.Uniform());
  ForEachChunk(values, [&](const RandomArray& draws, size_t chunk, size_t begin, std::span<float> part) {
    std::array<float, RandomArray::kChunk> normals;
    draws.FillNormal(chunk, std::span(normals).first(part.size()));
    for (size_t i = 0; i < part.size();) {
      const size_t vector = (begin + i) / width, end = std::min(part.size(), (vector + 1) * width - begin);
      const float level = levels_[vector];
      for (; i < end; ++i) part[i] += level * normals[i];
    }
  });
}

void Corruptor::Remove(const v1::PatchRemoval& patch, std::span<float> values) {
  const size_t rows = patch.rows() == 0 ? shape_.rows : patch.rows();
  const size_t features = patch.features() == 0 ? shape_.features : patch.features();
  for (size_t begin = 0; begin < values.size(); begin += shape_.width()) {
    const size_t top = random_.UniformInt(shape_.rows - rows + 1);
    const size_t left = random_.UniformInt(shape_.features - features + 1);
    for (size_t row = top; row < top + rows; ++row) {
      std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(begin + row * shape_.features + left), features,
                  patch.fill());
    }
  }
}

void Corruptor::Shuffle(const v1::LocalShuffle& shuffle, std::span<float> values) {
  const size_t width = shape_.width(), features = shape_.features, run = shuffle.rows();
  before_.resize(run * features);
  for (size_t begin = 0; begin < values.size(); begin += width) {
    for (size_t row = 0; row < shape_.rows; row += run) {
      const size_t rows = std::min(run, shape_.rows - row);  // the last run may be shorter
      if (random_.Uniform() >= ProbabilityOf(shuffle)) continue;
      order_.resize(rows);
      std::iota(order_.begin(), order_.end(), 0u);
      random_.Shuffle(order_);
      const std::span<float> part = values.subspan(begin + row * features, rows * features);
      std::ranges::copy(part, before_.begin());
      for (size_t i = 0; i < rows; ++i) {
        std::copy_n(before_.begin() + static_cast<std::ptrdiff_t>(order_[i] * features), features,
                    part.begin() + static_cast<std::ptrdiff_t>(i * features));
      }
    }
  }
}

void Corruptor::Swap(float probability, std::span<float> values) {
  before_.assign(values.begin(), values.end());
  const size_t width = shape_.width(), vectors = values.size() / width;
  // Given u < p, u / p is uniform: one draw says whether and from where.
  const float scale = static_cast<float>(vectors) / probability;
  ForEachChunk(values, [&](const RandomArray& draws, size_t chunk, size_t begin, std::span<float> part) {
    std::array<float, RandomArray::kChunk> u;
    draws.FillUniform(chunk, std::span(u).first(part.size()));
    for (size_t i = 0; i < part.size(); ++i) {
      if (u[i] >= probability) continue;
      const size_t donor = std::min(static_cast<size_t>(u[i] * scale), vectors - 1);
      part[i] = before_[donor * width + (begin + i) % width];
    }
  });
}

}  // namespace astray
