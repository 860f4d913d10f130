// The error of a row in hindsight. A verdict as it comes sees a row in one window, as its newest; once the rows after
// it are known it lies in up to window() of them, and stands out against what is on both sides. Later, but sharper.
//
//   WINDOW_SCALES  error = mean over features f of √(max over k of s_f(k) / u_f)
//   other kinds    error = max over k of s(k)
//
// s(k): the mean over the k rows near it (the row in their middle; fewer at the ends) of c, for each k of
// HindsightScale.rows_near: a fault that lasts stands out over many rows, one that does not over few. c of a row is
// √(e q) of the window in whose middle it lies, e its error and q its distance from where normal windows lie
// (normal_subspace.h); e alone where the scale has no subspace. c_f the mean of r_j² / v_j over the windows that it
// lies in at first_place or newer, r_j being feature f's residual there (score_kind.h). A row that is older than that
// has its residual from what came after it, and what is odd there casts a shadow on it. Of a stream's first window all
// rows count. u_f: the mean of c_f on held-out normal rows, or on training rows where that is more. So a feature counts
// by how many times its usual size a residual has, and none outweighs all others. Features that are missing from the
// fewest rows near it are left out. T² counts in the windows' errors of other kinds alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "astray/v1/calibration.pb.h"
#include "engine/detect/detector.h"
#include "engine/detect/normal_subspace.h"

namespace astray {

// How many rows means are taken over, as training sets it: shares of a window, or multiples, ascending.
std::vector<uint32_t> RowsNear(astray::v1::ScoreKind kind, size_t window);

// InvalidArgument where it does not fit such a model (untrusted): "hindsight: ...".
absl::Status CheckHindsightScale(const astray::v1::HindsightScale& scale, const astray::v1::ScoreScale& score,
                                 size_t features, size_t window);

// Of one stream of rows, what is known of each row by itself: c_f of each feature, or the √(e q) of the window in
// whose middle it lies.
class CoveredRows {
 public:
  // [features] or one; NaN: nothing observed, or not the middle of any window
  using Visit = std::function<void(std::span<const double> means)>;

  // subspace: null where the windows' errors count alone.
  CoveredRows(const Detector& detector, size_t first_place, std::shared_ptr<const NormalSubspace> subspace = nullptr);

  size_t means() const { return means_; }
  // Windows and their errors, as Detector's JudgedVisitor gets them, each a row further than the one before. Visits the
  // rows that lie in no later window, in order; the visit's row is gone after it.
  void Add(const RebuiltVectors& windows, std::span<const float> errors, const Visit& visit);
  // The stream's last rows. Then another stream may begin.
  void Finish(const Visit& visit);

 private:
  void AddWindow(const RebuiltVectors& windows, size_t i, float error, NormalSubspace::Scratch* scratch);
  // c of its middle.
  double ErrorOfWindow(const RebuiltVectors& windows, size_t i, float error, NormalSubspace::Scratch* scratch) const;
  void VisitRow(size_t row, const Visit& visit);
  size_t Slot(size_t row) const { return row % window_; }

  const std::shared_ptr<const ErrorFormula> formula_;
  const std::shared_ptr<const NormalSubspace> subspace_;
  const bool by_feature_;
  const size_t window_, features_, means_, first_place_;
  size_t windows_ = 0;
  std::vector<double> sums_, counts_;  // a ring of rows: [window x means]
  std::vector<double> row_;            // scratch
};

// The errors of one stream of rows in hindsight. The model must have one.
class Hindsight {
 public:
  explicit Hindsight(const Detector& detector)
      : Hindsight(detector, detector.model().hindsight->scale, detector.subspace()) {}
  Hindsight(const Detector& detector, const astray::v1::HindsightScale& scale);

  size_t rows_later() const { return window_ - 1 + ahead_; }  // until a row's error is known
  // As CoveredRows'. Appends the errors of the rows that are known by now, in order, the stream's first row first; NaN
  // where nothing is observed.
  void Add(const RebuiltVectors& windows, std::span<const float> errors, std::vector<float>* settled);
  // Those of the stream's last rows; none of a stream without a window. Then another stream may begin.
  void Finish(std::vector<float>* settled);

 private:
  Hindsight(const Detector& detector, const astray::v1::HindsightScale& scale,
            std::shared_ptr<const NormalSubspace> subspace);
  void AddRow(std::span<const double> means, std::vector<float>* settled);
  std::span<double> MeansOf(size_t row) {
    return std::span(means_).subspan(row % (behind_ + 1 + ahead_) * covered_.means(), covered_.means());
  }
  void AddMeans(size_t begin, size_t end);  // of rows, to sum_ and count_
  float ErrorOf(size_t row);

  CoveredRows covered_;
  const std::vector<uint32_t> rows_near_;
  const size_t window_;
  const size_t behind_, ahead_;  // of the longest, before and after the row
  std::vector<double> inverse_variance_;
  size_t rows_ = 0, settled_ = 0;
  std::vector<double> means_;                  // a ring of behind + 1 + ahead rows
  std::vector<double> sum_, count_, largest_;  // scratch
};

// The errors of a stream whose rows are all there, [rows x features]; none of fewer rows than a window.
absl::StatusOr<std::vector<float>> HindsightErrors(const Detector& detector, const astray::v1::HindsightScale& scale,
                                                   std::span<const float> rows);

}  // namespace astray
