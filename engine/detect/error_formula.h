// A fitted way to score (score_kind.h has the formulas), made ready to be applied to many vectors: what divides a
// residual is inverted once. Immutable and thread-safe; scratch is the caller's, so that nothing is allocated from call
// to call.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "astray/v1/artifact.pb.h"
#include "engine/detect/mahalanobis.h"
#include "engine/detect/nearest_prototype.h"
#include "engine/detect/residual_sums.h"

namespace astray {

class ErrorFormula {
 public:
  struct Scratch {
    std::vector<double> sums;
    std::vector<double> residual, square, count, term, t_squared_term;  // [features]
    NearestPrototype::Scratch nearest;
  };

  struct Explanation {
    float error = 0;
    bool by_t_squared = false;  // it is T²'s and not the residual's
  };

  // `scale` passed CheckScoreScale.
  explicit ErrorFormula(const astray::v1::ScoreScale& scale);

  // errors [vectors.count]: of each vector its error, NaN with nothing observed, and held below float's largest number.
  // Its bits depend on the vector alone, not on those beside it, nor on the processor's vector code.
  void Errors(const RebuiltVectors& vectors, Scratch* scratch, std::span<float> errors) const;

  // The error of one vector, as Errors gives it. Adds to feature_error [features] what each feature contributes,
  // vector position j belonging to feature j % features: the parts add up to the error. Of a Mahalanobis distance and
  // of T² a feature's part is z_f (P z)_f, as far as it is above 0; of the worst feature's error, each has what it has
  // in their mean. With prototypes, each has the share that it has of the residual's error.
  Explanation Explain(const RebuiltVectors& vector, Scratch* scratch, std::span<float> feature_error) const;

  // 1 / v_j of each position, empty for a kind without.
  std::span<const double> inverse_variance() const { return inverse_variance_; }

  // What T² expects of a feature, in scaled units; there must be one.
  float t_squared_mean(size_t feature) const { return static_cast<float>(t_squared_->mean[feature]); }

 private:
  struct TSquared {
    size_t rows;
    std::vector<double> mean, inverse_deviation;  // [features] each
    MahalanobisDistance distance;
    double limit, factor;
  };

  // Makes the errors of vectors of those of their residuals, NaN where that is.
  void AddDistances(const RebuiltVectors& vectors, Scratch* scratch, std::span<float> errors) const;
  void ResidualErrors(const RebuiltVectors& vectors, Scratch* scratch, std::span<float> errors) const;
  // NaN with nothing observed. Leaves each feature's part.
  float TSquaredError(const RebuiltVectors& vectors, size_t i, Scratch* scratch) const;  // 0 within the limit
  float ErrorOf(const RebuiltVectors& vectors, size_t i, Scratch* scratch) const;
  double CountObserved(const RebuiltVectors& vectors, size_t i) const;
  // Adds up the `rows` newest rows but `skip` of vector i in the scratch's sums of features.
  void AddRows(const RebuiltVectors& vectors, size_t i, size_t skip, size_t rows, Scratch* scratch) const;
  double LossAtPosition(const RebuiltVectors& vectors, size_t i, size_t j) const;

  float ErrorByLoss(const RebuiltVectors& vectors, size_t i) const;
  float ErrorByFeature(const RebuiltVectors& vectors, size_t i, Scratch* scratch) const;  // leaves each one's term
  float Mahalanobis(const RebuiltVectors& vectors, size_t i, Scratch* scratch) const;     // leaves each one's part

  astray::v1::ScoreKind kind_;
  astray::v1::Loss loss_;
  size_t features_;                              // 0 where the kind does not go by them
  size_t recent_rows_;                           // 0: all
  std::vector<double> inverse_variance_;         // [width], or empty
  std::vector<double> inverse_level_variance_;   // [features], or empty; of a Mahalanobis distance its root
  std::optional<MahalanobisDistance> distance_;  // of MAHALANOBIS
  std::optional<TSquared> t_squared_;
  std::optional<NearestPrototype> prototypes_;
};

}  // namespace astray
