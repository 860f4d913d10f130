// Which way to score suits the data: the one that best tells held-out normal vectors from the same with anomalies
// injected into them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/artifact.pb.h"
#include "astray/v1/recipe.pb.h"
#include "astray/v1/report.pb.h"
#include "engine/nn/network.h"
#include "engine/train/vector_set.h"

namespace astray {

struct ScoreChoice {
  astray::v1::ScoreScale scale;
  std::vector<astray::v1::ScoreCandidate> candidates;  // as tried; empty where the recipe gives the kind
};

// Fits the score that `recipe` (complete but for the score) asks for on held-out normal vectors. Where it names no
// kind, every kind that the data can have is fitted on one half of them and judged on the other half. A standard one
// stands (WINDOW_SCALES for windows, or WINDOW_NORMALISED below 500 of them; MEAN_SQUARED for rows) unless the best is
// better by two standard errors and 0.05. What is chosen is fitted on all, and filled in as the recipe's kind and
// recent_rows. Judged by the mean log-likelihood of what each vector is, normal or injected with an anomaly: some
// features, few more often than many, in the newest rows, few more often than many, move, take what they have in
// another vector, freeze, or get noise. The same seed gives the same choice. InvalidArgument for a kind or recent_rows
// that such vectors cannot have.
absl::StatusOr<ScoreChoice> ChooseScore(const Network& network, const VectorSet& training, const VectorSet& held_out,
                                        astray::v1::Recipe* recipe);

// ln P(what each vector is | its error), by the logistic regression on ln(error) that fits them best, both classes
// together having the same weight. errors: finite, not negative, of both classes.
std::vector<double> LogLikelihoods(std::span<const float> errors, std::span<const uint8_t> anomalous);
// The mean of the mean of each class.
double WeighedMean(std::span<const double> values, std::span<const uint8_t> anomalous);

}  // namespace astray
