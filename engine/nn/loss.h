// How far an output is from its target (recipe.proto, Loss): in training, with its slope, and as a score.
//
// With the output y and the target x, both in scaled units,
//   MEAN_SQUARED_ERROR    (y - x)²
//   BINARY_CROSS_ENTROPY  -(x ln y + (1 - x) ln(1 - y))
//   HUBER                 r²/2 for |r| <= 1, |r| - 1/2 beyond, r = y - x (Huber 1964)
//   ZERO_INFLATED_NEGATIVE_BINOMIAL  -ln(p [k = 0] + (1 - p) NB(k; m, d)) for the count k = e^x - 1, with mean m,
//     dispersion d, share p of extra zeros: NB(k) = G(k+d) / (G(d) k!) (d/(d+m))^d (m/(d+m))^k (Eraslan et al. 2019)
#pragma once

#include <cstddef>
#include <span>

#include "astray/v1/network.pb.h"
#include "astray/v1/recipe.pb.h"

namespace astray {

// The activation that the loss of training is computed before: SIGMOID for BINARY_CROSS_ENTROPY, so that saturation
// costs no accuracy, ZERO_INFLATED_COUNTS for counts; ACTIVATION_UNSPECIFIED for the others, which take any.
v1::Activation ActivationOf(v1::Loss loss);

// Sum of the losses of one row over its observed entries. `z`: the last layer's output, before activation where
// ActivationOf gives one. target [n]; observed [n] of 0 and 1, or empty (all); z [n], or [3 n] for counts.
// Unless slopes is empty, it becomes scale * d sum / d z. But for counts, several rows can go as one.
double SumOfLosses(v1::Loss loss, std::span<const float> z, std::span<const float> target,
                   std::span<const float> observed, float scale, std::span<float> slopes);

// The loss at place `j` of an activated output, as Executor gives it. Finite; at least 0 but for counts' rounding.
double LossAt(v1::Loss loss, std::span<const float> output, size_t j, float target);

}  // namespace astray
