#include "engine/train/quality_report.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/base/random.h"
#include "engine/base/status_macros.h"
#include "engine/nn/executor.h"
#include "engine/train/corruption.h"
#include "engine/train/network_recipe.h"
#include "engine/train/pca.h"
#include "engine/train/random_streams.h"

namespace astray {
namespace {

double MeanSquare(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return sum / static_cast<double>(a.size());
}

struct Vectors {
  std::vector<float> clean, corrupted;
};

absl::StatusOr<Vectors> Corrupted(const v1::Recipe& recipe, const VectorSet& set) {
  Vectors vectors;
  vectors.clean = vectors.corrupted = set.GatherValues();
  ASSIGN_OR_RETURN(Corruptor corruptor, Corruptor::Create(recipe.corruption(), TokensOf(recipe, set),
                                                          Random(recipe.seed(), kHeldOutCorruptionStream)));
  corruptor.Apply(vectors.corrupted);
  return vectors;
}

struct Reconstructions {
  std::vector<float> of_clean, of_corrupted;
};

absl::StatusOr<Reconstructions> Reconstruct(const Network& network, const Vectors& vectors) {
  ASSIGN_OR_RETURN(const auto executor, Executor::Create(network));
  const size_t count = vectors.clean.size() / network.input_size();
  Reconstructions out;
  out.of_clean.resize(vectors.clean.size());
  out.of_corrupted.resize(vectors.clean.size());
  RETURN_IF_ERROR(executor->Reconstruct(count, vectors.clean, out.of_clean));
  RETURN_IF_ERROR(executor->Reconstruct(count, vectors.corrupted, out.of_corrupted));
  return out;
}

// Share of the corruption that comes through: <f(x̃) - f(x), x̃ - x> / |x̃ - x|². A copy passes 1, a projection onto k of
// d dimensions k / d.
double NoiseGain(const Vectors& vectors, const Reconstructions& reconstructions) {
  double passed = 0, noise = 0;
  for (size_t i = 0; i < vectors.clean.size(); ++i) {
    const double n = double{vectors.corrupted[i]} - vectors.clean[i];
    passed += n * (double{reconstructions.of_corrupted[i]} - reconstructions.of_clean[i]);
    noise += n * n;
  }
  return noise > 0 ? passed / noise : 0;
}

// Mean square of the distance from the mean vector.
double Variance(std::span<const float> values, size_t width) {
  std::vector<double> sums(width), squares(width);
  for (size_t i = 0; i < values.size(); ++i) {
    sums[i % width] += values[i];
    squares[i % width] += double{values[i]} * values[i];
  }
  const double count = static_cast<double>(values.size()) / static_cast<double>(width);
  double variance = 0;
  for (size_t j = 0; j < width; ++j) variance += squares[j] / count - (sums[j] / count) * (sums[j] / count);
  return std::max(0.0, variance / static_cast<double>(width));
}

// Share of the values that an output of this activation cannot come near.
double OutOfRange(v1::Activation activation, std::span<const float> values) {
  constexpr float kNear = 0.01f;  // of a range of 1
  const bool bounded = activation == v1::SIGMOID, counts = activation == v1::ZERO_INFLATED_COUNTS;
  if (!bounded && !counts) return 0;
  const auto out = [&](float value) { return value < -kNear || (bounded && value > 1 + kNear); };
  return static_cast<double>(std::ranges::count_if(values, out)) / static_cast<double>(values.size());
}

bool HidesValues(const v1::Recipe& recipe) {
  return std::ranges::any_of(recipe.corruption(), [](const v1::Corruption& corruption) {
    switch (corruption.kind_case()) {
      case v1::Corruption::kMasking:
      case v1::Corruption::kPatchRemoval:
      case v1::Corruption::kTokenMask:
      case v1::Corruption::kSpanMask:
      case v1::Corruption::kTokenDeletion:
      case v1::Corruption::kInfilling:
        return true;
      default:
        return false;
    }
  });
}

void Warn(v1::Warning::Kind kind, std::string text, v1::TrainingReport* report) {
  v1::Warning* warning = report->add_warnings();
  warning->set_kind(kind);
  warning->set_text(std::move(text));
}

}  // namespace

absl::StatusOr<v1::Comparison> CompareReconstructions(const v1::Recipe& recipe, const Network& trained,
                                                      const Network& untrained, const VectorSet& training,
                                                      const VectorSet& validation, const VectorSet& held_out) {
  ASSIGN_OR_RETURN(const Vectors vectors, Corrupted(recipe, held_out));
  ASSIGN_OR_RETURN(const Reconstructions after, Reconstruct(trained, vectors));
  ASSIGN_OR_RETURN(const Reconstructions before, Reconstruct(untrained, vectors));
  v1::Comparison comparison;
  comparison.set_clean(MeanSquare(after.of_clean, vectors.clean));
  comparison.set_denoising(MeanSquare(after.of_corrupted, vectors.clean));
  comparison.set_corruption(MeanSquare(vectors.corrupted, vectors.clean));
  comparison.set_copying(MeanSquare(after.of_corrupted, vectors.corrupted));
  comparison.set_noise_gain(NoiseGain(vectors, after));
  comparison.set_untrained_clean(MeanSquare(before.of_clean, vectors.clean));
  comparison.set_untrained_denoising(MeanSquare(before.of_corrupted, vectors.clean));
  comparison.set_variance(Variance(vectors.clean, held_out.width()));
  if (comparison.variance() > 0) {
    comparison.set_spread(Variance(after.of_corrupted, held_out.width()) / comparison.variance());
  }
  comparison.set_code_units(static_cast<uint32_t>(trained.code_size()));
  comparison.set_out_of_range(OutOfRange(trained.shape(trained.layers() - 1).activation, vectors.clean));
  if (training.width() > Pca::kMaxWidth) return comparison;

  const Pca pca(training.GatherValues(), training.width());
  ASSIGN_OR_RETURN(const Vectors choosing, Corrupted(recipe, validation));
  const size_t components = pca.Best(choosing.clean, choosing.corrupted, trained.code_size()).components;
  const Pca::Errors errors = pca.For(vectors.clean, vectors.corrupted, components);
  comparison.set_pca_components(static_cast<uint32_t>(components));
  comparison.set_pca_denoising(errors.denoising);
  comparison.set_pca_clean(errors.clean);
  const size_t units = std::min(trained.code_size(), training.width());
  if (comparison.variance() > 0) {
    comparison.set_pca_lost(pca.For(vectors.clean, vectors.clean, units).clean / comparison.variance());
  }
  comparison.set_pca_components_for_90(static_cast<uint32_t>(pca.ComponentsThatLeave(0.1, vectors.clean)));
  return comparison;
}

namespace {

// What the literature says goes wrong with denoising autoencoders.
void AddFailureModes(const v1::Recipe& recipe, v1::TrainingReport* report) {
  // Far from what a healthy run shows: a gain under 0.7, a spread above 0.5, hardly a value out of range.
  constexpr double kCopyingGain = 0.9, kAveragingSpread = 0.3, kLostByTheCode = 0.3, kOutOfRange = 0.01;
  constexpr double kStrongCorruption = 0.5;  // of the variance
  const v1::Comparison& c = report->comparison();
  if (c.noise_gain() > kCopyingGain) {
    Warn(
        v1::Warning::COPIES_INPUT,
        absl::StrFormat("the network copies its input: %.0f %% of the corruption comes back; use a stronger corruption "
                        "or a smaller code",
                        100 * c.noise_gain()),
        report);
  }
  // Both let little through; where PCA with as many units loses as much, it is the code.
  const bool lossy = c.variance() > 0 && c.clean() > kLostByTheCode * c.variance();
  const bool narrow = lossy && c.pca_lost() > kLostByTheCode && c.code_units() < c.pca_components_for_90();
  if (narrow) {
    Warn(
        v1::Warning::BOTTLENECK_TOO_SMALL,
        absl::StrFormat("the code of %d units is too small: %.0f %% of what clean rows differ in is lost; PCA takes %d "
                        "components to keep 90 %%",
                        c.code_units(), 100 * c.clean() / c.variance(), c.pca_components_for_90()),
        report);
  } else if (c.spread() < kAveragingSpread && c.corruption() > kStrongCorruption * c.variance()) {
    Warn(
        v1::Warning::OVER_STRONG_CORRUPTION,
        absl::StrFormat("the corruption leaves too little to rebuild from: reconstructions of corrupted rows vary only "
                        "%.0f %% as much as rows do, near one average for all; use a weaker corruption",
                        100 * c.spread()),
        report);
  }
  if (lossy && !narrow && c.clean() > c.denoising()) {
    Warn(v1::Warning::CORRUPTION_MISMATCH,
         absl::StrFormat("clean rows are rebuilt worse (%.4g) than corrupted ones (%.4g): training saw only damaged "
                         "ones; draw the level for each row (gaussian max_sigma) or use a weaker corruption",
                         c.clean(), c.denoising()),
         report);
  }
  if (c.out_of_range() > kOutOfRange) {
    Warn(v1::Warning::OUTPUT_RANGE,
         absl::StrFormat("%.1f %% of the held-out values lie where %s outputs cannot reach: they will look anomalous; "
                         "use LINEAR outputs and STANDARD scaling",
                         100 * c.out_of_range(), v1::Activation_Name(recipe.network().output_activation())),
         report);
  }
}

}  // namespace

void AddWarnings(const v1::Recipe& recipe, const Pipeline& pipeline, v1::TrainingReport* report) {
  constexpr double kDivergedLoss = 1.2, kMissingShare = 0.01;
  AddFailureModes(recipe, report);
  const v1::Comparison& comparison = report->comparison();
  if (!report->losses().empty()) {
    const auto best = std::min_element(report->losses().begin(), report->losses().end(),
                                       [](const auto& a, const auto& b) { return a.validation() < b.validation(); });
    const v1::LossPoint& last = *report->losses().rbegin();
    if (last.validation() > kDivergedLoss * best->validation() && last.training() < best->training()) {
      Warn(v1::Warning::VALIDATION_DIVERGES,
           absl::StrFormat(
               "validation loss rose from %.4g at step %d to %.4g at step %d while training loss fell; the best "
               "weights were kept. More data, a smaller network or a stronger corruption helps",
               best->validation(), best->step(), last.validation(), last.step()),
           report);
    }
  }
  if (comparison.pca_components() > 0 && comparison.pca_denoising() <= comparison.denoising()) {
    Warn(v1::Warning::PCA_AS_GOOD,
         absl::StrFormat("PCA with %d components denoises the held-out data as well (%.4g against %.4g): the data is "
                         "close to linear, or training was too short",
                         comparison.pca_components(), comparison.pca_denoising(), comparison.denoising()),
         report);
  }
  const auto& profiles = pipeline.scaler().state().profile();
  uint64_t missing = 0, values = 0;
  for (const v1::ColumnProfile& profile : profiles) {
    missing += profile.missing();
    values += profile.missing() + profile.observed();
  }
  const double missing_share = values > 0 ? static_cast<double>(missing) / static_cast<double>(values) : 0;
  if (missing_share > kMissingShare && !HidesValues(recipe)) {
    Warn(v1::Warning::CORRUPTION_MISMATCH,
         absl::StrFormat(
             "%.1f %% of the values are missing, but no corruption hides values: the network has not learned "
             "to do without them; add masking",
             100 * missing_share),
         report);
  }
  for (int i = 0; i < profiles.size(); ++i) {
    const std::string& name = pipeline.feature_names()[static_cast<size_t>(i)];
    // A count that was always the same, of unseen lines among them, is what a log's model watches.
    if (profiles.Get(i).constant() && pipeline.log() == nullptr) {
      Warn(v1::Warning::CONSTANT_FEATURE,
           absl::StrFormat("column '%s' is constant (%g) in training: any other value will look anomalous", name,
                           profiles.Get(i).mean()),
           report);
    }
    if (profiles.Get(i).missing() > 0) {
      Warn(v1::Warning::MISSING_VALUES,
           absl::StrFormat("column '%s': %d of %d values are missing", name, profiles.Get(i).missing(),
                           profiles.Get(i).missing() + profiles.Get(i).observed()),
           report);
    }
  }
}

}  // namespace astray
