#include "engine/detect/calibration_message.h"

#include <cstddef>

namespace astray {
namespace {

void FillTail(const TailFit& tail, v1::TailSummary* message) {
  message->set_start(tail.start());
  message->set_shape(tail.shape());
  message->set_scale(tail.scale());
  message->set_excesses(tail.excesses());
  message->set_p_value(tail.p_value());
}

}  // namespace

v1::CalibrationSummary SummarizeCalibration(const Calibration& calibration) {
  v1::CalibrationSummary summary;
  summary.set_epoch(calibration.epoch());
  summary.set_threshold(calibration.threshold());
  summary.set_false_positive_rate(calibration.false_positive_rate());
  summary.set_samples(calibration.samples());
  summary.set_resolution(calibration.resolution());
  summary.set_created_unix_seconds(calibration.origin().created_unix_seconds);
  if (calibration.autocorrelation_time() > 0) summary.set_effective_samples(calibration.effective_samples());
  summary.set_autocorrelation_time(calibration.autocorrelation_time());
  if (calibration.tail()) FillTail(*calibration.tail(), summary.mutable_tail());
  for (const Calibration::Group& segment : calibration.segments()) {
    v1::SegmentSummary* message = summary.add_segments();
    message->set_name(segment.name);
    message->set_samples(segment.sample.samples());
    message->set_threshold(segment.threshold);
    message->set_own(segment.own);
    if (segment.tail) FillTail(*segment.tail, message->mutable_tail());
    message->set_no_tail_fits(segment.no_tail_fits);
  }
  for (size_t i = 0; i < kMissingLevels; ++i) {
    const Calibration::Group& level = calibration.missing_levels()[i];
    if (level.sample.samples() == 0) continue;
    v1::MissingLevelSummary* message = summary.add_missing_levels();
    message->set_above_share(kMissingShare[i]);
    message->set_up_to_share(kMissingShare[i + 1]);
    message->set_samples(level.sample.samples());
    message->set_threshold(level.threshold);
    message->set_own(level.own);
  }
  summary.set_rank_error(calibration.rank_error());
  summary.set_block_rows(calibration.block_rows());
  return summary;
}

}  // namespace astray
