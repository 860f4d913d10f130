#include "engine/detect/deviation_rules.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"
#include "engine/features/feature_names.h"

namespace astray {
namespace {

// Levenshtein's: how many letters to put in, take out or change. Of long texts the beginnings, so that a search among
// many stays short.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  constexpr size_t kLetters = 64;
  a = a.substr(0, kLetters);
  b = b.substr(0, kLetters);
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row.back();
}

absl::Status Refuse(int rule, absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat("rule[", rule, "]", text));
}

absl::Status CheckSize(int rule, absl::string_view field, double value) {
  if (std::isfinite(value) && value >= 0) return absl::OkStatus();
  return Refuse(rule, absl::StrCat(".", field, ": expected a finite number from 0, got ", value));
}

absl::Status RefuseFeature(int rule, const std::string& name, const std::vector<std::string>& known) {
  const auto nearest =
      std::ranges::min_element(known, {}, [&](const std::string& other) { return EditDistance(name, other); });
  return Refuse(rule, absl::StrCat(".feature: expected a feature of the model, got '", ShownText(name),
                                   "'; did you mean '", *nearest, "'?"));
}

}  // namespace

absl::Status CheckDeviationRules(const google::protobuf::RepeatedPtrField<v1::DeviationRule>& rules,
                                 const std::vector<std::string>& feature_names, v1::ScoreKind kind, v1::Loss loss) {
  if (rules.size() > kMaxDeviationRules) {
    return absl::InvalidArgumentError(
        absl::StrCat("rule: expected at most ", kMaxDeviationRules, ", got ", rules.size()));
  }
  if (!rules.empty() && kind == v1::TRAINING_LOSS && loss != v1::MEAN_SQUARED_ERROR && loss != v1::HUBER) {
    return absl::InvalidArgumentError(absl::StrCat("rule: score.kind TRAINING_LOSS of loss ", v1::Loss_Name(loss),
                                                   " is not 0 where nothing deviates; use another score.kind"));
  }
  absl::flat_hash_set<absl::string_view> known;
  if (!rules.empty()) known.insert(feature_names.begin(), feature_names.end());
  // What the rules so far leave of each feature's directions; "" stands for those that no rule names.
  absl::flat_hash_map<std::string, v1::DeviationRule::Direction> directions;
  for (int i = 0; i < rules.size(); ++i) {
    const v1::DeviationRule& rule = rules.Get(i);
    RETURN_IF_ERROR(CheckSize(i, "ignore_below", rule.ignore_below()));
    RETURN_IF_ERROR(CheckSize(i, "ignore_below_ratio", rule.ignore_below_ratio()));
    if (!v1::DeviationRule::Direction_IsValid(rule.direction())) {
      return Refuse(i, absl::StrCat(".direction: expected BOTH, ABOVE or BELOW, got ", rule.direction()));
    }
    if (rule.ignore_below() == 0 && rule.ignore_below_ratio() == 0 && rule.direction() == v1::DeviationRule::BOTH) {
      return Refuse(i, ": expected ignore_below, ignore_below_ratio or direction, got none of them");
    }
    if (!rule.feature().empty() && !known.contains(rule.feature())) {
      return RefuseFeature(i, rule.feature(), feature_names);
    }
    if (rule.direction() == v1::DeviationRule::BOTH) continue;
    const auto opposite = [&](const auto& entry) {
      const bool same = entry.first == rule.feature() || entry.first.empty() || rule.feature().empty();
      return same && entry.second != rule.direction();
    };
    if (std::ranges::any_of(directions, opposite)) {
      return Refuse(i, absl::StrCat(".direction: expected that of the other rules of ",
                                    rule.feature().empty() ? "every feature" : absl::StrCat("'", rule.feature(), "'"),
                                    ": ABOVE and BELOW together let every deviation go"));
    }
    directions.emplace(rule.feature(), rule.direction());
  }
  return absl::OkStatus();
}

DeviationRules DeviationRules::Compile(const google::protobuf::RepeatedPtrField<v1::DeviationRule>& rules,
                                       const Pipeline& pipeline) {
  DeviationRules compiled;
  if (rules.empty()) return compiled;
  FeatureRule every;
  absl::flat_hash_map<absl::string_view, FeatureRule> named;
  for (const v1::DeviationRule& rule : rules) {
    FeatureRule& feature = rule.feature().empty() ? every : named[rule.feature()];
    feature.Join({.ignore_below = rule.ignore_below(),
                  .ignore_below_ratio = rule.ignore_below_ratio(),
                  .above_counts = rule.direction() != v1::DeviationRule::BELOW,
                  .below_counts = rule.direction() != v1::DeviationRule::ABOVE});
  }
  for (const std::string& name : pipeline.feature_names()) {
    FeatureRule& feature = compiled.features_.emplace_back(every);
    if (const auto own = named.find(name); own != named.end()) feature.Join(own->second);
  }
  return compiled;
}

void DeviationRules::FeatureRule::Join(const FeatureRule& other) {
  ignore_below = std::max(ignore_below, other.ignore_below);
  ignore_below_ratio = std::max(ignore_below_ratio, other.ignore_below_ratio);
  above_counts = above_counts && other.above_counts;
  below_counts = below_counts && other.below_counts;
}

bool DeviationRules::FeatureRule::Counts(double reading, double expected) const {
  // Written so that an output that is no number counts.
  const double deviation = reading - expected;
  if (!above_counts && deviation >= 0) return false;
  if (!below_counts && deviation <= 0) return false;
  const double size = std::abs(deviation);
  return !(size < ignore_below) && !(size < ignore_below_ratio * std::abs(expected));
}

const float* DeviationRules::Counted(const Scaler& scaler, const RebuiltVectors& vectors,
                                     std::vector<float>* counted) const {
  if (empty()) return vectors.output;
  counted->assign(vectors.output, vectors.output + vectors.count * vectors.outputs);
  for (size_t i = 0; i < vectors.count; ++i) {
    const float *input = vectors.input + i * vectors.width, *observed = vectors.observed_of(i);
    float* output = counted->data() + i * vectors.outputs;
    size_t f = 0;
    for (size_t j = 0; j < vectors.width; ++j) {
      if ((observed == nullptr || observed[j] != 0) &&
          !features_[f].Counts(scaler.InvertValue(f, input[j]), scaler.InvertValue(f, output[j]))) {
        output[j] = input[j];
      }
      if (++f == features_.size()) f = 0;
    }
  }
  return counted->data();
}

}  // namespace astray
