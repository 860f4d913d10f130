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
  if (training.width() > Pca::kMaxWidth) return comparison;

  const Pca pca(training.GatherValues(), training.width());
  ASSIGN_OR_RETURN(const Vectors choosing, Corrupted(recipe, validation));
  const size_t components = pca.Best(choosing.clean, choosing.corrupted, trained.code_size()).components;
  const Pca::Errors errors = pca.For(vectors.clean, vectors.corrupted, components);
  comparison.set_pca_components(static_cast<uint32_t>(components));
  comparison.set_pca_denoising(errors.denoising);
  comparison.set_pca_clean(errors.clean);
  return comparison;
}

void AddWarnings(const Pipeline& pipeline, v1::TrainingReport* report) {
  // Above these, a reader should look; each is far from what a healthy run shows (under 0.7, 1.05 and 1).
  constexpr double kCopyingGain = 0.9, kDivergedLoss = 1.2;
  const v1::Comparison& comparison = report->comparison();
  if (comparison.noise_gain() > kCopyingGain) {
    Warn(
        v1::Warning::COPIES_INPUT,
        absl::StrFormat("the network copies its input: %.0f %% of the corruption comes back; use a stronger corruption "
                        "or a smaller code",
                        100 * comparison.noise_gain()),
        report);
  }
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
  for (int i = 0; i < profiles.size(); ++i) {
    const std::string& name = pipeline.feature_names()[static_cast<size_t>(i)];
    if (profiles.Get(i).constant()) {
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
