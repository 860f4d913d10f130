#include "engine/data/byte_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/engine/data/gzip.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<std::string> ReadAll(const std::string& bytes) {
  std::istringstream input(bytes);
  const auto source = ByteSource::FromStream(&input, "x");
  std::string all(1, '\0');
  all.clear();
  char buffer[37];  // small and odd, so that every boundary is crossed
  for (;;) {
    const auto got = source->Read(buffer, sizeof(buffer));
    if (!got.ok()) return got.status();
    if (*got == 0) return all;
    all.append(buffer, *got);
  }
}

std::string Text() {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += std::to_string(i * i) + ",";
  return text;
}

TEST(ByteSource, PassesPlainBytesThrough) {
  EXPECT_EQ(*ReadAll(Text()), Text());
  EXPECT_EQ(*ReadAll(""), "");
  EXPECT_EQ(*ReadAll("\x1f"), "\x1f");
}

TEST(ByteSource, InflatesGzipOfOneMemberOrMore) {
  EXPECT_EQ(*ReadAll(Gzip(Text())), Text());
  EXPECT_EQ(*ReadAll(Gzip("ab") + Gzip("cd")), "abcd");
}

TEST(ByteSource, RefusesGzipThatIsCutOffOrDamaged) {
  std::string bytes = Gzip(Text());
  EXPECT_THAT(std::string(ReadAll(bytes.substr(0, bytes.size() - 5)).status().message()), HasSubstr("cut off"));
  EXPECT_THAT(std::string(ReadAll(bytes.substr(0, 4)).status().message()), HasSubstr("cut off"));
  bytes[bytes.size() / 2] ^= 0x55;
  EXPECT_THAT(std::string(ReadAll(bytes).status().message()), HasSubstr("x: gzip: "));
}

TEST(ByteSource, NamesThePathThatItCannotOpen) {
  EXPECT_EQ(ByteSource::Open("/none/such.csv").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(ByteSource::Open("/none/such.csv").status().message()),
              HasSubstr("/none/such.csv: cannot open: No such file"));
  EXPECT_THAT(std::string(ByteSource::Open("/tmp").status().message()), HasSubstr("expected a file, got a folder"));
}

}  // namespace
}  // namespace astray
