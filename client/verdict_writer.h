// Writes verdicts, one line each: CSV with a header, or JSON lines.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "astray/v1/service.pb.h"
#include "engine/data/row.h"

namespace astray {

enum class VerdictFormat { kCsv, kJsonLines };

class VerdictWriter {
 public:
  VerdictWriter(std::ostream* out, VerdictFormat format, bool anomalies_only)
      : out_(out), format_(format), anomalies_only_(anomalies_only) {}

  // Of the row, number (from 1) and timestamp (as the data has it, may be empty); its entity where entities are shown.
  void Write(const Row& row, const v1::Verdict& verdict);

  void ShowEntities() { entities_ = true; }

 private:
  void WriteCsv(const Row& row, const v1::Verdict& verdict);
  void WriteJson(const Row& row, const v1::Verdict& verdict);

  std::ostream* out_;
  VerdictFormat format_;
  bool anomalies_only_;
  bool entities_ = false;
  bool header_written_ = false;
  std::string line_;
};

}  // namespace astray
