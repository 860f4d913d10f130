#include "engine/detect/counterfactual.h"

#include <algorithm>
#include <cmath>

#include "engine/base/status_macros.h"
#include "engine/detect/detector.h"

namespace astray {
namespace {

constexpr size_t kTrialVectors = 256;
constexpr size_t kTrialValues = size_t{1} << 20;  // of each buffer: 4 MiB

}  // namespace

bool Counterfactual::Case::IsRepaired(uint32_t feature) const {
  return std::any_of(steps.begin(), steps.begin() + step_count,
                     [&](const RepairStep& step) { return step.feature == feature; });
}

void Counterfactual::Add(size_t vector, float score, double threshold, std::span<const uint32_t> suspects) {
  Case& added = cases_.emplace_back();
  added.vector = vector;
  added.score = score;
  added.threshold = threshold;
  added.suspect_count = static_cast<uint32_t>(suspects.size());
  std::ranges::copy(suspects, added.suspects.begin());
}

absl::Status Counterfactual::Run(const DetectorModel& model, const ErrorFormula& formula, size_t most,
                                 const Batch& batch, Executor& executor, StillWanted wanted) {
  imputer_.SetRange(model.pipeline.training_low(), model.pipeline.training_high());
  for (size_t step = 0; step < most; ++step) {
    PlanTrials();
    if (trials_.empty()) break;
    RETURN_IF_ERROR(RunTrials(model, formula, batch, executor, wanted));
    if (step == 0) {
      for (const Trial& trial : trials_) cases_[trial.of].alone[trial.suspect] = trial.score;
    }
    TakeBest();
  }
  return absl::OkStatus();
}

void Counterfactual::PlanTrials() {
  trials_.clear();
  for (uint32_t of = 0; of < cases_.size(); ++of) {
    if (cases_[of].done) continue;
    for (uint32_t suspect = 0; suspect < cases_[of].suspect_count; ++suspect) {
      if (!cases_[of].IsRepaired(cases_[of].suspects[suspect])) trials_.push_back({.of = of, .suspect = suspect});
    }
  }
}

absl::Status Counterfactual::RunTrials(const DetectorModel& model, const ErrorFormula& formula, const Batch& batch,
                                       Executor& executor, StillWanted wanted) {
  const Pipeline& pipeline = model.pipeline;
  const size_t width = pipeline.width(), outputs = model.executors.network().output_size();
  const size_t tile = std::clamp<size_t>(kTrialValues / outputs, 1, kTrialVectors);
  for (size_t first = 0; first < trials_.size(); first += tile) {
    const std::span<Trial> trials = std::span(trials_).subspan(first, std::min(tile, trials_.size() - first));
    values_.clear();
    observed_.clear();
    known_.assign(trials.size() * width, 1.0f);
    for (const Trial& trial : trials) {
      const Case& of = cases_[trial.of];
      const size_t begin = values_.size();
      const auto copy = [&](std::span<const float> from, std::vector<float>* to) {
        const auto vector = from.subspan(of.vector * width, width);
        to->insert(to->end(), vector.begin(), vector.end());
      };
      copy(batch.values, &values_);
      copy(batch.observed, &observed_);
      const auto take_out = [&](uint32_t feature) {
        const auto fill = static_cast<float>(pipeline.scaler().state().fill(static_cast<int>(feature)));
        for (size_t j = begin + feature; j < begin + width; j += pipeline.features()) {
          values_[j] = fill;
          observed_[j] = known_[j] = 0;
        }
      };
      take_out(of.suspects[trial.suspect]);
      for (uint32_t step = 0; step < of.step_count; ++step) take_out(of.steps[step].feature);
    }
    // What was missing before stays where the pipeline put it: the trial differs from the verdict by the repair alone.
    outcomes_.resize(trials.size());
    RETURN_IF_ERROR(imputer_.Impute(executor, width, known_, values_, outcomes_, kRepairIterations, wanted));
    output_.resize(trials.size() * outputs);
    RETURN_IF_ERROR(executor.Forward(trials.size(), values_, output_));
    RebuiltVectors vectors = {.count = trials.size(),
                              .width = width,
                              .outputs = outputs,
                              .input = values_.data(),
                              .output = output_.data(),
                              .observed = observed_.data()};
    vectors.output = model.rules.Counted(pipeline.scaler(), vectors, &counted_);
    errors_.resize(trials.size());
    formula.Errors(vectors, &formula_scratch_, errors_);
    for (size_t i = 0; i < trials.size(); ++i) {
      trials[i].score = ScoreOf(errors_[i], cases_[trials[i].of].threshold);
    }
  }
  return absl::OkStatus();
}

void Counterfactual::TakeBest() {
  for (auto trial = trials_.begin(); trial != trials_.end();) {
    const uint32_t index = trial->of;
    Case& of = cases_[index];
    auto best = trials_.end();
    for (; trial != trials_.end() && trial->of == index; ++trial) {
      // No comparison with a NaN holds.
      if (trial->score < (best == trials_.end() ? of.score : best->score)) best = trial;
    }
    of.done = best == trials_.end();
    if (of.done) continue;
    of.steps[of.step_count++] = {.feature = of.suspects[best->suspect], .score = best->score};
    of.score = best->score;
    of.done = of.score <= 1;
  }
}

}  // namespace astray
