#include "engine/nn/regularizer.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/nn/activation.h"

namespace astray {
namespace {

// Keeps KL finite where a unit is off, or on, for every row.
constexpr double kLeastMean = 1e-6;

absl::Status CheckWeight(const std::string& kind, float weight) {
  if (weight > 0 && std::isfinite(weight)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(kind, ".weight: expected a number above 0, got ", weight));
}

absl::Status CheckKl(const v1::KlSparsity& sparsity, const std::string& kind, v1::Activation code) {
  RETURN_IF_ERROR(CheckWeight(kind, sparsity.weight()));
  if (!(sparsity.target() > 0 && sparsity.target() < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat(kind, ".target: expected a number in (0, 1), got ", sparsity.target()));
  }
  if (code == v1::SIGMOID) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(kind, ": needs a code of SIGMOID units, whose mean is a share, got ", v1::Activation_Name(code)));
}

absl::Status CheckContractive(const v1::ContractiveRegularizer& contractive, const std::string& kind,
                              const Network& network) {
  RETURN_IF_ERROR(CheckWeight(kind, contractive.weight()));
  const uint32_t code = network.spec().code_layer();
  if (code == 0 && network.spec().layers(0).has_dense()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(kind, ": needs an encoder of one dense layer, whose Jacobian is exact, got the code in layer '",
                   network.spec().layers(static_cast<int>(code)).name(), "', number ", code + 1));
}

absl::Status Check(const v1::Regularizer& regularizer, const std::string& entry, const Network& network) {
  switch (regularizer.kind_case()) {
    case v1::Regularizer::kL1Sparsity:
      return CheckWeight(entry + ".l1_sparsity", regularizer.l1_sparsity().weight());
    case v1::Regularizer::kKlSparsity:
      return CheckKl(regularizer.kl_sparsity(), entry + ".kl_sparsity",
                     network.shape(network.spec().code_layer()).activation);
    case v1::Regularizer::kContractive:
      return CheckContractive(regularizer.contractive(), entry + ".contractive", network);
    case v1::Regularizer::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(entry, ": expected l1_sparsity, kl_sparsity or contractive, got none"));
}

double AddL1(double weight, std::span<const float> code, std::span<float> delta) {
  double sum = 0;
  for (size_t i = 0; i < code.size(); ++i) {
    sum += weight * std::abs(code[i]);
    delta[i] += static_cast<float>(code[i] > 0 ? weight : code[i] < 0 ? -weight : 0);
  }
  return sum;
}

double AddKl(const v1::KlSparsity& sparsity, size_t rows, std::span<const float> code, std::span<float> delta) {
  const size_t units = code.size() / rows;
  const double weight = sparsity.weight(), target = sparsity.target(), count = static_cast<double>(rows);
  double sum = 0;
  for (size_t j = 0; j < units; ++j) {
    double mean = 0;
    for (size_t i = j; i < code.size(); i += units) mean += code[i] / count;
    mean = std::clamp(mean, kLeastMean, 1 - kLeastMean);
    sum += weight * (target * std::log(target / mean) + (1 - target) * std::log((1 - target) / (1 - mean)));
    const double slope = weight / count * ((1 - target) / (1 - mean) - target / mean);
    for (size_t i = j; i < code.size(); i += units) delta[i] += static_cast<float>(slope);
  }
  return sum;
}

}  // namespace

absl::Status CheckRegularizers(const google::protobuf::RepeatedPtrField<v1::Regularizer>& regularizers,
                               const Network& network) {
  for (int i = 0; i < regularizers.size(); ++i) {
    RETURN_IF_ERROR(Check(regularizers.Get(i), absl::StrCat("regularizer[", i, "]"), network));
  }
  return absl::OkStatus();
}

double AddSparsity(std::span<const v1::Regularizer> regularizers, size_t rows, std::span<const float> code,
                   std::span<float> delta) {
  double sum = 0;
  for (const v1::Regularizer& regularizer : regularizers) {
    if (regularizer.has_l1_sparsity()) {
      sum += AddL1(regularizer.l1_sparsity().weight() / static_cast<double>(rows), code, delta);
    }
    if (regularizer.has_kl_sparsity()) sum += AddKl(regularizer.kl_sparsity(), rows, code, delta);
  }
  return sum;
}

ContractivePenalty::ContractivePenalty(std::span<const v1::Regularizer> regularizers, const Network& network) {
  for (const v1::Regularizer& regularizer : regularizers) weight_ += regularizer.contractive().weight();
  if (weight_ == 0) return;
  row_norms_.resize(network.code_size());
  row_factors_.resize(network.code_size());
}

double ContractivePenalty::AddToDelta(const Network& network, size_t rows, std::span<const float> code,
                                      std::span<float> delta) {
  if (weight_ == 0) return 0;
  const size_t inputs = network.input_size(), units = row_norms_.size();
  const float* weights = network.parameters().data() + network.offsets(0).weights;
  const v1::Activation activation = network.shape(0).activation;
  for (size_t j = 0; j < units; ++j) {
    row_norms_[j] = 0;
    for (size_t i = 0; i < inputs; ++i) row_norms_[j] += double{weights[j * inputs + i]} * weights[j * inputs + i];
  }
  std::ranges::fill(row_factors_, 0.0);
  const double scale = weight_ / static_cast<double>(rows);
  double sum = 0;
  for (size_t i = 0; i < code.size(); ++i) {
    const Derivatives f = DerivativesAt(activation, code[i]);
    const double factor = scale * f.first * f.first;
    sum += factor * row_norms_[i % units];
    row_factors_[i % units] += factor;
    delta[i] += static_cast<float>(2 * scale * f.first * f.second * row_norms_[i % units]);
  }
  return sum;
}

void ContractivePenalty::AddToGradient(const Network& network, std::span<float> gradient) const {
  if (weight_ == 0) return;
  const size_t inputs = network.input_size(), begin = network.offsets(0).weights;
  for (size_t j = 0; j < row_factors_.size(); ++j) {
    const float factor = static_cast<float>(2 * row_factors_[j]);
    for (size_t k = begin + j * inputs; k < begin + (j + 1) * inputs; ++k) {
      gradient[k] += factor * network.parameters()[k];
    }
  }
}

}  // namespace astray
