// Verdicts of a whole file, kept in a temporary file until all are there, for a selection that takes all of them
// (false_discovery.h). In memory are only the p-values: eight bytes a row. Not thread-safe.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/row_messages.h"

namespace astray {

class VerdictSpool {
 public:
  // Internal where there can be no temporary file.
  static absl::StatusOr<VerdictSpool> Open();

  // `row` has no values.
  void Add(const Row& row, const v1::Verdict& verdict);
  // Once, at the end: every verdict in the order of Add, `selected` at the false discovery rate, in (0, 1). Internal
  // where the temporary file could not take or give them.
  absl::Status Finish(double false_discovery_rate, const ConsumeVerdict& consume);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  explicit VerdictSpool(std::FILE* file) : file_(file) {}
  void WriteText(const std::string& text);
  bool ReadText(std::string* text);

  std::unique_ptr<std::FILE, Close> file_;
  std::vector<double> p_values_;
  uint64_t rows_ = 0;
  std::string buffer_;
};

}  // namespace astray
