#include "engine/data/follow_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "engine/data/csv_reader.h"
#include "engine/data/json_lines_reader.h"
#include "engine/data/line_reader.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FollowSourceTest : public testing::Test {
 protected:
  ~FollowSourceTest() override { close(stop_); }
  void Append(const std::string& text) const { std::ofstream(path_, std::ios::app) << text; }
  void Rotate() const { std::filesystem::rename(path_, path_ + ".1"); }

  // Reads until as many bytes have come.
  static std::string Read(FollowSource* source, size_t size) {
    std::string text;
    while (text.size() < size) {
      char buffer[64];
      const auto got = source->Read(buffer, std::min(sizeof(buffer), size - text.size()));
      if (!got.ok()) return absl::StrCat(text, got.status().ToString());
      text.append(buffer, *got);
    }
    return text;
  }

  const int stop_ = eventfd(0, EFD_CLOEXEC);
  const TemporaryFolder folder_;
  const std::string path_ = (folder_.path() / "live.csv").string();
};

TEST_F(FollowSourceTest, WaitsForTheFileAndForMore) {
  FollowSource source(path_, stop_);
  std::thread writer([&] { Append("one\n"); });
  EXPECT_EQ(Read(&source, 4), "one\n");
  writer.join();
  std::thread again([&] { Append("two\n"); });
  EXPECT_EQ(Read(&source, 4), "two\n");
  again.join();
}

TEST_F(FollowSourceTest, GoesOnAcrossARotationByRename) {
  Append("one\n");
  FollowSource source(path_, stop_);
  EXPECT_EQ(Read(&source, 4), "one\n");
  Append("two\n");
  Rotate();
  std::ofstream(path_ + ".1", std::ios::app) << "three\n";  // its writer was not done
  Append("four\n");
  EXPECT_EQ(Read(&source, 15), "two\nthree\nfour\n");
  Rotate();
  std::thread later([&] { Append("five\n"); });
  EXPECT_EQ(Read(&source, 5), "five\n");
  later.join();
}

TEST_F(FollowSourceTest, WaitsWhileTheFileIsAway) {
  Append("one\n");
  FollowSource source(path_, stop_);
  EXPECT_EQ(Read(&source, 4), "one\n");
  Rotate();
  // Until there is a new one, the old one still is the file.
  std::ofstream(path_ + ".1", std::ios::app) << "two\n";
  EXPECT_EQ(Read(&source, 4), "two\n");
  Append("three\n");
  EXPECT_EQ(Read(&source, 6), "three\n");
}

TEST_F(FollowSourceTest, ReadsATruncatedFileFromItsBeginning) {
  Append("one\ntwo\n");
  FollowSource source(path_, stop_);
  EXPECT_EQ(Read(&source, 8), "one\ntwo\n");
  std::filesystem::resize_file(path_, 0);
  Append("three\n");
  EXPECT_EQ(Read(&source, 6), "three\n");
}

TEST_F(FollowSourceTest, EndsALineThatWasCut) {
  Append("one\ntw");
  FollowSource source(path_, stop_);
  EXPECT_EQ(Read(&source, 6), "one\ntw");
  Rotate();
  Append("three\nfo");
  EXPECT_EQ(Read(&source, 9), "\nthree\nfo");
  std::filesystem::resize_file(path_, 0);
  Append("five\n");
  EXPECT_EQ(Read(&source, 6), "\nfive\n");
}

TEST_F(FollowSourceTest, StopsWhileItWaits) {
  for (const bool there : {false, true}) {
    if (there) Append("");
    FollowSource source(path_, stop_);
    std::thread stopper([&] { eventfd_write(stop_, 1); });
    char byte = 0;
    EXPECT_TRUE(absl::IsCancelled(source.Read(&byte, 1).status()));
    stopper.join();
    eventfd_t count = 0;
    eventfd_read(stop_, &count);
  }
}

TEST_F(FollowSourceTest, RefusesWhatCannotBeFollowed) {
  char buffer[16];
  Append("\x1f\x8b\x08");
  EXPECT_EQ(FollowSource(path_, stop_).Read(buffer, 16).status(),
            absl::InvalidArgumentError(path_ + ": expected text to follow, got gzip"));
  const std::string pipe = folder_.path() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(FollowSource(pipe, stop_).Read(buffer, 16).status(),
            absl::InvalidArgumentError(pipe + ": expected a regular file to follow"));
  EXPECT_EQ(ByteSource::Open("-", stop_, true).status(),
            absl::InvalidArgumentError("standard input: expected a file to follow"));
}

TEST_F(FollowSourceTest, LinesOfManyFilesAreOneStream) {
  Append("one\ntw");
  LineReader lines(*ByteSource::Open(path_, stop_, true), "live");
  absl::string_view line;
  ASSERT_TRUE(*lines.Next(&line));
  EXPECT_EQ(line, "one");
  Rotate();
  Append("three\n");
  for (const absl::string_view expected : {"tw", "three"}) {
    ASSERT_TRUE(*lines.Next(&line));
    EXPECT_EQ(line, expected);
  }
}

TEST_F(FollowSourceTest, CsvPassesTheHeaderOfANewFileOver) {
  Append("time,flow,pressure\nt0,1,2\n");
  CsvOptions options{.feature_names = {"pressure", "flow"}, .stop_fd = stop_, .follow = true};
  const auto reader = *CsvReader::Open(path_, options);
  Row row;
  ASSERT_TRUE(*reader->Next(&row));
  Rotate();
  Append("\xef\xbb\xbftime,\"flow\",pressure\r\nt1,3,4\n");
  ASSERT_TRUE(*reader->Next(&row));
  EXPECT_EQ(row.number, 2u);
  EXPECT_THAT(row.values, ElementsAre(4, 3));
  std::filesystem::resize_file(path_, 0);
  Append("t2,5,6\n");  // a program that was not told writes no header
  ASSERT_TRUE(*reader->Next(&row));
  EXPECT_THAT(row.values, ElementsAre(6, 5));
  Rotate();
  Append("time,pressure,flow\nt3,1,2\n");
  EXPECT_EQ(reader->Next(&row).status(),
            absl::InvalidArgumentError(path_ + ": row 4: expected the header that the file began with, time, flow, "
                                               "pressure, got another: time, pressure, flow"));
}

TEST_F(FollowSourceTest, JsonLinesGoOnAcrossARotation) {
  Append("{\"flow\": 1}\n");
  const auto reader = *JsonLinesReader::Open(path_, {"flow"}, stop_, "", true);
  Row row;
  ASSERT_TRUE(*reader->Next(&row));
  Rotate();
  Append("{\"flow\": 2}\noops\n");
  ASSERT_TRUE(*reader->Next(&row));
  EXPECT_THAT(row.values, ElementsAre(2));
  EXPECT_THAT(reader->Next(&row).status().message(), HasSubstr("line 3: expected a JSON object, got oops"));
}

}  // namespace
}  // namespace astray
