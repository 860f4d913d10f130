// Where verdicts go. To add a sink: a class with these two functions, and a line in MakeVerdictSink
// (commands/stream.cc). Called by one thread at a time.
#pragma once

#include "absl/status/status.h"
#include "astray/v1/service.pb.h"
#include "engine/data/row.h"

namespace astray {

class VerdictSink {
 public:
  virtual ~VerdictSink() = default;
  // Of the row: its number (from 1), timestamp (as the data has it, may be empty) and, where entities are shown,
  // entity. May wait for the receiver.
  virtual absl::Status Write(const Row& row, const v1::Verdict& verdict) = 0;
  // Returns once everything has come to where it is kept. Nothing is written afterwards.
  virtual absl::Status Finish() = 0;
};

}  // namespace astray
