#include "engine/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

// Runs `work` again and again in a child process and kills it some microseconds after a round has begun. (A child may
// take longer to start than a round takes.)
template <typename Work>
void KillWhileRunning(int rounds, uint64_t microseconds, Work work) {
  int round_began[2];
  ASSERT_EQ(pipe(round_began), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    for (int i = 0;; ++i) {
      if (write(round_began[1], "", 1) != 1) _exit(1);
      work(i);
    }
  }
  close(round_began[1]);
  char byte;
  for (int i = 0; i <= rounds; ++i) ASSERT_EQ(read(round_began[0], &byte, 1), 1);
  usleep(static_cast<useconds_t>(microseconds));
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  close(round_began[0]);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the child failed by itself";
}

TEST(ReadFile, GivesWhatWasWritten) {
  const TemporaryFolder temporary;
  const std::filesystem::path path = temporary.path() / "a";
  const std::string bytes("a\0b\n\xff", 5);
  ASSERT_TRUE(WriteFileAtomically(path, bytes).ok());
  EXPECT_EQ(*ReadFile(path, 5), bytes);
  ASSERT_TRUE(WriteFileAtomically(path, "").ok());
  EXPECT_EQ(*ReadFile(path, 0), "");
}

TEST(ReadFile, RefusesWithThePathAndTheReason) {
  const TemporaryFolder temporary;
  const std::filesystem::path& folder = temporary.path();
  EXPECT_EQ(ReadFile(folder / "none", 10).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(ReadFile(folder / "none", 10).status().message()), HasSubstr("none: cannot open: No such"));
  ASSERT_TRUE(WriteFileAtomically(folder / "big", std::string(11, 'x')).ok());
  EXPECT_THAT(std::string(ReadFile(folder / "big", 10).status().message()),
              HasSubstr("big: expected at most 10 bytes, got 11"));
  EXPECT_THAT(std::string(ReadFile(folder, 10).status().message()), HasSubstr("expected a regular file"));
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  EXPECT_THAT(std::string(ReadFile(folder / "fifo", 10).status().message()), HasSubstr("expected a regular file"));
}

TEST(WriteFileAtomically, LeavesNothingBehindWhereItFails) {
  const TemporaryFolder temporary;
  const std::filesystem::path& folder = temporary.path();
  EXPECT_EQ(WriteFileAtomically(folder / "none" / "a", "x").code(), absl::StatusCode::kNotFound);
  std::filesystem::create_directory(folder / "taken");
  std::filesystem::create_directory(folder / "taken" / "full");
  EXPECT_FALSE(WriteFileAtomically(folder / "taken", "x").ok());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
}

TEST(WriteFileAtomically, AKillAtAnyMomentLeavesTheOldContentOrTheNew) {
  const TemporaryFolder temporary;
  const std::filesystem::path path = temporary.path() / "state";
  const std::string old_content(50000, 'o'), new_content(70000, 'n');
  Random random(1);
  for (int round = 0; round < 40; ++round) {
    ASSERT_TRUE(WriteFileAtomically(path, old_content).ok());
    KillWhileRunning(round % 3, random.UniformInt(3000), [&](int i) {
      if (!WriteFileAtomically(path, i % 2 ? old_content : new_content).ok()) _exit(1);
    });
    const auto content = ReadFile(path, 1 << 20);
    ASSERT_TRUE(content.ok()) << content.status();
    EXPECT_TRUE(*content == old_content || *content == new_content) << "size " << content->size();
  }
}

// A container's process has the same pid in every run, so it comes to the names of a killed one.
TEST(WriteFileAtomically, PassesOverNamesThatAKilledRunLeft) {
  const TemporaryFolder temporary;
  const std::filesystem::path& folder = temporary.path();
  for (int i = 0; i < 2000; ++i) {
    std::ofstream(folder / absl::StrCat(".a.", getpid(), "-", i, ".tmp")) << "stale";
    std::filesystem::create_directory(folder / absl::StrCat(".1.", getpid(), "-", i, ".tmp"));
  }
  ASSERT_TRUE(WriteFileAtomically(folder / "a", "new").ok());
  EXPECT_EQ(*ReadFile(folder / "a", 100), "new");
  auto staged = StagedDirectory::Create(folder / "1");
  ASSERT_TRUE(staged.ok()) << staged.status();
  ASSERT_TRUE(staged->Write("b", "beta").ok());
  ASSERT_TRUE(staged->Commit().ok());
  EXPECT_EQ(*ReadFile(folder / "1" / "b", 100), "beta");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder / "1"), {}), 1);
}

TEST(StagedDirectory, NamesAFileThatIsInItsWay) {
  const TemporaryFolder temporary;
  const std::filesystem::path& folder = temporary.path();
  ASSERT_TRUE(WriteFileAtomically(folder / "models", "not a folder").ok());
  const absl::Status status = StagedDirectory::Create(folder / "models" / "pump" / "1").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("models: cannot create the folder: Not a directory"));
}

TEST(StagedDirectory, BecomesVisibleAllAtOnce) {
  const TemporaryFolder temporary;
  const std::filesystem::path& folder = temporary.path();
  auto staged = StagedDirectory::Create(folder / "deep" / "sub" / "1");
  ASSERT_TRUE(staged.ok()) << staged.status();
  ASSERT_TRUE(staged->Write("a", "alpha").ok());
  EXPECT_FALSE(std::filesystem::exists(folder / "deep" / "sub" / "1"));
  ASSERT_TRUE(staged->Commit().ok());
  EXPECT_EQ(*ReadFile(folder / "deep" / "sub" / "1" / "a", 100), "alpha");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder / "deep" / "sub"), {}), 1);
}

TEST(StagedDirectory, NeverReplacesWhatIsThere) {
  const TemporaryFolder temporary;
  const std::filesystem::path& folder = temporary.path();
  auto first = *StagedDirectory::Create(folder / "1");
  auto second = *StagedDirectory::Create(folder / "1");
  ASSERT_TRUE(first.Write("a", "first").ok());
  ASSERT_TRUE(second.Write("a", "second").ok());
  ASSERT_TRUE(first.Commit().ok());
  EXPECT_EQ(second.Commit().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(*ReadFile(folder / "1" / "a", 100), "first");
}

TEST(StagedDirectory, TakesWhatWasNotCommittedAway) {
  const TemporaryFolder temporary;
  const std::filesystem::path& folder = temporary.path();
  {
    auto staged = *StagedDirectory::Create(folder / "1");
    ASSERT_TRUE(staged.Write("a", "alpha").ok());
    const auto moved = std::move(staged);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST(StagedDirectory, AKillAtAnyMomentLeavesNoHalfFolder) {
  const TemporaryFolder temporary;
  const std::filesystem::path& folder = temporary.path();
  Random random(2);
  for (int round = 0; round < 30; ++round) {
    KillWhileRunning(round % 3, random.UniformInt(4000), [&](int i) {
      auto staged = StagedDirectory::Create(folder / absl::StrCat(round, "-", i));
      if (!staged.ok() || !staged->Write("a", "alpha").ok() || !staged->Write("b", std::string(9000, 'b')).ok() ||
          !staged->Commit().ok()) {
        _exit(1);
      }
    });
  }
  int visible = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().front() == '.') continue;
    ++visible;
    EXPECT_EQ(*ReadFile(entry.path() / "a", 100), "alpha");
    EXPECT_EQ(ReadFile(entry.path() / "b", 10000)->size(), 9000u);
  }
  EXPECT_GE(visible, 30);  // the children had done with none, one or two rounds in turn
}

TEST(AppendToFile, AddsToWhatIsThereAndRefusesAnotherSize) {
  const TemporaryFolder temporary;
  const std::filesystem::path path = temporary.path() / "log";
  EXPECT_TRUE(AppendToFile(path, 0, "one").ok());
  EXPECT_TRUE(AppendToFile(path, 3, "two").ok());
  EXPECT_EQ(*ReadFile(path, 100), "onetwo");
  const absl::Status other = AppendToFile(path, 3, "three");
  EXPECT_EQ(other.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(other.message()), HasSubstr("expected a regular file of 3 bytes, got 6"));
  EXPECT_EQ(AppendToFile(path, 0, "x").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(AppendToFile(path.parent_path() / "none", 3, "x").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(AppendToFile(path.parent_path() / "no" / "folder", 0, "x").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(*ReadFile(path, 100), "onetwo");
}

}  // namespace
}  // namespace astray
