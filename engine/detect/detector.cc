#include "engine/detect/detector.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/detect/missing_level.h"

namespace astray {
namespace {

constexpr size_t kChunkVectors = 512;
constexpr size_t kChunkValues = size_t{1} << 20;  // of each buffer: 4 MiB

// Those that were repaired alone first, by what that leaves of the score.
void OrderByRepair(std::span<Contribution> contributions, std::span<const float> repaired_scores) {
  const auto suspects = contributions.first(repaired_scores.size());
  for (size_t k = 0; k < suspects.size(); ++k) suspects[k].repaired_score = repaired_scores[k];
  std::ranges::sort(suspects, [](const Contribution& a, const Contribution& b) {
    const bool known = !std::isnan(a.repaired_score), other_known = !std::isnan(b.repaired_score);
    if (known != other_known) return known;
    if (known && a.repaired_score != b.repaired_score) return a.repaired_score < b.repaired_score;
    return a.share != b.share ? a.share > b.share : a.feature < b.feature;
  });
}

// Of `judged`, vector i alone.
RebuiltVectors Only(const RebuiltVectors& judged, size_t i) {
  RebuiltVectors one = judged;
  one.count = 1;
  one.input += i * judged.width;
  one.output += i * judged.outputs;
  one.observed += i * judged.width;
  one.missing += i;
  return one;
}

}  // namespace

Detector::Detector(std::shared_ptr<DetectorModel> model, std::shared_ptr<const Calibration> calibration)
    : model_(std::move(model)),
      formula_(std::make_shared<const ErrorFormula>(model_->score_scale)),
      subspace_(std::make_shared<Subspace>()),
      calibration_(std::move(calibration)) {}

Detector::Detector(std::shared_ptr<DetectorModel> model, std::shared_ptr<const ErrorFormula> formula,
                   std::shared_ptr<Subspace> subspace, std::shared_ptr<const Calibration> calibration)
    : model_(std::move(model)),
      formula_(std::move(formula)),
      subspace_(std::move(subspace)),
      calibration_(std::move(calibration)) {}

std::shared_ptr<const Detector> Detector::WithCalibration(std::shared_ptr<const Calibration> calibration) const {
  return std::shared_ptr<const Detector>(new Detector(model_, formula_, subspace_, std::move(calibration)));
}

std::shared_ptr<const NormalSubspace> Detector::subspace() const {
  absl::call_once(subspace_->once, [this] {
    if (!model_->hindsight || !model_->hindsight->scale.has_subspace()) return;
    subspace_->made = std::make_shared<const NormalSubspace>(model_->hindsight->scale.subspace());
  });
  return subspace_->made;
}

template <typename Visit>
absl::Status Detector::ForEachChunk(std::span<const float> rows, size_t stride, Batch* batch,
                                    std::vector<float>* output, std::span<float> code, Visit visit) const {
  const Pipeline& pipeline = model_->pipeline;
  const size_t outputs = model_->executors.network().output_size();
  const size_t vectors = pipeline.Vectors(rows.size() / features(), stride);
  // Rows that are in no vector are not looked at below.
  if (vectors == 0 || ((vectors - 1) * stride + window()) * features() != rows.size()) {
    RETURN_IF_ERROR(pipeline.CheckRows(rows));
  }
  if (vectors == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(ExecutorPool::Lease executor, model_->executors.Acquire());
  const size_t chunk = std::clamp<size_t>(kChunkValues / outputs, 1, kChunkVectors);
  for (size_t first = 0; first < vectors; first += chunk) {
    const size_t count = std::min(chunk, vectors - first);
    const size_t chunk_rows = (count - 1) * stride + window();
    if (!pipeline.Apply(rows.subspan(first * stride * features(), chunk_rows * features()), batch, stride).ok()) {
      return pipeline.CheckRows(rows);  // counts the rows from the first on
    }
    output->resize(count * outputs);
    if (code.empty()) {
      RETURN_IF_ERROR(executor->Forward(count, batch->values, *output));
    } else {
      RETURN_IF_ERROR(
          executor->Forward(count, batch->values, *output, code.subspan(first * code_size(), count * code_size())));
    }
    const RebuiltVectors rebuilt = {.count = count,
                                    .width = pipeline.width(),
                                    .outputs = outputs,
                                    .input = batch->values.data(),
                                    .output = output->data(),
                                    .observed = batch->observed.data(),
                                    .missing = batch->missing.data()};
    RETURN_IF_ERROR(visit(first, rebuilt, *executor));
  }
  return absl::OkStatus();
}

absl::StatusOr<double> Detector::NoiseLevel() const {
  const auto& corruption = model_->recipe.corruption();
  if (corruption.size() == 1 && corruption.Get(0).gaussian().sigma() > 0) return corruption.Get(0).gaussian().sigma();
  return absl::FailedPreconditionError(
      absl::StrCat("score_function: expected a model whose only corruption is gaussian with a fixed sigma, got '",
                   model_->name, "' with ", corruption.size(),
                   " corruptions, the first: ", corruption.empty() ? "none" : corruption.Get(0).ShortDebugString()));
}

absl::Status Detector::ScoreAt(std::span<const float> rows, size_t stride, const ScoreOptions& options,
                               std::span<const uint32_t> segments, StillWanted wanted, const JudgedVisitor& visit,
                               ScoreResult* result) const {
  const size_t vectors = model_->pipeline.Vectors(rows.size() / features(), stride);
  result->verdicts.resize(vectors);
  const size_t suspects = Counterfactual::Suspects(options.counterfactual);
  result->contributions_stride = std::min(std::max(options.top_contributors, suspects), features());
  result->contributions.resize(vectors * result->contributions_stride);
  result->repairs_stride = std::min<size_t>(options.counterfactual, features());
  result->repairs.resize(vectors * result->repairs_stride);
  const auto resize = [&](bool wanted, std::vector<float>* values) {
    values->resize(wanted ? vectors * features() : 0);
  };
  resize(options.reconstruction, &result->reconstruction);
  resize(options.imputation, &result->imputed);
  resize(options.purification_passes > 0, &result->purified);
  resize(options.score_function, &result->score_function);
  result->code.resize(options.code ? vectors * code_size() : 0);
  result->imputations.resize(options.imputation ? vectors : 0);
  if (options.counterfactual > 0 && model_->pipeline.log() != nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("counterfactual: expected a model of rows, got '", model_->name,
                     "' of a log: the counts of a session follow from each other, none can be repaired alone"));
  }
  double variance = 0;
  if (options.score_function) {
    ASSIGN_OR_RETURN(const double sigma, NoiseLevel());
    variance = sigma * sigma;
  }

  const auto score_chunk = [&](size_t first, const RebuiltVectors& rebuilt, Executor& executor) {
    if (options.reconstruction) {
      for (size_t i = 0; i < rebuilt.count; ++i) {
        model_->pipeline.InvertNewestRow(
            std::span(rebuilt.output + i * rebuilt.outputs, rebuilt.width),
            std::span(result->reconstruction).subspan((first + i) * features(), features()));
      }
    }
    if (options.score_function) EstimateScoreFunction(first, rebuilt.count, variance, result);
    RebuiltVectors judged = rebuilt;
    judged.output = model_->rules.Counted(model_->pipeline.scaler(), rebuilt, &result->counted);
    Judge(first, judged, rows, stride, options, segments, result);
    if (visit) RETURN_IF_ERROR(visit(judged, result->errors));
    if (options.counterfactual > 0) RETURN_IF_ERROR(Repair(first, rebuilt.count, options, wanted, executor, result));
    return Complete(first, rebuilt.count, rows, stride, options, wanted, executor, result);
  };
  return ForEachChunk(rows, stride, &result->batch, &result->output, result->code, score_chunk);
}

void Detector::Judge(size_t first, const RebuiltVectors& judged, std::span<const float> rows, size_t stride,
                     const ScoreOptions& options, std::span<const uint32_t> segments, ScoreResult* result) const {
  result->errors.resize(judged.count);
  formula_->Errors(judged, &result->formula, result->errors);
  result->p_values.resize(judged.count);
  calibration_->PValues(result->errors, &result->ranks, result->p_values);
  for (size_t i = 0; i < judged.count; ++i) {
    Verdict& verdict = result->verdicts[first + i];
    const float error = result->errors[i];
    const uint8_t level = judged.missing[i] == 0 ? 0 : MissingLevel(judged.missing[i], judged.width);
    const Calibration::Judgement judgement =
        calibration_->Judge(error, result->p_values[i], segments.empty() ? 0 : segments[first + i], level);
    const float score = ScoreOf(error, judgement.threshold);
    verdict.state = Verdict::State::kScored;
    verdict.anomalous = score > 1;
    verdict.score = score;
    verdict.error = error;
    verdict.p_value = judgement.p_value;
    verdict.threshold = judgement.threshold;
    verdict.by_t_squared = false;
    verdict.missing_level = level;
    verdict.contributions = 0;
    verdict.repairs = 0;
    if (std::isnan(error)) {
      verdict = {.state = Verdict::State::kAllMissing};
      continue;
    }
    if (result->contributions_stride > 0 && (verdict.anomalous || options.explain_all)) {
      Explain(first + i, NewestRow(rows, stride, first + i), Only(judged, i),
              std::span<const float>(result->output).subspan(i * judged.outputs, judged.width), result);
    }
  }
}

absl::Status Detector::Complete(size_t first, size_t count, std::span<const float> rows, size_t stride,
                                const ScoreOptions& options, StillWanted wanted, Executor& executor,
                                ScoreResult* result) const {
  if (!options.imputation && options.purification_passes == 0) return absl::OkStatus();
  const size_t width = model_->pipeline.width();
  std::vector<float>& values = result->completed;
  values.assign(result->batch.values.begin(),
                result->batch.values.begin() + static_cast<std::ptrdiff_t>(count * width));
  std::vector<ImputationOutcome> outcomes(count);
  result->imputer.SetRange(model_->pipeline.training_low(), model_->pipeline.training_high());
  RETURN_IF_ERROR(result->imputer.Impute(executor, width, result->batch.observed, values, outcomes,
                                         kMaxImputationIterations, wanted));
  if (options.imputation) {
    std::ranges::copy(outcomes, result->imputations.begin() + static_cast<std::ptrdiff_t>(first));
    for (size_t i = 0; i < count; ++i) {
      const std::span<float> row = std::span(result->imputed).subspan((first + i) * features(), features());
      model_->pipeline.InvertNewestRow(std::span(values).subspan(i * width, width), row);
      // What was observed stays as it came, to the last bit.
      const std::span<const float> newest = NewestRow(rows, stride, first + i);
      for (size_t f = 0; f < features(); ++f) {
        if (!std::isnan(newest[f])) row[f] = newest[f];
      }
    }
  }
  if (options.purification_passes == 0) return absl::OkStatus();
  result->passed.resize(values.size());
  for (uint32_t pass = 0; pass < options.purification_passes; ++pass) {
    RETURN_IF_ERROR(wanted());
    RETURN_IF_ERROR(executor.Reconstruct(count, values, result->passed));
    std::swap(values, result->passed);
  }
  for (size_t i = 0; i < count; ++i) {
    model_->pipeline.InvertNewestRow(std::span(values).subspan(i * width, width),
                                     std::span(result->purified).subspan((first + i) * features(), features()));
  }
  return absl::OkStatus();
}

absl::Status Detector::Repair(size_t first, size_t count, const ScoreOptions& options, StillWanted wanted,
                              Executor& executor, ScoreResult* result) const {
  const auto contributions = [&](size_t i) { return result->contributions_of(first + i); };
  const size_t most_suspects = Counterfactual::Suspects(options.counterfactual);
  Counterfactual& counterfactual = result->counterfactual;
  counterfactual.Clear();
  for (size_t i = 0; i < count; ++i) {
    if (!result->verdicts[first + i].anomalous) continue;
    std::array<uint32_t, kMaxRepairs> suspects;
    const auto largest = contributions(i).first(std::min(most_suspects, contributions(i).size()));
    std::ranges::transform(largest, suspects.begin(), &Contribution::feature);
    const Verdict& verdict = result->verdicts[first + i];
    counterfactual.Add(i, verdict.score, verdict.threshold, std::span(suspects).first(largest.size()));
  }
  RETURN_IF_ERROR(counterfactual.Run(*model_, *formula_, options.counterfactual, result->batch, executor, wanted));
  size_t explained = 0;
  for (size_t i = 0; i < count; ++i) {
    Verdict& verdict = result->verdicts[first + i];
    if (verdict.anomalous) {
      OrderByRepair(contributions(i), counterfactual.alone(explained));
      const std::span<const RepairStep> steps = counterfactual.steps(explained++);
      verdict.repairs = static_cast<uint32_t>(steps.size());
      std::ranges::copy(steps,
                        result->repairs.begin() + static_cast<std::ptrdiff_t>((first + i) * result->repairs_stride));
    }
    verdict.contributions = static_cast<uint32_t>(std::min<size_t>(verdict.contributions, options.top_contributors));
  }
  return absl::OkStatus();
}

void Detector::EstimateScoreFunction(size_t first, size_t count, double variance, ScoreResult* result) const {
  const size_t width = model_->pipeline.width(), outputs = model_->executors.network().output_size();
  const Batch& batch = result->batch;
  for (size_t i = 0; i < count; ++i) {
    for (size_t f = 0; f < features(); ++f) {
      const size_t j = width - features() + f;
      const double residual = static_cast<double>(result->output[i * outputs + j]) - batch.values[i * width + j];
      result->score_function[(first + i) * features() + f] = batch.observed[i * width + j] == 0
                                                                 ? std::numeric_limits<float>::quiet_NaN()
                                                                 : static_cast<float>(residual / variance);
    }
  }
}

void Detector::Explain(size_t i, std::span<const float> newest_row, const RebuiltVectors& vector,
                       std::span<const float> output, ScoreResult* result) const {
  result->feature_error.assign(features(), 0);
  const bool by_t_squared = formula_->Explain(vector, &result->formula, result->feature_error).by_t_squared;
  double total = 0;
  for (const float part : result->feature_error) total += part;

  const std::span<Contribution> slots =
      std::span(result->contributions).subspan(i * result->contributions_stride, result->contributions_stride);
  const size_t used = SelectLargest(result->feature_error, slots);
  result->verdicts[i].contributions = static_cast<uint32_t>(used);
  result->verdicts[i].by_t_squared = by_t_squared;
  for (Contribution& contribution : slots.first(used)) {
    contribution.share = static_cast<float>(contribution.share / total);
    contribution.observed = newest_row[contribution.feature];
    // Where the readings as such are what is not normal, the network would have expected just them.
    contribution.expected = by_t_squared ? model_->pipeline.scaler().InvertValue(
                                               contribution.feature, formula_->t_squared_mean(contribution.feature))
                                         : model_->pipeline.InvertNewestValue(output, contribution.feature);
  }
}

absl::StatusOr<std::vector<float>> Detector::Errors(std::span<const float> rows) const {
  std::vector<float> errors;
  errors.reserve(rows.size() / features());
  RETURN_IF_ERROR(VisitErrors(rows, 1, [&](size_t /*vector*/, float error, uint8_t /*missing_level*/) {
    errors.push_back(error);
    return absl::OkStatus();
  }));
  return errors;
}

absl::Status Detector::VisitJudged(std::span<const float> rows, size_t stride, const JudgedVisitor& visit) const {
  RETURN_IF_ERROR(model_->pipeline.CheckRows(rows));  // before the first visit
  Batch batch;
  std::vector<float> output, counted, errors;
  ErrorFormula::Scratch scratch;
  const auto visit_chunk = [&](size_t /*first*/, const RebuiltVectors& rebuilt, Executor& /*executor*/) {
    RebuiltVectors judged = rebuilt;
    judged.output = model_->rules.Counted(model_->pipeline.scaler(), rebuilt, &counted);
    errors.resize(judged.count);
    formula_->Errors(judged, &scratch, errors);
    return visit(judged, errors);
  };
  return ForEachChunk(rows, stride, &batch, &output, {}, visit_chunk);
}

absl::Status Detector::VisitErrors(std::span<const float> rows, size_t stride, const ErrorVisitor& visit) const {
  size_t vector = 0;
  return VisitJudged(rows, stride, [&](const RebuiltVectors& judged, std::span<const float> errors) {
    for (size_t i = 0; i < judged.count; ++i, ++vector) {
      if (std::isnan(errors[i])) continue;
      RETURN_IF_ERROR(visit(vector, errors[i], MissingLevel(judged.missing[i], judged.width)));
    }
    return absl::OkStatus();
  });
}

}  // namespace astray
