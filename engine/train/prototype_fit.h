// Points amid the training rows for a score to measure distances from (detect/nearest_prototype.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "astray/v1/artifact.pb.h"
#include "engine/detect/score_scale.h"
#include "engine/nn/network.h"

namespace astray {

// Adds centres of clusters to the fitted scale of single rows: at most `most`, a fourth of the training rows and what
// kMaxPrototypeValues allows. A distance is measured as the network's first layer sees it where that is dense: a
// feature counts as it weighs there, and two that stand for the same thing count once. The centres are k-means' (Lloyd
// 1982), begun far from each other (k-means++, Arthur & Vassilvitskii 2007), few enough that each stands for several
// rows on average. They stay out where there is nothing to compare: no four training rows, or held-out rows that are
// all at a centre. The same seed gives the same ones.
void AddPrototypes(const Network& network, size_t most, const Rebuilt& training, const Rebuilt& held_out, uint64_t seed,
                   astray::v1::ScoreScale* scale);

}  // namespace astray
