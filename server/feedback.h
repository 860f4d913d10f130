// From a FeedbackRequest to a FeedbackResponse, whatever the transport; and kept feedback as a detector's rows.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "astray/v1/calibration.pb.h"
#include "astray/v1/service.pb.h"
#include "engine/detect/detector.h"
#include "server/detector_registry.h"
#include "server/feedback_store.h"

namespace astray {

// Scores the rows and keeps them, with what was said of them. Writes files. Errors are those of
// DetectionService.Feedback.
absl::Status KeepFeedback(const DetectorRegistry& registry, FeedbackStore* store, const v1::FeedbackRequest& request,
                          v1::FeedbackResponse* response);

// FeedbackRecord.features_sha256 of what this detector scores: its features' names; of a log, which it reads line by
// line, a constant.
std::string FeaturesSha256(const Detector& detector);

// The window [window x features] that the record's verdict would be on, by this detector; nullopt where it has other
// features or a longer window, or the lines are not one session for it.
std::optional<std::vector<float>> FeedbackWindow(const Detector& detector, const v1::FeedbackRecord& record);

}  // namespace astray
