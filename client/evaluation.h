// What scores say about labelled rows: the rows of a data set with their verdicts, and the measures of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/evaluation.pb.h"
#include "engine/data/dataset.h"
#include "engine/detect/detector.h"

namespace astray {

// Adjacent flagged rows of one entity; one row, where rows do not follow each other in time.
struct FlaggedRun {
  uint32_t begin = 0, end = 0;              // rows of the data
  uint32_t peak = 0;                        // the row with the highest score
  Verdict verdict;                          // of that row
  std::vector<Contribution> contributions;  // of that row, largest first
};

// How often a feature contributes most to a flagged row.
struct LeadCount {
  uint32_t anomalous = 0, normal = 0;  // by the rows' labels
};

// Data set and verdicts. The vectors from `scores` to `p_values` are beside each other: one entry a scored row.
struct LabelledScores {
  std::vector<float> scores;
  std::vector<uint8_t> labels;
  std::vector<uint32_t> rows;  // of the data
  std::vector<double> p_values;
  std::vector<uint32_t> begins;       // first row of each entity, in rows of the data; ascending from 0
  std::vector<FlaggedRun> strongest;  // at most kMaxStrongest, highest score first
  std::vector<LeadCount> leads;       // one a feature
  // Of flagged anomalous rows with culprits: how many there are, and of how many a true culprit is the first
  // contributor, or among the first three.
  std::vector<size_t> blamed;  // those rows, of the data
  uint64_t top1 = 0, top3 = 0;
  uint64_t repaired_top1 = 0;  // the same by repair (NameByRepair)
  // Scored rows at which an entity begins, ascending from 0; those with no scored row are left out.
  std::vector<uint32_t> ScoredBegins() const;

  static constexpr size_t kMaxStrongest = 20;
};

// Whether rows follow each other in time, for this model: it judges windows, or the rows have timestamps.
bool IsTimeOrdered(const Detector& detector, const Dataset& data);

// Scores each entity's rows by themselves. data: labelled, grouped by entity. time_ordered: adjacent flagged rows are
// one run.
absl::StatusOr<LabelledScores> ScoreLabelled(const Detector& detector, const Dataset& data, bool time_ordered);

// Names the features of the blamed rows once more, by repair (detect/counterfactual.h).
absl::Status NameByRepair(const Detector& detector, const Dataset& data, LabelledScores* scores);

// time_ordered: measure ranges of rows, too. seconds: how long the scoring took.
v1::Evaluation Evaluate(const Detector& detector, const Dataset& data, const LabelledScores& scores, bool time_ordered,
                        double seconds);

}  // namespace astray
