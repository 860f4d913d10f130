// A verdict as JSON, by hand where it has what most have: protobuf's own printer takes longer than scoring.
#pragma once

#include <string>

#include "astray/v1/service.pb.h"
#include "engine/data/row.h"

namespace astray {

// {"row": 7, "timestamp": "...", then the verdict's own fields}; no newline. With `entity`, that comes third. The same
// bytes as ToJson (command.h) prints.
void AppendVerdictJson(const Row& row, const v1::Verdict& verdict, bool entity, std::string* out);
std::string VerdictJson(const Row& row, const v1::Verdict& verdict, bool entity);

}  // namespace astray
