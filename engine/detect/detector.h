// Says how anomalous rows are: pipeline + network + score + calibration. Immutable and thread-safe; servers swap whole
// detectors as shared_ptr<const Detector>. Two detectors that differ in calibration share everything else.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/base/call_once.h"
#include "absl/status/statusor.h"
#include "astray/v1/artifact.pb.h"
#include "astray/v1/recipe.pb.h"
#include "engine/base/still_wanted.h"
#include "engine/detect/calibration.h"
#include "engine/detect/contribution.h"
#include "engine/detect/counterfactual.h"
#include "engine/detect/deviation_rules.h"
#include "engine/detect/error_formula.h"
#include "engine/detect/imputation.h"
#include "engine/detect/normal_subspace.h"
#include "engine/features/batch.h"
#include "engine/features/pipeline.h"
#include "engine/nn/executor_pool.h"
#include "engine/nn/network.h"

namespace astray {

// How rows are judged once the rows after them are known (hindsight.h).
struct HindsightModel {
  astray::v1::HindsightScale scale;
  Calibration calibration;
};

// What training learned; everything but the calibration.
struct DetectorModel {
  std::string name;
  int64_t version = 0;
  std::string artifact_sha256;  // of manifest.textproto, 64 hex digits; empty before it is saved
  astray::v1::Recipe recipe;    // complete
  Pipeline pipeline;
  astray::v1::ScoreScale score_scale;
  DeviationRules rules;                     // the recipe's
  ExecutorPool executors;                   // holds the network
  std::optional<HindsightModel> hindsight;  // of windows; none in older artifacts
};

// error / threshold, held at float's largest number. Above 1 is the same as error > threshold: the quotient of two
// floats next to each other rounds to more than 1.
inline float ScoreOf(float error, double threshold) {
  return static_cast<float>(std::min<double>(error / threshold, std::numeric_limits<float>::max()));
}

struct Verdict {
  enum class State : uint8_t { kScored, kWarmingUp, kAllMissing };
  State state = State::kWarmingUp;
  bool anomalous = false;     // score above 1
  bool by_t_squared = false;  // the error is T²'s and not the residual's; known where contributions are looked for
  float score = 0;            // error / threshold, held at float's largest number
  float error = 0;
  double p_value = 1;
  double threshold = 0;        // judged by; 0 unless scored
  uint8_t missing_level = 0;   // of its vector (missing_level.h)
  uint32_t contributions = 0;  // how many of this verdict's entries in ScoreResult::contributions are used; a feature
                               // with no part in the error has none
  uint32_t repairs = 0;        // and in ScoreResult::repairs
};

struct ScoreOptions {
  size_t top_contributors = 3;
  bool explain_all = false;  // contributors for normal verdicts too
  bool reconstruction = false;
  bool code = false;
  bool imputation = false;
  uint32_t purification_passes = 0;  // through the network; 0: none
  bool score_function = false;
  uint32_t counterfactual = 0;  // features of an anomalous vector to repair; 0: none, at most kMaxRepairs

  // Whether vectors go through the network again and again: then a verdict can take a hundred times as long.
  bool iterates() const { return imputation || purification_passes > 0 || counterfactual > 0; }

  bool operator==(const ScoreOptions&) const = default;
};

// Buffers of one scoring call; reuse it from call to call and nothing is allocated.
struct ScoreResult {
  std::vector<Verdict> verdicts;            // one for each vector
  std::vector<Contribution> contributions;  // verdicts x contributions_stride, largest first; with counterfactual, of
                                            // anomalous ones the suspects first, lowest repaired_score first
  std::vector<RepairStep> repairs;          // verdicts x repairs_stride
  std::vector<float> reconstruction;        // verdicts x features, or empty
  std::vector<float> code;                  // verdicts x code_size(), or empty
  std::vector<float> imputed;               // verdicts x features, or empty
  std::vector<ImputationOutcome> imputations;  // beside imputed
  std::vector<float> purified;                 // verdicts x features, or empty
  std::vector<float> score_function;           // verdicts x features, in scaled units, NaN where missing; or empty
  size_t contributions_stride = 0, repairs_stride = 0;

  std::span<Contribution> contributions_of(size_t verdict) {
    return std::span(contributions).subspan(verdict * contributions_stride, verdicts[verdict].contributions);
  }
  std::span<const Contribution> contributions_of(size_t verdict) const {
    return std::span(contributions).subspan(verdict * contributions_stride, verdicts[verdict].contributions);
  }

  Batch batch;                           // scratch: the network's input, a chunk of vectors at a time
  std::vector<float> output;             // scratch: its output
  std::vector<float> counted;            // scratch: the output by which vectors are judged
  std::vector<float> errors;             // scratch: theirs
  std::vector<double> p_values;          // scratch: by all rows
  std::vector<uint32_t> ranks;           // scratch
  ErrorFormula::Scratch formula;         // scratch
  std::vector<float> feature_error;      // scratch
  Imputer imputer;                       // scratch
  std::vector<float> completed, passed;  // scratch
  Counterfactual counterfactual;         // scratch
};

class Detector {
 public:
  // The parts must fit together: the network's input and output are pipeline.width(), score_scale passes
  // CheckScoreScale for it. `calibration` may be null where only Errors is called.
  Detector(std::shared_ptr<DetectorModel> model, std::shared_ptr<const Calibration> calibration);

  // The same model with another calibration.
  std::shared_ptr<const Detector> WithCalibration(std::shared_ptr<const Calibration> calibration) const;

  // rows: n time-ordered rows x features(), NaN is missing. Gives n - window() + 1 verdicts (none for fewer rows than
  // the window): verdict i is on row i + window() - 1. Bit for bit the same however rows are cut into calls.
  // Memory beyond the result's is bounded, whatever n is.
  // InvalidArgument for a wrong number of values or an infinity; names the row (from 0) and the feature. After an error
  // `result` holds nothing of use. FailedPrecondition for a score function of a model that has none.
  // segments: Calibration::SegmentIndex of each vector, or nothing where none is of a segment.
  // wanted: asked before each pass through the network but the first of a chunk, where options.iterates(); its error is
  // this one's.
  // visit: gets all vectors and their errors, some at a time and in order; they are gone after it. Its error is this
  // one's.
  using JudgedVisitor = std::function<absl::Status(const RebuiltVectors& judged, std::span<const float> errors)>;
  absl::Status Score(std::span<const float> rows, const ScoreOptions& options, ScoreResult* result,
                     std::span<const uint32_t> segments = {}, StillWanted wanted = absl::OkStatus,
                     const JudgedVisitor& visit = nullptr) const {
    return ScoreAt(rows, 1, options, segments, wanted, visit, result);
  }
  // The same for n windows that have nothing to do with each other: [n x window() x features()], n verdicts.
  absl::Status ScoreWindows(std::span<const float> windows, const ScoreOptions& options, ScoreResult* result,
                            std::span<const uint32_t> segments = {}, StillWanted wanted = absl::OkStatus) const {
    return ScoreAt(windows, window(), options, segments, wanted, /*visit=*/nullptr, result);
  }

  // The vectors and their errors alone, as Score's `visit` gets them.
  absl::Status VisitJudged(std::span<const float> rows, size_t stride, const JudgedVisitor& visit) const;
  // The errors alone, for calibration; vectors with nothing observed are left out.
  absl::StatusOr<std::vector<float>> Errors(std::span<const float> rows) const;
  // The same one by one: `visit` gets a vector's place, its error and its level of missing values. stride: 1, or
  // window() for windows, as ScoreWindows takes them.
  using ErrorVisitor = std::function<absl::Status(size_t vector, float error, uint8_t missing_level)>;
  absl::Status VisitErrors(std::span<const float> rows, size_t stride, const ErrorVisitor& visit) const;

  const DetectorModel& model() const { return *model_; }
  const std::shared_ptr<const ErrorFormula>& formula() const { return formula_; }
  // Of the model's hindsight, one for all that look back; null where it has none. Made when first asked for: servers
  // never do.
  std::shared_ptr<const NormalSubspace> subspace() const;
  const Calibration& calibration() const { return *calibration_; }
  size_t features() const { return model_->pipeline.features(); }
  size_t window() const { return model_->pipeline.window(); }
  // Of the corruption, in scaled units, where it is one Gaussian of a fixed level; else FailedPrecondition.
  absl::StatusOr<double> NoiseLevel() const;
  size_t code_size() const { return model_->executors.network().code_size(); }
  // Weights and biases: what a forward pass reads, however few rows it is for.
  size_t parameter_count() const { return model_->executors.network().parameter_count(); }

 private:
  // stride: Pipeline::Apply's.
  absl::Status ScoreAt(std::span<const float> rows, size_t stride, const ScoreOptions& options,
                       std::span<const uint32_t> segments, StillWanted wanted, const JudgedVisitor& visit,
                       ScoreResult* result) const;

  struct Subspace {
    absl::once_flag once;
    std::shared_ptr<const NormalSubspace> made;
  };

  Detector(std::shared_ptr<DetectorModel> model, std::shared_ptr<const ErrorFormula> formula,
           std::shared_ptr<Subspace> subspace, std::shared_ptr<const Calibration> calibration);

  // Calls visit(first, vectors, executor) for chunks of vectors in order, with `batch` and `output` [count x the
  // network's outputs] filled, and fills `code` [vectors x code_size()] unless it is empty. Defined and used in
  // detector.cc.
  template <typename Visit>
  absl::Status ForEachChunk(std::span<const float> rows, size_t stride, Batch* batch, std::vector<float>* output,
                            std::span<float> code, Visit visit) const;

  // Fills in the verdicts of chunk vectors from `first` on, and what explains them. `judged`: by what they are judged.
  void Judge(size_t first, const RebuiltVectors& judged, std::span<const float> rows, size_t stride,
             const ScoreOptions& options, std::span<const uint32_t> segments, ScoreResult* result) const;

  // Of chunk vectors [first, first + count): completed rows, and rows after passes through the network.
  absl::Status Complete(size_t first, size_t count, std::span<const float> rows, size_t stride,
                        const ScoreOptions& options, StillWanted wanted, Executor& executor, ScoreResult* result) const;
  std::span<const float> NewestRow(std::span<const float> rows, size_t stride, size_t i) const {  // of vector i
    return rows.subspan((i * stride + window() - 1) * features(), features());
  }
  void EstimateScoreFunction(size_t first, size_t count, double variance, ScoreResult* result) const;

  // Fills in the contributions of vector i, `vector` being what it is judged by. output: the network's.
  void Explain(size_t i, std::span<const float> newest_row, const RebuiltVectors& vector, std::span<const float> output,
               ScoreResult* result) const;

  // Of chunk vectors [first, first + count), those that are anomalous: repairs, and contributions in their order.
  absl::Status Repair(size_t first, size_t count, const ScoreOptions& options, StillWanted wanted, Executor& executor,
                      ScoreResult* result) const;

  // The pool inside is thread-safe; the rest is never changed.
  std::shared_ptr<DetectorModel> model_;
  std::shared_ptr<const ErrorFormula> formula_;  // of the model's score_scale
  std::shared_ptr<Subspace> subspace_;
  std::shared_ptr<const Calibration> calibration_;
};

}  // namespace astray
