// Scores labelled rows as they come and keeps what can be measured of them: some thirty bytes a row, whatever a row's
// width. Rows of many entities may come in any order; each entity's are scored by themselves.
//
//   LabelledScoring scoring(&detector, features, {.time_ordered = true});
//   for (each row) RETURN_IF_ERROR(scoring.Add({.values = values, .label = label, .entity = machine}));
//   ASSIGN_OR_RETURN(const LabelledScores scores, scoring.Finish());
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/detect/detector.h"
#include "engine/detect/hindsight.h"

namespace astray {

// Adjacent flagged rows of one entity; one row, where rows do not follow each other in time.
struct FlaggedRun {
  uint32_t begin = 0, end = 0;              // rows of the data
  uint32_t peak = 0;                        // the row with the highest score
  Verdict verdict;                          // of that row
  std::vector<Contribution> contributions;  // of that row, largest first
  uint32_t entity = 0;                      // its place in LabelledScores::begins
};

// How often a feature contributes most to a flagged row.
struct LeadCount {
  uint32_t anomalous = 0, normal = 0;  // by the rows' labels
};

// Of how many normal rows the p-value is at most alpha, for kPoints of those that a calibration can tell apart.
class PValueCounts {
 public:
  static constexpr size_t kPoints = 60;

  PValueCounts() : PValueCounts(1) {}
  explicit PValueCounts(double finest);  // Calibration::resolution()
  void Add(double p_value);

  uint64_t rows() const { return rows_; }
  double alpha(size_t k) const { return alphas_[k]; }  // ascending; the last is exactly 1
  uint64_t AtMost(size_t k) const;                     // rows with a p-value of at most alpha(k)

 private:
  std::vector<double> alphas_;
  std::vector<uint64_t> counts_;  // of those above the alpha before
  uint64_t rows_ = 0;
};

// A short text a row, one behind the other.
class RowNames {
 public:
  static constexpr size_t kMaxBytes = 240;  // of each

  void Add(absl::string_view name);
  void Append(const RowNames& from, size_t first, size_t count);
  bool empty() const { return ends_.empty(); }
  size_t size() const { return ends_.size(); }
  absl::string_view operator[](size_t row) const {
    const uint64_t begin = row == 0 ? 0 : ends_[row - 1];
    return absl::string_view(text_).substr(begin, ends_[row] - begin);
  }

 private:
  std::string text_;
  std::vector<uint64_t> ends_;
};

// Each row's score once the rows after it are known; of entities with fewer rows than a window none. `scores`, `labels`
// and `rows` are beside each other.
struct HindsightScores {
  std::vector<float> scores;
  std::vector<uint8_t> labels;
  std::vector<uint32_t> rows;    // of the data
  std::vector<uint32_t> begins;  // which score is an entity's first, ascending from 0
};

// Rows are those of the data, each entity's together, the entities in the order of their first rows. `scores`, `labels`
// and `rows` are beside each other: one entry a scored row.
struct LabelledScores {
  std::vector<std::string> feature_names;
  std::vector<float> scores;
  std::vector<uint8_t> labels;
  std::vector<uint32_t> rows;
  std::vector<uint8_t> row_labels;    // one a row, scored or not
  HindsightScores hindsight;          // of a model that has one
  RowNames names;                     // one a row, or none
  std::vector<uint32_t> begins;       // first row of each entity; ascending from 0
  std::vector<std::string> entities;  // beside `begins`, their names; empty where the data does not say
  PValueCounts p_values;
  std::vector<float> channel;         // the first feature of the first entity's first rows, at most kMaxChannel
  std::vector<FlaggedRun> strongest;  // at most kMaxStrongest, highest score first
  std::vector<LeadCount> leads;       // one a feature
  // Of flagged anomalous rows with culprits: how many there are, and of how many a true culprit is the first
  // contributor, or among the first three, or the first by repair (detect/counterfactual.h).
  bool has_culprits = false;
  uint64_t blamed = 0, top1 = 0, top3 = 0, repaired_top1 = 0;
  double seconds = 0;  // that scoring took, without repairs

  // Scored rows at which an entity begins, ascending from 0; those with no scored row are left out.
  std::vector<uint32_t> ScoredBegins() const;

  static constexpr size_t kMaxStrongest = 20;
  static constexpr size_t kMaxChannel = 20'000;  // as far as DominantPeriod looks
};

class LabelledScoring {
 public:
  static constexpr size_t kMaxRows = 0xffffffff;
  static constexpr size_t kSliceRows = 4096;  // scored at a time

  struct Options {
    bool time_ordered = false;  // adjacent flagged rows are one run
    bool named = false;         // the rows' names are kept
    bool has_culprits = false;
    size_t group_rows = 8 * kSliceRows;  // at most so many are waited for, to bring those of an entity together
  };
  // `detector` must outlive it.
  LabelledScoring(const Detector* detector, std::vector<std::string> feature_names, const Options& options);

  struct LabelledRow {
    std::span<const float> values;                      // one a feature
    uint8_t label = 0;                                  // 1 is anomalous
    absl::string_view entity, segment, culprits, name;  // culprits: "flow;pressure"
  };
  absl::Status Add(const LabelledRow& row);
  // InvalidArgument without a row.
  absl::StatusOr<LabelledScores> Finish();

 private:
  struct Entity {
    std::vector<float> tail;  // its last window - 1 rows
    uint32_t rows = 0;
    FlaggedRun run;  // rows are the entity's; end 0: none
    // Of a model that has one; beside the entity's rows what is known of them by now.
    std::unique_ptr<Hindsight> hindsight;
    std::vector<float> hindsight_errors;
    std::vector<uint32_t> hindsight_segments;  // Calibration::SegmentIndex, where the calibration has segments
  };
  // Rows of one entity that follow each other in what is kept.
  struct Piece {
    uint32_t entity = 0, rows = 0, scored = 0;
  };

  struct ScoredRow {
    uint32_t entity = 0, row = 0;  // the entity's
    size_t waiting = 0;            // its place among the rows that wait
    std::span<const float> window;
    const Verdict& verdict;
    std::span<const Contribution> contributions;
  };

  absl::Status ScoreWaiting();
  absl::Status ScoreSlice(uint32_t entity, std::span<const uint32_t> rows);  // of those that wait
  absl::Status Take(const ScoredRow& row);
  absl::Status Blame(const ScoredRow& row);
  absl::Status RepairBlamed();
  bool NamesACulprit(absl::string_view culprits, std::span<const Contribution> contributions) const;
  void EndRun(uint32_t entity);
  bool HindsightHasSegments() const;
  void Group();             // brings each entity's rows together
  void JudgeInHindsight();  // once they are

  const Detector* const detector_;
  const Options options_;
  LabelledScores scores_;
  absl::flat_hash_map<std::string, uint32_t> numbers_;
  std::vector<Entity> entities_;
  std::vector<Piece> pieces_;
  // Rows that wait to be scored.
  std::vector<float> values_;
  std::vector<uint8_t> labels_;
  std::vector<uint32_t> entity_of_;
  std::vector<uint32_t> segment_of_;  // Calibration::SegmentIndex
  std::vector<uint32_t> hindsight_segment_of_;
  std::vector<std::string> culprits_;  // where there are any
  RowNames names_;
  // Scratch.
  std::vector<uint32_t> order_;
  std::vector<float> rows_;
  std::vector<uint32_t> segments_;  // of the vectors in rows_
  ScoreResult result_, repaired_;
  std::vector<float> blamed_windows_;
  std::vector<uint32_t> blamed_segments_;
  std::vector<std::string> blamed_culprits_;
};

}  // namespace astray
