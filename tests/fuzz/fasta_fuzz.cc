// FASTA made of the input: named sequences of letters, or one short line that says what is wrong.
#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <sstream>

#include "absl/strings/match.h"
#include "engine/data/fasta_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto require = [](bool condition) {
    if (!condition) std::abort();
  };
  std::istringstream input(std::string(reinterpret_cast<const char*>(data), size));
  const auto reader = astray::FastaReader::FromStream(&input, "f.fasta");
  astray::FastaRecord record;
  while (true) {
    const auto more = reader->Next(&record);
    if (!more.ok()) {
      require(absl::StartsWith(more.status().message(), "f.fasta: line ") && more.status().message().size() < 400);
      for (const char c : more.status().message()) require(static_cast<unsigned char>(c) >= ' ' && c != '\x7f');
      require(!*reader->Next(&record));
      return 0;
    }
    if (!*more) return 0;
    require(!record.sequence.empty() && record.sequence.size() <= astray::FastaReader::kMaxSequenceLetters);
    for (const char c : record.sequence) require(c == '-' || c == '*' || (c >= 'A' && c <= 'Z'));
  }
}
