// What `astray evaluate --report` writes: one HTML file that needs nothing beside it, neither a network nor other
// files. It shows the measures, the score over rows with threshold and labels, ROC, precision-recall and calibration
// curves, which features lead flagged rows, and the strongest alarms; of a model of windows measures, score and curves
// in hindsight, too.
#pragma once

#include <string>

#include "astray/v1/evaluation.pb.h"
#include "client/labelled_scoring.h"
#include "engine/detect/detector.h"

namespace astray {

struct ReportInput {
  const Detector& detector;
  const LabelledScores& scores;  // its names, such as a session's key or a timestamp, are shown; numbers without
  const v1::Evaluation& evaluation;
  std::string data_name;  // of the file
};

// About 2 MB at most, however many rows: of many rows the highest and lowest score of some adjacent ones are kept, and
// only the first kMaxReportEntities are drawn. Names of features, files, models and entities are untrusted; the page
// shows them as text.
std::string ReportPage(const ReportInput& input);

// The numbers that the page draws, as JSON in which no '<' occurs. client/report/plot.js says how it is built.
std::string ReportData(const ReportInput& input);

inline constexpr size_t kMaxReportEntities = 60;
inline constexpr size_t kMaxReportColumns = 24000;  // of all entities together

}  // namespace astray
