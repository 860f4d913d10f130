// Flags of the commands that print verdicts.
#pragma once

#include "astray/v1/service.pb.h"
#include "client/row_source.h"
#include "client/verdict_writer.h"

namespace CLI {
class App;  // <CLI/CLI.hpp> takes seconds: only what adds options includes it
}

namespace astray {

struct VerdictFlags {
  VerdictFormat format = VerdictFormat::kCsv;
  VerdictFilter filter = VerdictFilter::kAll;
  bool explain_all = false;
  uint32_t top_contributors = 3;
  uint32_t counterfactual = 0;

  void Add(CLI::App* command);
  void AddAlarmsOnly(CLI::App* command);  // of rows, not of sessions
  v1::ScoreOptions ToRequest() const;
};

// --input-format
void AddInputFormat(CLI::App* command, RowFormat* format);

}  // namespace astray
