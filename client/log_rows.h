// The sessions of a log as rows of numbers, and the labels of sessions.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "astray/v1/recipe.pb.h"
#include "engine/data/dataset.h"
#include "engine/features/log_transform.h"
#include "engine/train/log_training.h"

namespace astray {

// .log, and that and .gz.
bool IsNamedLog(absl::string_view path);

// CSV with a header: the first column is a session's key, a column called label (any case) 1 or anomaly, 0 or normal.
// A key that is there more than once is anomalous where one of its lines says so.
using SessionLabels = absl::flat_hash_map<std::string, bool>;
absl::StatusOr<SessionLabels> ReadSessionLabels(const std::string& path);

// Rows to train on; sessions labelled anomalous are left out. Reads the file twice: "-" is InvalidArgument.
absl::StatusOr<LogTrainingData> ReadTrainingLog(const std::string& path, const v1::LogRecipe& recipe,
                                                const SessionLabels& labels);

// The rows of a model's sessions, with labels.
struct LabelledLog {
  Dataset rows;
  std::vector<std::string> keys;  // of the sessions, beside the rows
  uint64_t lines_without_session = 0;
  uint64_t unlabelled = 0;  // sessions, which count as normal
  uint64_t unused = 0;      // labels whose session never occurs
};
absl::StatusOr<LabelledLog> ReadLabelledLog(const std::string& path, const LogTransform& log,
                                            const SessionLabels& labels);
// The same with the labels of the file that --labels names, and with notes of what does not fit together. A usage error
// where it names none.
absl::StatusOr<LabelledLog> ReadLabelledSessions(const std::string& path, const LogTransform& log,
                                                 const std::string& labels_path, std::ostream& notes);

}  // namespace astray
