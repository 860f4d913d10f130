// How far a row lies from the nearest of some points amid normal rows (score_kind.h has the formula). Immutable and
// thread-safe.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "astray/v1/artifact.pb.h"
#include "engine/detect/residual_sums.h"

namespace astray {

// Numbers that the points of one artifact have together: its manifest is text.
inline constexpr size_t kMaxPrototypeValues = size_t{1} << 15;
inline constexpr size_t kMaxPrototypes = 1024;
// A metric of more features has no number for each pair of them.
inline constexpr size_t kMaxPairedFeatures = 128;

// InvalidArgument where the points do not fit so many features (untrusted).
absl::Status CheckPrototypes(const astray::v1::PrototypeScale& scale, size_t features);

class NearestPrototype {
 public:
  struct Scratch {
    std::vector<double> rows, measured, products;
  };

  // `scale` passed CheckPrototypes.
  NearestPrototype(const astray::v1::PrototypeScale& scale, size_t features);

  // distances [count], count at most kRowsTogether: of each row from `first` on the squared distance over the unit, not
  // below 0. A reading that is missing is taken to be what the network expects. The bits depend on the row alone.
  void SquaredDistances(const RebuiltVectors& vectors, size_t first, size_t count, Scratch* scratch,
                        double* distances) const;

 private:
  // measured = Lᵀ row, of `count` rows
  void Measure(size_t count, Scratch* scratch) const;

  size_t features_, stride_;  // stride_: features, up to the next multiple of kGroupColumns
  bool paired_;
  std::vector<double> metric_;  // L as MultiplyGroups takes it, or its diagonal [features]
  // As MultiplyGroups takes them; what is over in the last group is infinitely far. lengths: of each point |Lᵀ p|²
  std::vector<double> points_, lengths_;
  double inverse_unit_;
};

}  // namespace astray
