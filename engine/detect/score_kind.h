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
// normal vectors, l_f the mean of m_f² there, and P the inverse of the z's shrunk correlation. A feature without an
// observed position is left out; of a Mahalanobis distance it takes the value that makes the distance smallest, which
// is the distance of the others alone. ErrorFormula computes them.
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "astray/v1/artifact.pb.h"
#include "astray/v1/recipe.pb.h"

namespace astray {

// P has a number for each pair of features.
inline constexpr size_t kMaxMahalanobisFeatures = 128;

// Rows of a window that WINDOW_SCALES calls its newest quarter.
constexpr size_t NewestQuarter(size_t rows) { return (rows + 3) / 4; }

// InvalidArgument where the kind is none, or one that such features cannot have: "score.kind: ...".
absl::Status CheckScoreKind(absl::string_view field, astray::v1::ScoreKind kind, size_t features);

// InvalidArgument where the scale does not fit `width` outputs on `features` features (untrusted).
absl::Status CheckScoreScale(const astray::v1::ScoreScale& scale, size_t features, size_t width);

}  // namespace astray
