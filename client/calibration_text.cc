#include "client/calibration_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/shown_text.h"
#include "engine/detect/tail_fit.h"

namespace astray {
namespace {

constexpr int kMostSegments = 20;

std::string GroupText(double threshold, uint64_t samples, bool own) {
  return absl::StrFormat("threshold %.6g, of %d errors%s", threshold, samples,
                         own ? "" : ": too few for the rate, that of all rows counts");
}

std::string TailText(const v1::TailSummary& tail) {
  return absl::StrFormat("generalised Pareto above %.6g, shape %.3f, scale %.4g, from %d errors (fit p = %.2g)",
                         tail.start(), tail.shape(), tail.scale(), tail.excesses(), tail.p_value());
}

std::string SegmentText(const v1::SegmentSummary& segment) {
  if (segment.has_tail()) {
    return absl::StrCat(GroupText(segment.threshold(), segment.samples(), true),
                        ", by a tail: ", TailText(segment.tail()));
  }
  if (segment.no_tail_fits()) {
    return absl::StrCat(GroupText(segment.threshold(), segment.samples(), true),
                        ": too few for the rate, and no tail fits; that of all rows counts");
  }
  return GroupText(segment.threshold(), segment.samples(), segment.own());
}

// "7 of 9 have a threshold of their own, 2 by a tail"
std::string SegmentsText(const v1::CalibrationSummary& calibration) {
  const auto own = std::ranges::count_if(calibration.segments(), &v1::SegmentSummary::own);
  const auto tails = std::ranges::count_if(calibration.segments(), &v1::SegmentSummary::has_tail);
  return absl::StrFormat("%d of %d have a threshold of their own%s", own, calibration.segments_size(),
                         tails > 0 ? absl::StrFormat(", %d by a tail", tails) : "");
}

}  // namespace

void PrintCalibrationDetails(const v1::CalibrationSummary& calibration, const std::string& indent, std::ostream& out) {
  const auto line = [&](const std::string& name, const std::string& text) {
    out << absl::StrFormat("%s%-24s %s\n", indent, name, text);
  };
  if (calibration.autocorrelation_time() > 0) {
    const bool resolves = calibration.has_tail()
                              ? calibration.effective_samples() >= static_cast<double>(TailFit::kMinSamples)
                              : calibration.false_positive_rate() * (calibration.effective_samples() + 1) >= 1;
    line("effective errors",
         absl::StrFormat("%.0f, as %.1f in a row are worth one%s", calibration.effective_samples(),
                         calibration.autocorrelation_time(),
                         resolves ? "" : ": too few for the rate, which is less sure than it looks"));
  }
  if (calibration.block_rows() > 1)
    line("blocks", absl::StrFormat("one of %d rows each counts", calibration.block_rows()));
  if (calibration.rank_error() > 0) {
    line("rank error", absl::StrFormat("at most %.3g of the errors, on the safe side", calibration.rank_error()));
  }
  if (calibration.has_tail()) {
    line("tail", absl::StrCat("the rate is finer than the errors: ", TailText(calibration.tail())));
  }
  for (const v1::MissingLevelSummary& level : calibration.missing_levels()) {
    line(absl::StrFormat("missing %.0f to %.0f %%", 100 * level.above_share(), 100 * level.up_to_share()),
         GroupText(level.threshold(), level.samples(), level.own()));
  }
  if (calibration.segments_size() > 0) line("segments", SegmentsText(calibration));
  const int shown = std::min(calibration.segments_size(), kMostSegments);
  for (int i = 0; i < shown; ++i) {
    const v1::SegmentSummary& segment = calibration.segments(i);
    line(absl::StrCat("segment ", ShownText(segment.name())), SegmentText(segment));
  }
  if (shown < calibration.segments_size()) {
    line("", absl::StrFormat("and %d more segments (--json has all)", calibration.segments_size() - shown));
  }
}

}  // namespace astray
