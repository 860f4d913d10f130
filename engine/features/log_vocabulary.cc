#include "engine/features/log_vocabulary.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "engine/features/log_transform.h"

namespace astray {
namespace {

// A column that is 0 in nearly all sessions is an outlier wherever it is not, in normal sessions too: what many rare
// pairs of one rare but normal course add up to would be the threshold.
constexpr double kPairShare = 0.01;

// In how many sessions something is; a session's further ones do not count again.
struct Sessions {
  size_t last = 0;  // the last one's place, from 1
  uint64_t count = 0;

  void Add(size_t session) {
    if (last != session) ++count;
    last = session;
  }
};

}  // namespace

v1::LogState LearnLogVocabulary(const v1::LogRecipe& recipe, const TemplateMiner& miner,
                                std::vector<std::string> examples, std::span<const std::vector<uint32_t>> sessions) {
  std::vector<Sessions> templates(miner.size());
  absl::flat_hash_map<uint64_t, Sessions> pairs;
  for (size_t i = 0; i < sessions.size(); ++i) {
    uint64_t previous = 0;
    const bool borders = recipe.has_session_pattern();
    bool known = borders;  // the event before this one
    for (const uint32_t event : sessions[i]) {
      const bool learned = event < miner.size();
      if (learned) templates[event].Add(i + 1);
      if (learned && known && recipe.pairs()) pairs[(previous << 32) | (uint64_t{event} + 1)].Add(i + 1);
      previous = uint64_t{event} + 1;
      known = learned;
    }
    if (borders && known && recipe.pairs() && !sessions[i].empty()) pairs[previous << 32].Add(i + 1);
  }

  v1::LogState state;
  *state.mutable_recipe() = recipe;
  for (size_t id = 0; id < miner.size(); ++id) {
    v1::LogTemplate* one = state.add_templates();
    one->set_text(miner.Template(id));
    one->set_lines(miner.Lines(id));
    one->set_sessions(templates[id].count);
    one->set_example(std::move(examples[id]));
  }
  std::vector<std::pair<uint64_t, uint64_t>> order;  // pair, sessions
  order.reserve(pairs.size());
  for (const auto& [pair, seen] : pairs) order.emplace_back(pair, seen.count);
  std::ranges::sort(order, [](const auto& a, const auto& b) {
    return std::tuple(b.second, a.first) < std::tuple(a.second, b.first);
  });
  order.resize(std::min(order.size(), LogTransform::kMaxPairs));
  for (const auto& [pair, count] : order) {
    if (count < 2) {
      state.add_single_pairs(pair);
    } else if (static_cast<uint32_t>(state.pairs_size()) < recipe.max_pairs() &&
               static_cast<double>(count) >= kPairShare * static_cast<double>(sessions.size())) {
      state.add_pairs(pair);
    } else {
      state.add_rare_pairs(pair);
    }
  }
  return state;
}

}  // namespace astray
