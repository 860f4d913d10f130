// The measures of labelled rows and their scores.
#pragma once

#include "astray/v1/evaluation.pb.h"
#include "client/labelled_scoring.h"
#include "engine/detect/detector.h"

namespace astray {

// Whether rows follow each other in time, for this model: it judges windows, or the rows have timestamps.
bool IsTimeOrdered(const Detector& detector, bool has_times);

// time_ordered: measure ranges of rows, too.
v1::Evaluation Evaluate(const Detector& detector, const LabelledScores& scores, bool time_ordered);

}  // namespace astray
