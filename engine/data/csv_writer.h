// Writes a Dataset as CSV: timestamp (if any), features, label (if any), culprits (if any).
// Numbers are the shortest decimal that reads back to the same float; NaN is an empty cell.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/data/dataset.h"

namespace astray {

std::string FormatCsv(const Dataset& dataset);

// Atomically (engine/base/file.h).
absl::Status WriteCsv(const std::string& path, const Dataset& dataset);

// Appends the shortest decimal that reads back to `value`; nothing for NaN.
void AppendFloat(float value, std::string* out);
std::string FormatFloat(float value);

// Appends a cell, quoted where RFC 4180 asks for it.
void AppendCsvCell(absl::string_view text, std::string* out);

}  // namespace astray
