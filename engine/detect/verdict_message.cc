#include "engine/detect/verdict_message.h"

#include <string>
#include <vector>

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

}  // namespace

void FillVerdict(const Detector& detector, const ScoreResult& result, size_t i, v1::Verdict* message) {
  const std::vector<std::string>& names = detector.model().pipeline.feature_names();
  const Verdict& verdict = result.verdicts[i];
  message->set_state(ToProto(verdict.state));
  message->set_anomalous(verdict.anomalous);
  message->set_score(verdict.score);
  message->set_error(verdict.error);
  message->set_p_value(verdict.p_value);
  const Contribution* contributions = result.contributions.data() + i * result.contributions_stride;
  for (uint32_t j = 0; j < verdict.contributions; ++j) {
    v1::Contribution* contribution = message->add_contributions();
    contribution->set_feature(names[contributions[j].feature]);
    contribution->set_share(contributions[j].share);
    contribution->set_observed(contributions[j].observed);
    contribution->set_expected(contributions[j].expected);
  }
  if (!result.reconstruction.empty()) {
    const float* expected = result.reconstruction.data() + i * names.size();
    message->mutable_reconstruction()->Add(expected, expected + names.size());
  }
  if (!result.code.empty()) {
    const float* code = result.code.data() + i * detector.code_size();
    message->mutable_code()->Add(code, code + detector.code_size());
  }
}

void FillWarmingUp(v1::Verdict* message) {
  message->set_state(v1::Verdict::WARMING_UP);
  message->set_p_value(1);
}

}  // namespace astray
