// A calibration as the message of service.proto, for a server's reply and for what is shown of an artifact.
#pragma once

#include "astray/v1/service.pb.h"
#include "engine/detect/calibration.h"

namespace astray {

// All but `live`.
astray::v1::CalibrationSummary SummarizeCalibration(const Calibration& calibration);

}  // namespace astray
