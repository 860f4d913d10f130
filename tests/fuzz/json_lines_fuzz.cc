// JSON lines made of the input: rows of finite numbers or NaN, or one short line that says what is wrong.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <sstream>

#include "absl/strings/match.h"
#include "engine/data/json_lines_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto require = [](bool condition) {
    if (!condition) std::abort();
  };
  std::istringstream input(std::string(reinterpret_cast<const char*>(data), size));
  const auto reader = astray::JsonLinesReader::FromStream(&input, "f.jsonl", {"a", "b"});
  astray::Row row;
  for (uint64_t number = 1;; ++number) {
    const auto more = reader->Next(&row);
    if (!more.ok()) {
      require(absl::StartsWith(more.status().message(), "f.jsonl: ") && more.status().message().size() < 300);
      for (const char c : more.status().message()) require(static_cast<unsigned char>(c) >= ' ' && c != '\x7f');
      require(!*reader->Next(&row));
      return 0;
    }
    if (!*more) return 0;
    require(row.number == number && row.values.size() == 2);
    for (const float value : row.values) require(!std::isinf(value));
  }
}
