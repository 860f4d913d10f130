// How a residual becomes an error (recipe.proto, ScoreKind). With residuals r_j = output_j - input_j of a vector and O
// its observed positions, in the newest recent_rows rows of the window (all of them where that is 0), O_f those of
// feature f,
//   MEAN_SQUARED        error = mean over j in O of r_j²
//   FEATURE_NORMALISED  error = mean over j in O of r_j² / v_j
//   TRAINING_LOSS       error = mean over j in O of the loss of output and input at j (nn/loss.h)
//   WORST_FEATURE       error = max over features f of s_f(O_f)
//   WINDOW_NORMALISED   error = mean over features f of max(m_f² / l_f, s_f(O_f))
//   WINDOW_SCALES       error = mean over features f of max(m_f² / l_f, s_f(O_f), s_f(newest quarter), s_f(newest row))
//   MAHALANOBIS         error = zᵀ P z / |z|, z_f = m_f / √l_f
// where m_f = mean over j in O_f of r_j, s_f(A) = mean over j in A of r_j² / v_j, v_j is the mean of r_j² on held-out
// normal vectors, l_f the mean of m_f² there (of both, that on training vectors where it is more), and P the inverse of
// the z's shrunk correlation. A feature without an observed position is left out; of a Mahalanobis distance it takes
// the value that makes the distance smallest, which is the distance of the others alone.
//
// A network rebuilds well what moved along with what it learned: every reading of a window a little further up than any
// was before. With t_squared_rows > 0 what counts is therefore
//   max(error, c T²) where T² > L, else the error,  T² = zᵀ P z / |z|,  z_f = (x_f - µ_f) / σ_f
// where x_f is the mean of feature f's observed readings in the newest t_squared_rows rows, µ_f, σ_f and P are what the
// x_f of normal vectors give (Hotelling 1947), L is what T² exceeds for 0.5 % of them, and c L the error that 1 % of
// the held-out ones exceed. The residual and T² are the two sides of process monitoring (Jackson & Mudholkar 1979).
//
// Of a single row with prototypes, what counts is instead
//   √(error (d² / u + 1/10)),  d² = min over points p of (x - p)ᵀ L Lᵀ (x - p)
// where x is the row, what is missing of it as the network expects it, the p are centres of clusters of normal rows,
// and u is the mean of d² on held-out ones. The residual says how well a row keeps to what its features have to do with
// each other, d² how near it is to rows that there were. The tenth keeps the residual's say over a row just like
// another.
//
// ErrorFormula computes them.
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "astray/v1/artifact.pb.h"
#include "astray/v1/recipe.pb.h"

namespace astray {

// Rows of a window that WINDOW_SCALES calls its newest quarter.
constexpr size_t NewestQuarter(size_t rows) { return (rows + 3) / 4; }

// InvalidArgument where the kind is none, or one that such features cannot have: "score.kind: ...".
absl::Status CheckScoreKind(absl::string_view field, astray::v1::ScoreKind kind, size_t features);

// InvalidArgument where T² cannot be of so many rows: "score.t_squared_rows: ...".
absl::Status CheckTSquaredRows(absl::string_view field, size_t rows, size_t features, size_t window);

// InvalidArgument where the scale does not fit `width` outputs on `features` features (untrusted).
absl::Status CheckScoreScale(const astray::v1::ScoreScale& scale, size_t features, size_t width);

}  // namespace astray
