// What a log's training sessions have in common, as the state that a LogTransform reads.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "astray/v1/pipeline.pb.h"
#include "engine/features/template_miner.h"

namespace astray {

// sessions: the events of each (log_transform.h). examples: a readable line of each template, [miner.size()].
// A pair has a column where at least two sessions and one in a hundred have it. Pairs are taken by the number of
// sessions that have them, then in order; over LogTransform::kMaxPairs of them the rest are forgotten, and unseen
// wherever they are.
astray::v1::LogState LearnLogVocabulary(const astray::v1::LogRecipe& complete_recipe, const TemplateMiner& miner,
                                        std::vector<std::string> examples,
                                        std::span<const std::vector<uint32_t>> sessions);

}  // namespace astray
