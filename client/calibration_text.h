// What a calibration holds beside its threshold, for people.
#pragma once

#include <ostream>
#include <string>

#include "astray/v1/service.pb.h"

namespace astray {

// A line each, "  missing values  ..." with `indent` before it; nothing where there is nothing to say.
void PrintCalibrationDetails(const v1::CalibrationSummary& calibration, const std::string& indent, std::ostream& out);

}  // namespace astray
