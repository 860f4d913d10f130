#include "client/calibration_text.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>

namespace astray {
namespace {

std::string Text(const v1::CalibrationSummary& calibration) {
  std::ostringstream out;
  PrintCalibrationDetails(calibration, "  ", out);
  return out.str();
}

void AddSegment(const std::string& name, double threshold, uint64_t samples, bool own, v1::CalibrationSummary* to) {
  v1::SegmentSummary* const segment = to->add_segments();
  segment->set_name(name);
  segment->set_threshold(threshold);
  segment->set_samples(samples);
  segment->set_own(own);
}

TEST(CalibrationText, SaysHowEachSegmentCameToItsThreshold) {
  v1::CalibrationSummary calibration;
  EXPECT_EQ(Text(calibration), "");
  AddSegment("idle", 1.25, 2000, true, &calibration);
  EXPECT_EQ(Text(calibration),
            "  segments                 1 of 1 have a threshold of their own\n"
            "  segment idle             threshold 1.25, of 2000 errors\n");
  AddSegment("load", 9.5, 400, true, &calibration);
  v1::TailSummary* const tail = calibration.mutable_segments(1)->mutable_tail();
  tail->set_start(3);
  tail->set_shape(0.125);
  tail->set_scale(2);
  tail->set_excesses(60);
  tail->set_p_value(0.5);
  AddSegment("odd", 2, 500, false, &calibration);
  calibration.mutable_segments(2)->set_no_tail_fits(true);
  AddSegment("rare", 2, 7, false, &calibration);
  EXPECT_EQ(
      Text(calibration),
      "  segments                 2 of 4 have a threshold of their own, 1 by a tail\n"
      "  segment idle             threshold 1.25, of 2000 errors\n"
      "  segment load             threshold 9.5, of 400 errors, by a tail: generalised Pareto above 3, shape 0.125, "
      "scale 2, from 60 errors (fit p = 0.5)\n"
      "  segment odd              threshold 2, of 500 errors: too few for the rate, and no tail fits; that of all rows "
      "counts\n"
      "  segment rare             threshold 2, of 7 errors: too few for the rate, that of all rows counts\n");
}

TEST(CalibrationText, TwentySegmentsAreEnough) {
  v1::CalibrationSummary calibration;
  for (int i = 0; i < 25; ++i) AddSegment("s", 1, 1, false, &calibration);
  const std::string text = Text(calibration);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1 + 20 + 1);
  EXPECT_NE(text.find("  segments                 0 of 25 have"), std::string::npos) << text;
  EXPECT_NE(text.find("and 5 more segments (--json has all)\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace astray
