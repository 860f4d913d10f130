// Whether the rows of a data set follow each other in time, so that a window over them means something.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "astray/v1/recipe.pb.h"
#include "engine/data/dataset.h"

namespace astray {

// A feature whose lag-1 autocorrelation is at least this barely changes from row to row: measured on public data,
// logged sensors reach 0.98 and more, shuffled tables stay under 0.94.
inline constexpr double kTimeOrderedAutocorrelation = 0.95;
// A single column is hardly ever a table: it is a series where its values follow from each other at all.
inline constexpr double kSeriesAutocorrelation = 0.5;

// Rows with which another run begins, ascending: those of another entity than the row before; and, where
// max_gap_seconds > 0, those that are so much later than it, or earlier. Timestamps that cannot be read begin none.
std::vector<uint32_t> RunBegins(const Dataset& dataset, double max_gap_seconds);

// Of each feature, r1 = sum (x[i] - m)(x[i+1] - m) / sum (x[i] - m)^2, over pairs where both are there (Box & Jenkins
// 1970, ch. 2); 0 for a constant column. Goes through the rows twice, whatever the number of features.
std::vector<double> Autocorrelations(const Dataset& dataset);

// What is asked about a data set's order, by whoever asks. Autocorrelations are worked out for the first one that needs
// them and then kept. The data set must outlive it and stay as it is. Not thread-safe.
class TimeOrder {
 public:
  explicit TimeOrder(const Dataset& dataset) : dataset_(dataset) {}

  // True where the data has times, a feature reaches kTimeOrderedAutocorrelation, or the only one
  // kSeriesAutocorrelation.
  bool IsTimeOrdered();
  // The same for what a recipe makes rows of: there is no time among sequences, and sessions of a log overlap.
  bool IsTimeOrdered(const astray::v1::FeaturesRecipe& features);

  const std::vector<double>& autocorrelations();  // one a feature

 private:
  const Dataset& dataset_;
  std::optional<std::vector<double>> autocorrelations_;
};

}  // namespace astray
