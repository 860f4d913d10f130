// How far a row lies from the nearest of some points amid normal rows (score_kind.h has the formula). Floats find the
// few points that may be the nearest, by what rounding can do to them at most; these alone are measured in double
// precision, so that the distance is the one that measuring all of them would give. Immutable and thread-safe.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "astray/v1/artifact.pb.h"
#include "engine/detect/residual_sums.h"
#include "engine/nn/dense_layer.h"

namespace astray {

// Numbers that the points of one artifact have together: its manifest is text.
inline constexpr size_t kMaxPrototypeValues = size_t{1} << 15;
inline constexpr size_t kMaxPrototypes = 1024;
// Points are compared so many at once.
inline constexpr size_t kScoresTogether = 16;
// A metric of more features has no number for each pair of them.
inline constexpr size_t kMaxPairedFeatures = 128;

// InvalidArgument where the points do not fit so many features (untrusted).
absl::Status CheckPrototypes(const astray::v1::PrototypeScale& scale, size_t features);

class NearestPrototype {
 public:
  struct Scratch {
    std::vector<double> rows, measured;
    std::vector<float> floats, scores;
  };

  // `scale` passed CheckPrototypes.
  NearestPrototype(const astray::v1::PrototypeScale& scale, size_t features);

  // distances [count], count at most kMostRows: of each row from `first` on the squared distance over the unit, not
  // below 0. A reading that is missing is taken to be what the network expects. The bits depend on the row alone.
  static constexpr size_t kMostRows = 24;
  static_assert(kMostRows % kRowsTogether == 0);
  void SquaredDistances(const RebuiltVectors& vectors, size_t first, size_t count, Scratch* scratch,
                        double* distances) const;

  // What the kernel of one kind of processor gets.
  struct Points {
    size_t features, stride, scores;  // stride, scores: features and points, up to the next multiple of
                                      // kTriangleColumns and of kScoresTogether
    std::vector<float> values;        // [points x stride], 0 behind the features
    std::vector<double> lengths;      // |q|² of each point q
    double longest = 0;               // the largest of these
    double inverse_unit = 0;
  };

 private:
  // measured [count x stride] = Lᵀ row, of at most kRowsTogether rows.
  void Measure(const RebuiltVectors& vectors, size_t first, size_t count, Scratch* scratch, double* measured) const;

  bool paired_;
  std::vector<double> metric_;  // L as MultiplyByTriangle takes it, or its diagonal [features]
  Points points_;
  DenseLayer scores_;
};

}  // namespace astray
