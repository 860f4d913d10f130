// Which of many rows are anomalous together: Benjamini & Hochberg (1995). With m p-values in order p_(1) <= p_(2) ...,
// those are selected that are at most p_(k), k the largest with p_(k) <= rate * k / m. If the normal rows' p-values are
// super-uniform and independent (or depend positively), at most a share `rate` of the selected is normal in the mean.
#pragma once

#include <vector>

namespace astray {

// p_(k), or -1 where nothing is selected. 0 < rate < 1; no p-value is NaN.
double FalseDiscoveryCutoff(std::vector<double> p_values, double rate);

}  // namespace astray
