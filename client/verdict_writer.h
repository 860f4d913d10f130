// Writes verdicts, one line each: CSV with a header, or JSON lines.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "astray/v1/service.pb.h"

namespace astray {

enum class VerdictFormat { kCsv, kJsonLines };

class VerdictWriter {
 public:
  VerdictWriter(std::ostream* out, VerdictFormat format, bool anomalies_only)
      : out_(out), format_(format), anomalies_only_(anomalies_only) {}

  // row: from 1; timestamp: as the data has it, may be empty.
  void Write(uint64_t row, const std::string& timestamp, const v1::Verdict& verdict);

 private:
  void WriteCsv(uint64_t row, const std::string& timestamp, const v1::Verdict& verdict);
  void WriteJson(uint64_t row, const std::string& timestamp, const v1::Verdict& verdict);

  std::ostream* out_;
  VerdictFormat format_;
  bool anomalies_only_;
  bool header_written_ = false;
  std::string line_;
};

}  // namespace astray
