// What training learned of a log: its templates, and which of them follow which. Turns a session, the templates of its
// lines in order, into a row of counts. Immutable and thread-safe.
//
// Columns, in order:
//   t<id>         lines of the template, for each template that at least two training sessions have
//   unseen        lines of a template that training never saw
//   t3>t7         how often a line of t7 follows one of t3 (^>t1: the session begins with t1, t2>$: it ends with t2),
//                 for at most max_pairs pairs that at least two training sessions and one in a hundred have, those of
//                 most sessions first
//   unseen_pairs  pairs that training never saw
// The last two where the recipe counts pairs; begin and end where it has a session_pattern, for the borders of a window
// are anywhere.
//
// A training session is looked at as if it had not been there (leave one out): a template or pair that no other
// training session has is unseen in it. So unseen ones are as frequent in training as they will be (Good 1953: the
// chance that the next session has something new is the share of what was seen once), and the threshold holds. What
// training saw, but has no column, because too few sessions had it or max_pairs left it out, counts nowhere: it is not
// new, and how often is usual nobody knows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "astray/v1/pipeline.pb.h"
#include "engine/features/log_rules.h"
#include "engine/features/template_miner.h"

namespace astray {

inline constexpr uint32_t kUnknownEvent = std::numeric_limits<uint32_t>::max();

class LogTransform {
 public:
  static constexpr size_t kMaxTemplates = 100'000;
  static constexpr size_t kMaxPairs = size_t{1} << 20;  // known, with and without a column
  static constexpr size_t kMaxTemplateBytes = 32 << 10;
  static constexpr size_t kMaxExampleBytes = 1000;

  // Checks everything (counts, ids, lengths, UTF-8, the recipe): the state is untrusted.
  static absl::StatusOr<LogTransform> FromState(astray::v1::LogState state);
  const astray::v1::LogState& state() const { return state_; }
  const LogRules& rules() const { return rules_; }

  // The id of the line's template; none where it is of none that training saw.
  std::optional<uint32_t> Event(std::string_view line) const;

  size_t features() const { return features_.size(); }
  std::vector<std::string> FeatureNames() const;

  // events: template ids, kUnknownEvent for a line without one. row: [features()], overwritten.
  void Apply(std::span<const uint32_t> events, std::span<float> row) const { Count(events, false, row); }
  // The same for a session that training learned from: as if it had not been there.
  void ApplyToTraining(std::span<const uint32_t> events, std::span<float> row) const { Count(events, true, row); }

  // The templates that a feature is about, in order: one or two, none of the unseen ones.
  std::vector<uint32_t> TemplatesOf(size_t feature) const;
  // The feature of that name; none where there is none.
  std::optional<size_t> FeatureNamed(std::string_view name) const;

  size_t templates() const { return static_cast<size_t>(state_.templates_size()); }
  std::string TemplateText(uint32_t id) const;  // readable UTF-8
  const std::string& Example(uint32_t id) const { return state_.templates(static_cast<int>(id)).example(); }

 private:
  // What a pair counts as: a column, or one of these.
  static constexpr uint32_t kNoColumn = kUnknownEvent, kOneSession = kUnknownEvent - 1;
  struct Feature {  // ids + 1, 0 is none
    uint32_t first = 0, second = 0;
    enum class Kind { kTemplate, kUnseen, kPair, kUnseenPairs } kind = Kind::kTemplate;
  };

  LogTransform(LogRules rules, astray::v1::LogState state);
  absl::Status AddTemplates();
  absl::Status AddPairs();
  void Count(std::span<const uint32_t> events, bool training, std::span<float> row) const;

  astray::v1::LogState state_;
  LogRules rules_;
  TemplateMiner miner_;
  std::vector<Feature> features_;
  absl::flat_hash_map<std::string, size_t> features_by_name_;
  std::vector<uint32_t> template_columns_;              // [templates()], kNoColumn without
  absl::flat_hash_map<uint64_t, uint32_t> pair_kinds_;  // of known pairs
  uint32_t unseen_ = 0, unseen_pairs_ = 0;              // columns
};

}  // namespace astray
