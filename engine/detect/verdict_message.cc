#include "engine/detect/verdict_message.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/status_macros.h"
#include "engine/detect/false_discovery.h"

namespace astray {
namespace {

v1::Verdict::State ToProto(Verdict::State state) {
  switch (state) {
    case Verdict::State::kScored:
      return v1::Verdict::SCORED;
    case Verdict::State::kWarmingUp:
      return v1::Verdict::WARMING_UP;
    case Verdict::State::kAllMissing:
      return v1::Verdict::ALL_MISSING;
  }
  return v1::Verdict::SCORED;
}

absl::Status CheckAtMost(absl::string_view field, uint32_t value, uint32_t most) {
  if (value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("options.", field, ": expected at most ", most, ", got ", value));
}

}  // namespace

absl::StatusOr<ScoreOptions> ReadScoreOptions(const v1::ScoreOptions& options) {
  RETURN_IF_ERROR(CheckAtMost("top_contributors", options.top_contributors(), kMaxTopContributors));
  RETURN_IF_ERROR(CheckAtMost("purification_passes", options.purification_passes(), kMaxPurificationPasses));
  RETURN_IF_ERROR(CheckAtMost("counterfactual", options.counterfactual(), static_cast<uint32_t>(kMaxRepairs)));
  if (options.has_false_discovery_rate() &&
      !(options.false_discovery_rate() > 0 && options.false_discovery_rate() < 1)) {
    return absl::InvalidArgumentError(absl::StrCat("options.false_discovery_rate: expected a number in (0, 1), got ",
                                                   options.false_discovery_rate()));
  }
  ScoreOptions read;
  if (options.has_top_contributors()) read.top_contributors = options.top_contributors();
  read.explain_all = options.explain_all();
  read.reconstruction = options.reconstruction();
  read.code = options.code();
  read.imputation = options.imputation();
  read.purification_passes = options.purification_passes();
  read.score_function = options.score_function();
  read.counterfactual = options.counterfactual();
  return read;
}

absl::Status CheckNoFalseDiscoveryRate(const v1::ScoreOptions& options) {
  if (!options.has_false_discovery_rate()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("options.false_discovery_rate: expected none but with Score, which has "
                   "all rows at once, got ",
                   options.false_discovery_rate()));
}

void SelectDiscoveries(double rate, google::protobuf::RepeatedPtrField<v1::Verdict>* verdicts) {
  std::vector<double> p_values;
  for (const v1::Verdict& verdict : *verdicts) {
    if (verdict.state() == v1::Verdict::SCORED) p_values.push_back(verdict.p_value());
  }
  const double cutoff = FalseDiscoveryCutoff(std::move(p_values), rate);
  for (v1::Verdict& verdict : *verdicts) {
    verdict.set_selected(verdict.state() == v1::Verdict::SCORED && verdict.p_value() <= cutoff);
  }
}

void FillVerdict(const Detector& detector, const ScoreResult& result, size_t i, v1::Verdict* message) {
  const std::vector<std::string>& names = detector.model().pipeline.feature_names();
  const Verdict& verdict = result.verdicts[i];
  message->set_state(ToProto(verdict.state));
  message->set_anomalous(verdict.anomalous);
  message->set_score(verdict.score);
  message->set_error(verdict.error);
  message->set_p_value(verdict.p_value);
  message->set_threshold(verdict.threshold);
  message->set_by_t_squared(verdict.by_t_squared);
  for (const Contribution& from : result.contributions_of(i)) {
    v1::Contribution* contribution = message->add_contributions();
    contribution->set_feature(names[from.feature]);
    contribution->set_share(from.share);
    contribution->set_observed(from.observed);
    contribution->set_expected(from.expected);
    if (!std::isnan(from.repaired_score)) contribution->set_repaired_score(from.repaired_score);
  }
  const RepairStep* steps = result.repairs.data() + i * result.repairs_stride;
  for (uint32_t j = 0; j < verdict.repairs; ++j) {
    message->mutable_repair()->add_features(names[steps[j].feature]);
    message->mutable_repair()->add_scores(steps[j].score);
  }
  const auto add_row = [&](const std::vector<float>& values, google::protobuf::RepeatedField<float>* field) {
    if (!values.empty()) field->Add(values.data() + i * names.size(), values.data() + (i + 1) * names.size());
  };
  add_row(result.reconstruction, message->mutable_reconstruction());
  add_row(result.purified, message->mutable_purified());
  add_row(result.score_function, message->mutable_score_function());
  if (!result.imputed.empty()) {
    v1::Imputation* imputation = message->mutable_imputation();
    add_row(result.imputed, imputation->mutable_row());
    imputation->set_iterations(result.imputations[i].iterations);
    imputation->set_converged(result.imputations[i].converged);
  }
  if (!result.code.empty()) {
    const float* code = result.code.data() + i * detector.code_size();
    message->mutable_code()->Add(code, code + detector.code_size());
  }
}

void FillUnscored(v1::Verdict::State state, v1::Verdict* message) {
  message->set_state(state);
  message->set_p_value(1);
}

}  // namespace astray
