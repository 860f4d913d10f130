// Reads FASTA (gzip by its magic bytes): a line that begins with '>', the sequence's name and what is said of it, then
// lines of its letters, up to the next such line.
//
//   >seq1 Bacillus subtilis
//   ACGTTGCA
//   GGCTA
//
// Blank lines are passed over. The bytes are untrusted: lines and sequences are capped, and letters are letters, '-' or
// '*'. Errors are InvalidArgument (NotFound for a missing file) and name the line:
//   reads.fasta: line 2: expected letters of a sequence, got "AC7T"
#pragma once

#include <cstddef>
#include <istream>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/data/byte_source.h"
#include "engine/data/line_reader.h"

namespace astray {

struct FastaRecord {
  std::string header;    // the line behind '>'
  std::string sequence;  // in upper case, without line breaks
};

class FastaReader {
 public:
  static constexpr size_t kMaxSequenceLetters = size_t{1} << 24;

  // "-" is standard input; stop_fd is ByteSource's.
  static absl::StatusOr<std::unique_ptr<FastaReader>> Open(const std::string& path, int stop_fd = -1);
  // Reads from `input`, which must outlive the reader; `name` is used in errors.
  static std::unique_ptr<FastaReader> FromStream(std::istream* input, const std::string& name);

  // False at the end. After an error the reader is at its end.
  absl::StatusOr<bool> Next(FastaRecord* record);

 private:
  FastaReader(std::unique_ptr<ByteSource> source, std::string name);
  absl::Status Append(absl::string_view line, FastaRecord* record) const;

  LineReader lines_;
  std::string header_;  // of the next record, once it was seen
  bool has_header_ = false;
};

}  // namespace astray
