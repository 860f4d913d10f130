#include "engine/base/scratch_vector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>

#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

// Build folders lie on a disk; a temporary folder may lie in memory.
std::string DiskFolder() { return std::filesystem::current_path().string(); }

// Anonymous memory of this process in bytes.
size_t Anonymous() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    size_t kilobytes = 0;
    if (word == "RssAnon:" && status >> kilobytes) return kilobytes << 10;
  }
  return 0;
}

TEST(ScratchVector, GoesOnInAFileWithWhatItHad) {
  const Scratch scratch(DiskFolder(), 1000 * sizeof(int));
  ScratchVector<int> numbers(scratch);
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_TRUE(numbers.ReserveMore(1).ok());
    numbers.push_back(i);
    ASSERT_EQ(numbers.in_file(), i >= 1000) << i;
  }
  for (int i = 0; i < 100'000; ++i) ASSERT_EQ(numbers[static_cast<size_t>(i)], i);
  const ScratchVector<int> moved = std::move(numbers);
  EXPECT_EQ(moved.size(), 100'000u);
  EXPECT_EQ(moved.back(), 99'999);
  const ScratchVector<int> copy = moved;
  EXPECT_FALSE(copy.in_file());
  EXPECT_TRUE(std::equal(copy.begin(), copy.end(), moved.begin()));
}

TEST(ScratchVector, ArraysShareTheMemoryAndGiveItBack) {
  const Scratch scratch(DiskFolder(), 1 << 20);
  {
    ScratchVector<char> first(scratch), second(scratch);
    ASSERT_TRUE(first.Reserve(700'000).ok() && second.Reserve(700'000).ok());
    EXPECT_FALSE(first.in_file());
    EXPECT_TRUE(second.in_file());
  }
  ScratchVector<char> third(scratch);
  ASSERT_TRUE(third.Reserve(1 << 20).ok());
  EXPECT_FALSE(third.in_file());
}

TEST(ScratchVector, AFileIsNoAnonymousMemory) {
  constexpr size_t kBytes = size_t{256} << 20;
  const size_t before = Anonymous();
  ScratchVector<char> bytes(Scratch(DiskFolder(), 0));
  ASSERT_TRUE(bytes.Reserve(kBytes).ok());
  bytes.resize(kBytes, 'x');
  EXPECT_LT(Anonymous(), before + kBytes / 8);
  EXPECT_EQ(bytes[kBytes - 1], 'x');
}

TEST(ScratchVector, LeavesNoFileBehind) {
  const TemporaryFolder temporary(DiskFolder());
  const std::string folder = temporary.path().string();
  ScratchVector<char> bytes(Scratch(folder, 0));
  ASSERT_TRUE(bytes.Reserve(1).ok());
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST(ScratchVector, SaysWhyItHasNoFileAndKeepsWhatItHas) {
  ScratchVector<int> numbers(Scratch("/no/such/folder", 2 * sizeof(int)));
  ASSERT_TRUE(numbers.Reserve(2).ok());
  numbers.push_back(7);
  const absl::Status status = numbers.Reserve(3);
  EXPECT_THAT(std::string(status.message()), HasSubstr("'/no/such/folder': cannot be made: No such file"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--scratch-dir"));
  EXPECT_EQ(numbers[0], 7);
  ScratchVector<int> in_memory(Scratch("/dev/shm", 0));
  EXPECT_THAT(std::string(in_memory.Reserve(1).message()), HasSubstr("expected a folder on a disk"));
  ScratchVector<char> too_much(Scratch(DiskFolder(), 0));
  EXPECT_EQ(too_much.Reserve(size_t{1} << 50).code(), absl::StatusCode::kResourceExhausted);
}

// Of the disk that holds the scratch files.
size_t Free() { return std::filesystem::space(DiskFolder()).available; }

TEST(ScratchVector, LeavesTheReserveOfTheDiskAlone) {
  const TemporaryFolder temporary(DiskFolder());
  const std::string folder = temporary.path().string();
  {
    // What is free is not enough already.
    ScratchVector<int> numbers(Scratch(folder, 2 * sizeof(int), /*reserve_bytes=*/size_t{1} << 60));
    ASSERT_TRUE(numbers.Reserve(2).ok());
    numbers.push_back(7);
    const absl::Status status = numbers.Reserve(3);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()),
                testing::MatchesRegex("scratch file in '" + folder +
                                      "': [0-9]+ MiB are free, 64 MiB more are wanted and 1099511627776 MiB have to "
                                      "stay free; --scratch-dir names another folder"));
    EXPECT_FALSE(numbers.in_file());
    EXPECT_EQ(numbers[0], 7);
  }
  {
    // What is free is enough, but not for all that is wanted: none of it is taken.
    const size_t free = Free();
    ScratchVector<char> bytes(Scratch(folder, 0, /*reserve_bytes=*/free / 2));
    ASSERT_TRUE(bytes.Reserve(1).ok());
    bytes.push_back('x');
    EXPECT_EQ(bytes.Reserve(free / 4 * 3).code(), absl::StatusCode::kResourceExhausted);
    EXPECT_GT(Free(), free / 2);
    EXPECT_EQ(bytes.capacity(), size_t{64} << 20);
    EXPECT_EQ(bytes[0], 'x');
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST(ScratchVector, NamesWhatChoseTheFolder) {
  const char* const asked = std::getenv("TMPDIR");
  const std::string before = asked == nullptr ? "" : asked;
  setenv("TMPDIR", DiskFolder().c_str(), 1);
  ScratchVector<char> bytes(Scratch("", 0, /*reserve_bytes=*/size_t{1} << 60));
  const std::string message(bytes.Reserve(1).message());
  EXPECT_THAT(message, testing::StartsWith("scratch file in '" + DiskFolder() + "': "));
  EXPECT_THAT(message, testing::EndsWith("; --scratch-dir or TMPDIR names another folder"));
  if (asked == nullptr) {
    unsetenv("TMPDIR");
  } else {
    setenv("TMPDIR", before.c_str(), 1);
  }
}

TEST(ScratchVector, WithoutAScratchIsAVector) {
  ScratchVector<float> values = {1, 2, 3};
  values.push_back(4);
  values.resize(6, 5.0f);
  EXPECT_THAT(values, testing::ElementsAre(1, 2, 3, 4, 5, 5));
  values.assign(2, 9.0f);
  EXPECT_THAT(values, testing::ElementsAre(9, 9));
  EXPECT_TRUE((values == ScratchVector<float>{9, 9}));
  EXPECT_FALSE((values == ScratchVector<float>{9, 9, 9}));
}

}  // namespace
}  // namespace astray
