#include "engine/detect/anomaly_rate.h"

#include <algorithm>
#include <cmath>

namespace astray {
namespace {

constexpr std::array<double, 4> kRaised = {2, 4, 8, 16};
constexpr double kMostRate = 0.5;
constexpr double kMostCapital = 1e200;  // keeps the sum finite; long past every alarm

}  // namespace

AnomalyRate::AnomalyRate(double calibration_rows, double above_threshold)
    : total_(calibration_rows + 1), above_(above_threshold + 1) {}

void AnomalyRate::Count(size_t rows, size_t anomalous) {
  // A call's rows weigh alike: its order is not kept, and calls are short.
  const double kept = std::exp(-static_cast<double>(rows) / kRecentRows);
  const double added = rows > 0 ? kRecentRows * (1 - kept) / static_cast<double>(rows) : 0;
  weight_ = kept * weight_ + added * static_cast<double>(rows);
  anomalous_weight_ = kept * anomalous_weight_ + added * static_cast<double>(anomalous);
}

void AnomalyRate::Step(bool anomalous) {
  const double urn = std::min(above_ / total_, 1.0);
  change_ = 0;
  for (size_t i = 0; i < capital_.size(); ++i) {
    double& capital = capital_[i];
    capital += 1.0 / static_cast<double>(capital_.size());
    const double rate = std::max(urn, std::min(kRaised[i] * urn, kMostRate));
    if (urn < 1) capital *= anomalous ? rate / urn : (1 - rate) / (1 - urn);
    change_ += capital;
  }
  if (change_ > kMostCapital) {
    for (double& capital : capital_) capital *= kMostCapital / change_;
    change_ = kMostCapital;
  }
  total_ += 1;
  above_ += anomalous ? 1 : 0;
}

double AnomalyRate::recent() const { return weight_ > 0 ? anomalous_weight_ / weight_ : 0; }

}  // namespace astray
