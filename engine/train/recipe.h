// Recipes: reading them, filling in what they leave out from the data, refusing what cannot work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "astray/v1/recipe.pb.h"
#include "engine/data/dataset.h"
#include "engine/train/time_order.h"

namespace astray {

// InvalidArgument names file, line and column: "pump.textproto:7:3: unknown field 'wndow'".
absl::StatusOr<astray::v1::Recipe> ParseRecipe(absl::string_view text, const std::string& file_name);
absl::StatusOr<astray::v1::Recipe> ReadRecipe(const std::string& path);

// The recipe with every field set, chosen for the data where it was not. Then checks it as a whole:
// InvalidArgument says which fields do not go together and why, for example
//   "network.output_activation: SIGMOID reaches only (0, 1), but features.scaling STANDARD makes targets outside it;
//    use LINEAR, or MIN_MAX scaling"
absl::StatusOr<astray::v1::Recipe> CompleteRecipe(astray::v1::Recipe recipe, const Dataset& dataset);
// The same for a caller that asks about the data's order as well: `order` is of `dataset`.
absl::StatusOr<astray::v1::Recipe> CompleteRecipe(astray::v1::Recipe recipe, const Dataset& dataset, TimeOrder* order);

// InvalidArgument where there can be no T² of so many rows (0: none is asked for) for this recipe, whose window is
// given, on data of so many features: "score.t_squared_rows: expected 0 with score.kind TRAINING_LOSS".
absl::Status CheckTSquared(const astray::v1::Recipe& recipe, uint32_t rows, size_t features);

// Where a recipe gives none, and the held-out rows resolve it.
inline constexpr double kDefaultFalsePositiveRate = 0.01;

std::string FormatRecipe(const astray::v1::Recipe& recipe);  // textproto, human-readable

}  // namespace astray
