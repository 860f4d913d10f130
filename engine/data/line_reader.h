// Lines of text from untrusted bytes, for the readers of formats that go line by line: each is capped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/data/byte_source.h"

namespace astray {

class LineReader {
 public:
  static constexpr size_t kMaxLineBytes = 1 << 20;

  // What becomes of a line over kMaxLineBytes: an error, or its first kMaxLineBytes.
  enum class LongLines { kRefuse, kCut };

  // `name` is used in errors.
  LineReader(std::unique_ptr<ByteSource> source, std::string name, LongLines long_lines = LongLines::kRefuse);

  // The next line without white space around it, valid until the next call; false at the end. After an error it is at
  // its end.
  absl::StatusOr<bool> Next(absl::string_view* line);

  // Nothing more is read.
  void Close();

  // InvalidArgument that names source and line: "live.jsonl: line 7: <text>".
  absl::Status Error(absl::string_view text) const;

 private:
  absl::StatusOr<bool> Find(absl::string_view* line);
  absl::Status Fill();      // reads more behind what is not yet used
  absl::Status SkipRest();  // of a line whose first part was given

  std::unique_ptr<ByteSource> source_;
  std::string name_;
  LongLines long_lines_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
  uint64_t line_ = 0;
  bool at_end_ = false;
  bool skipping_ = false;
};

}  // namespace astray
