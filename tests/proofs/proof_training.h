// What the proofs share: recipes for data of a known shape, networks trained on rows as they are, and public data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "astray/v1/recipe.pb.h"
#include "engine/data/dataset.h"
#include "engine/nn/network.h"

namespace astray {

// A complete recipe for 1,000 rows of `features`.
v1::Recipe MakeRecipe(const std::string& text, size_t features, uint64_t seed);

// Trains on rows as they are, without scaling; a tenth of them is held out.
Network TrainOn(const std::vector<float>& rows, size_t features, const std::string& recipe_text, uint64_t seed);

std::vector<float> Reconstruct(const Network& network, const std::vector<float>& rows);

// ASTRAY_DATA_DIR (default ../shared/data); tests skip where it is missing.
std::filesystem::path DataPath(const std::string& file);

// Rows [begin, end) of a data set.
Dataset Rows(const Dataset& data, size_t begin, size_t end);

}  // namespace astray
