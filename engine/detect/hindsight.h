// The error of a row in hindsight. A verdict as it comes sees a row in one window, as its newest; once the rows after
// it are known it lies in up to window() of them, and stands out against what is on both sides. Later, but sharper.
//
//   WINDOW_SCALES  error = mean over features f of √(s_f / u_f)
//   other kinds    error = mean of the errors of the windows whose middle is at most window() rows from the row
//
// s_f: the mean over the rows near it (a quarter of a window, the row in the middle; fewer at the ends) of c_f, and c_f
// of a row the mean over the windows that it lies in of r_j² / v_j, r_j being feature f's residual there
// (score_kind.h); u_f: the mean of c_f on held-out normal rows, or on training rows where that is more. So a feature
// counts by how many times its usual size a residual has, and none outweighs all others. Where T² is above its limit L,
// in the window whose newest t_squared_rows lie around the row, the error is at least b (1 + ln(T² / L) / features), b
// being what 1 % of the held-out rows exceed by residuals alone. Features that are missing from all of it are left out.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "astray/v1/calibration.pb.h"
#include "engine/detect/detector.h"

namespace astray {

// InvalidArgument where it does not fit such a model (untrusted): "hindsight: ...".
absl::Status CheckHindsightScale(const astray::v1::HindsightScale& scale, const astray::v1::ScoreScale& score,
                                 size_t features, size_t window);

// Of one stream of rows, what is known of each row by itself: c_f of each feature, or the error of the window in whose
// middle it lies.
class CoveredRows {
 public:
  struct Row {
    std::span<const double> means;  // [features] or one; NaN: nothing observed, or not the middle of any window
    double t_squared = 0;           // T² / L, where that is above 1
  };
  using Visit = std::function<void(const Row& row)>;

  explicit CoveredRows(const Detector& detector);

  size_t means() const { return means_; }
  // Windows and their errors, as Detector's JudgedVisitor gets them, each a row further than the one before. Visits the
  // rows that lie in no later window, in order; the visit's row is gone after it.
  void Add(const RebuiltVectors& windows, std::span<const float> errors, const Visit& visit);
  // The stream's last rows. Then another stream may begin.
  void Finish(const Visit& visit);

 private:
  void AddWindow(const RebuiltVectors& windows, size_t i, float error);
  void VisitRow(size_t row, const Visit& visit);
  size_t Slot(size_t row) const { return row % window_; }

  const std::shared_ptr<const ErrorFormula> formula_;
  const bool by_feature_;
  const size_t window_, features_, means_;
  const size_t rows_around_;  // from the middle of T²'s rows to their newest
  size_t windows_ = 0;
  // A ring of rows: [window x means] and [window].
  std::vector<double> sums_, counts_, t_squared_;
  std::vector<double> row_;    // scratch
  std::vector<float> ratios_;  // scratch
  ErrorFormula::Scratch scratch_;
};

// The errors of one stream of rows in hindsight. The model must have one.
class Hindsight {
 public:
  explicit Hindsight(const Detector& detector) : Hindsight(detector, detector.model().hindsight->scale) {}
  Hindsight(const Detector& detector, const astray::v1::HindsightScale& scale);

  // As CoveredRows'. Appends the errors of the rows that are known by now, in order, the stream's first row first; NaN
  // where nothing is observed.
  void Add(const RebuiltVectors& windows, std::span<const float> errors, std::vector<float>* settled);
  // Those of the stream's last rows; none of a stream without a window. Then another stream may begin.
  void Finish(std::vector<float>* settled);

 private:
  void AddRow(const CoveredRows::Row& row, std::vector<float>* settled);
  float ErrorOf(size_t row);

  CoveredRows covered_;
  const size_t behind_, ahead_;  // rows near a row, before and after it
  std::vector<double> inverse_variance_;
  double t_squared_error_;
  size_t rows_ = 0, settled_ = 0;
  std::vector<double> means_, t_squared_;  // a ring of behind + 1 + ahead rows
  std::vector<double> sum_, count_;        // scratch
};

// The errors of a stream whose rows are all there, [rows x features]; none of fewer rows than a window.
absl::StatusOr<std::vector<float>> HindsightErrors(const Detector& detector, const astray::v1::HindsightScale& scale,
                                                   std::span<const float> rows);

}  // namespace astray
