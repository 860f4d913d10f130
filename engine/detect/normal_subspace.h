// How far a window lies from the subspace near which windows of normal rows lie. With a window's readings x_j in scaled
// units, O its observed positions, and the mean µ, principal components C [positions x components] and variances w_j
// that normal windows give (train/subspace_fit.h),
//   q = mean over j in O of (x_j - y_j)² / w_j,  y = µ + C Cᵀ (x - µ)
// (the Q statistic of Jackson & Mudholkar 1979, each position in units of its own). So it is 1 of a normal window on
// average, as a residual's error is. The network bends, and far from what it learned it bends as it happens to: one
// reading that drifts can spoil what it expects of all others. A plane goes on as it began. What the network follows
// and a plane cannot, it finds odd in turn. So each is believed as far as the other agrees.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "astray/v1/calibration.pb.h"

namespace astray {

inline constexpr size_t kMaxSubspaceComponents = 64;
inline constexpr size_t kMaxSubspaceValues = 1 << 18;  // of all components together: 1 MiB in an artifact

// InvalidArgument where it does not fit windows of `width` values (untrusted): "subspace: ...".
absl::Status CheckSubspaceScale(const astray::v1::SubspaceScale& scale, size_t width);

// Immutable and thread-safe.
class NormalSubspace {
 public:
  using Scratch = std::vector<double>;

  // `scale` passed CheckSubspaceScale.
  explicit NormalSubspace(const astray::v1::SubspaceScale& scale);

  // q of a window; a position that is not observed holds a value all the same. observed: null where all are. NaN with
  // nothing observed. Its bits depend on the window alone, not on the processor's vector code.
  double SquaredDistance(const float* window, const float* observed, Scratch* scratch) const;

 private:
  const size_t width_, components_;
  const size_t coordinate_columns_, window_columns_;  // both, up to the next multiple of kMatrixColumns
  std::vector<double> mean_, inverse_variance_;
  std::vector<double> by_position_;   // C: [width x coordinate_columns]
  std::vector<double> by_component_;  // Cᵀ: [components x window_columns]
};

}  // namespace astray
