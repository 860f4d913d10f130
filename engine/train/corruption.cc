#include "engine/train/corruption.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

absl::Status CheckSigma(const std::string& field, float sigma) {
  if (sigma > 0 && std::isfinite(sigma)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": expected a number above 0, got ", sigma));
}

absl::Status Check(const v1::Corruption& corruption, const std::string& entry) {
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
      const float low = noise.low(), high = noise.has_high() ? noise.high() : 1.0f;
      if (!(low < high)) {
        return absl::InvalidArgumentError(
            absl::StrCat(entry, ".clipped_gaussian.high: expected a number above low (", low, "), got ", high));
      }
      return CheckSigma(entry + ".clipped_gaussian.sigma", noise.sigma());
    }
    case v1::Corruption::kMasking: {
      const v1::Masking& masking = corruption.masking();
      if (!(masking.keep_probability() > 0 && masking.keep_probability() <= 1)) {
        return absl::InvalidArgumentError(
            absl::StrCat(entry, ".masking.keep_probability: expected (0, 1], got ", masking.keep_probability()));
      }
      if (!std::isfinite(masking.fill())) {
        return absl::InvalidArgumentError(
            absl::StrCat(entry, ".masking.fill: expected a finite number, got ", masking.fill()));
      }
      return absl::OkStatus();
    }
    case v1::Corruption::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(absl::StrCat(entry, ": expected gaussian, clipped_gaussian or masking, got none"));
}

}  // namespace

absl::Status CheckCorruption(const google::protobuf::RepeatedPtrField<v1::Corruption>& corruption) {
  for (int i = 0; i < corruption.size(); ++i) {
    RETURN_IF_ERROR(Check(corruption.Get(i), absl::StrCat("corruption[", i, "]")));
  }
  return absl::OkStatus();
}

absl::StatusOr<Corruptor> Corruptor::Create(const google::protobuf::RepeatedPtrField<v1::Corruption>& corruption,
                                            size_t width, Random random) {
  RETURN_IF_ERROR(CheckCorruption(corruption));
  return Corruptor({corruption.begin(), corruption.end()}, width, random);
}

Corruptor::Corruptor(std::vector<v1::Corruption> corruption, size_t width, Random random)
    : corruption_(std::move(corruption)), width_(width), random_(random) {}

void Corruptor::AddNoise(float sigma, std::span<float> values) {
  random_.FillNormal(draws_);
  for (size_t i = 0; i < values.size(); ++i) values[i] += sigma * draws_[i];
}

void Corruptor::Apply(std::span<float> values) {
  draws_.resize(values.size());
  for (const v1::Corruption& corruption : corruption_) {
    if (corruption.has_gaussian() && corruption.gaussian().sigma() > 0) {
      AddNoise(corruption.gaussian().sigma(), values);
    } else if (corruption.has_gaussian()) {
      random_.FillNormal(draws_);
      for (size_t begin = 0; begin < values.size(); begin += width_) {
        const float sigma = corruption.gaussian().max_sigma() * static_cast<float>(random_.Uniform());
        for (size_t i = begin; i < begin + width_; ++i) values[i] += sigma * draws_[i];
      }
    } else if (corruption.has_clipped_gaussian()) {
      const v1::ClippedGaussianNoise& noise = corruption.clipped_gaussian();
      AddNoise(noise.sigma(), values);
      const float low = noise.low(), high = noise.has_high() ? noise.high() : 1.0f;
      for (float& value : values) value = std::clamp(value, low, high);
    } else {
      random_.FillUniform(draws_);
      const float keep = corruption.masking().keep_probability(), fill = corruption.masking().fill();
      for (size_t i = 0; i < values.size(); ++i) values[i] = draws_[i] < keep ? values[i] : fill;
    }
  }
}

}  // namespace astray
