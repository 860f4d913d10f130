#include "server/feedback_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <functional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/base/file.h"
#include "server/feedback_log.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

v1::FeedbackRecord MakeRecord(int number, v1::FeedbackRecord::Kind kind = v1::FeedbackRecord::FALSE_ALARM) {
  v1::FeedbackRecord record;
  record.set_kind(kind);
  record.set_features_sha256(std::string(32, 'f'));
  record.set_features(3);
  for (int i = 0; i < 6; ++i) record.add_values(static_cast<float>(number) + 0.25f * static_cast<float>(i));
  record.set_id(absl::StrCat("r", number));
  return record;
}

std::vector<std::string> Ids(const std::vector<v1::FeedbackRecord>& records) {
  std::vector<std::string> ids;
  for (const v1::FeedbackRecord& record : records) ids.push_back(record.id());
  return ids;
}

class FeedbackStoreTest : public testing::Test {
 protected:
  FeedbackStoreTest() { std::filesystem::create_directory(base_ / "pump"); }
  FeedbackStore Open(const FeedbackStore::Options& options = {}) const { return FeedbackStore(base_, options); }
  std::filesystem::path Log(int number) const { return base_ / "pump/feedback" / absl::StrCat(number, ".log"); }
  std::string Bytes(int number) const { return *ReadFile(Log(number), 1 << 24); }
  std::vector<std::string> Read() const {
    FeedbackStore store(base_, {});
    const auto records = store.Read("pump");
    EXPECT_TRUE(records.ok()) << records.status();
    return Ids(*records);
  }

  const TemporaryFolder folder_;
  const std::filesystem::path base_ = folder_.path();
};

TEST_F(FeedbackStoreTest, RecordsComeBackAsTheyWereKept) {
  FeedbackStore store(base_, {});
  EXPECT_EQ(store.Summary("pump")->false_alarms(), 0u);
  EXPECT_TRUE(store.Read("pump")->empty());
  v1::FeedbackRecord lines = MakeRecord(2, v1::FeedbackRecord::CONFIRMED_ANOMALY);
  lines.clear_values();
  lines.add_lines(std::string("\0\xff line", 7));
  for (const v1::FeedbackRecord& record : {MakeRecord(1), lines}) {
    const auto added = store.Add("pump", record);
    ASSERT_TRUE(added.ok()) << added.status();
    EXPECT_FALSE(added->known);
  }
  FeedbackStore again(base_, {});
  const auto records = again.Read("pump");
  ASSERT_TRUE(records.ok());
  ASSERT_EQ(records->size(), 2u);
  EXPECT_EQ((*records)[0].SerializeAsString(), MakeRecord(1).SerializeAsString());
  EXPECT_EQ((*records)[1].SerializeAsString(), lines.SerializeAsString());
  EXPECT_EQ(again.Summary("pump")->false_alarms(), 1u);
  EXPECT_EQ(again.Summary("pump")->confirmed_anomalies(), 1u);
  EXPECT_EQ(again.Summary("pump")->bytes(), Bytes(1).size());
}

TEST_F(FeedbackStoreTest, OfRecordsOnTheSameRowsTheNewestCounts) {
  FeedbackStore store(base_, {});
  ASSERT_TRUE(store.Add("pump", MakeRecord(1)).ok());
  v1::FeedbackRecord repeated = MakeRecord(1);
  repeated.set_note("sent again");
  EXPECT_TRUE(store.Add("pump", repeated)->known);
  EXPECT_EQ(store.Add("pump", MakeRecord(2))->kept.false_alarms(), 2u);
  const auto changed = store.Add("pump", MakeRecord(1, v1::FeedbackRecord::CONFIRMED_ANOMALY));
  EXPECT_FALSE(changed->known);
  EXPECT_EQ(changed->kept.false_alarms(), 1u);
  EXPECT_EQ(changed->kept.confirmed_anomalies(), 1u);
  EXPECT_THAT(Read(), ElementsAre("r2", "r1"));
  EXPECT_EQ(Open().Summary("pump")->false_alarms(), 1u);
}

TEST_F(FeedbackStoreTest, TheSegmentIsKeptAndTheLastOneSaidCounts) {
  FeedbackStore store(base_, {});
  ASSERT_TRUE(store.Add("pump", MakeRecord(1)).ok());
  v1::FeedbackRecord record = MakeRecord(1);
  record.set_segment("night");
  const auto moved = store.Add("pump", record);
  EXPECT_FALSE(moved->known) << "the same rows and kind, but nothing was said of their segment";
  EXPECT_EQ(moved->kept.false_alarms(), 1u);
  EXPECT_TRUE(store.Add("pump", record)->known);
  EXPECT_EQ(store.Read("pump")->back().segment(), "night");
  EXPECT_TRUE(Open().Add("pump", record)->known) << "from the files as well";
  record.set_segment("day");
  EXPECT_FALSE(Open().Add("pump", record)->known);
  FeedbackStore last(base_, {});
  const auto records = last.Read("pump");
  ASSERT_EQ(records->size(), 1u);
  EXPECT_EQ(records->front().SerializeAsString(), record.SerializeAsString());
}

// What a server wrote that knew no segments.
TEST_F(FeedbackStoreTest, AnOlderFileIsReadAndGoesOn) {
  const std::string old = absl::HexStringToBytes(
      "415354524159463146424b0a42000000a40f0120835a59c60529cee94a65e051080112206666666666666666666666666666"
      "666666666666666666666666666666666666180222100000803f000020400000c07f000080403202696442046e6f74654642"
      "4b0a44000000ee1160e651ef04ee4a901b47bb99430e08021220666666666666666666666666666666666666666666666666"
      "66666666666666662a086c696e65206f6e652a0a6c696e6520ff2074776f3202696442046e6f7465");
  std::filesystem::create_directory(Log(1).parent_path());
  std::ofstream(Log(1), std::ios::binary) << old;
  FeedbackStore store(base_, {});
  const auto records = store.Read("pump");
  ASSERT_TRUE(records.ok()) << records.status();
  ASSERT_EQ(records->size(), 2u);
  for (const v1::FeedbackRecord& record : *records) EXPECT_EQ(record.segment(), "");
  EXPECT_EQ(store.Summary("pump")->damaged_records(), 0u);
  v1::FeedbackRecord record = MakeRecord(7);
  record.set_segment("night");
  ASSERT_TRUE(store.Add("pump", record).ok());
  EXPECT_EQ(Bytes(1).substr(0, old.size()), old) << "appended to";
  EXPECT_EQ(Open().Summary("pump")->damaged_records(), 0u);
  FeedbackStore again(base_, {});
  EXPECT_EQ(again.Read("pump")->back().segment(), "night");
}

TEST_F(FeedbackStoreTest, TheOldestFileGoesWhereThereAreTooMany) {
  const FeedbackStore::Options options{.max_records = 10, .max_bytes = 1 << 20, .file_records = 4};
  FeedbackStore store(base_, options);
  for (int i = 1; i <= 50; ++i) {
    const auto added = store.Add("pump", MakeRecord(i));
    ASSERT_TRUE(added.ok());
    EXPECT_LE(added->kept.false_alarms(), 10u);
    EXPECT_GE(added->kept.false_alarms(), std::min<uint64_t>(static_cast<uint64_t>(i), 7));
  }
  const std::vector<std::string> kept = Read();
  EXPECT_EQ(kept.back(), "r50");
  EXPECT_EQ(kept.front(), absl::StrCat("r", 51 - kept.size()));
  FeedbackStore again(base_, options);
  const uint64_t now = again.Add("pump", MakeRecord(51))->kept.false_alarms();
  EXPECT_EQ(now, again.Read("pump")->size());
  // By bytes, with one file that is too much by itself.
  const uint64_t size = kFeedbackMagic.size() + FrameFeedback(MakeRecord(1))->size();
  FeedbackStore small(base_, {.max_bytes = size + 10});
  for (int i = 60; i < 65; ++i) {
    ASSERT_TRUE(small.Add("pump", MakeRecord(i)).ok());
    EXPECT_LE(small.Summary("pump")->bytes(), size + 10);
  }
  EXPECT_THAT(Read(), ElementsAre("r64"));
}

// Half a record at the end, at every byte: what was acknowledged is there, and the next one is kept.
TEST_F(FeedbackStoreTest, TornAtAnyByteItKeepsWhatWasBeforeAndGoesOn) {
  FeedbackStore store(base_, {});
  ASSERT_TRUE(store.Add("pump", MakeRecord(1)).ok());
  const size_t whole = Bytes(1).size();
  ASSERT_TRUE(store.Add("pump", MakeRecord(2)).ok());
  const std::string good = Bytes(1);
  for (size_t size = 0; size < good.size(); ++size) {
    std::filesystem::remove_all(base_ / "pump/feedback");
    ASSERT_TRUE(CreateFolder(base_ / "pump/feedback").ok());
    ASSERT_TRUE(WriteFileAtomically(Log(1), good.substr(0, size)).ok());
    FeedbackStore torn(base_, {});
    ASSERT_TRUE(torn.Add("pump", MakeRecord(3)).ok());
    EXPECT_EQ(Bytes(1).substr(0, size), good.substr(0, size));  // never changed
    std::vector<std::string> expected = {"r3"};
    if (size >= whole) expected.insert(expected.begin(), "r1");
    EXPECT_EQ(Read(), expected) << size;
    EXPECT_EQ(std::filesystem::exists(Log(2)), size != whole && size != kFeedbackMagic.size()) << size;
  }
}

TEST_F(FeedbackStoreTest, AFlippedBitCostsTheRecordThatItIsIn) {
  FeedbackStore store(base_, {});
  std::vector<size_t> ends = {kFeedbackMagic.size()};
  for (int i = 1; i <= 3; ++i) {
    ASSERT_TRUE(store.Add("pump", MakeRecord(i)).ok());
    ends.push_back(Bytes(1).size());
  }
  const std::string good = Bytes(1);
  for (size_t byte = 0; byte < good.size(); ++byte) {
    for (const int bit : {0, 3, 7}) {
      std::string bad = good;
      bad[byte] = static_cast<char>(bad[byte] ^ (1 << bit));
      ASSERT_TRUE(WriteFileAtomically(Log(1), bad).ok());
      std::vector<std::string> expected;
      for (size_t i = 1; i <= 3; ++i) {
        const bool hit = byte < ends[0] || (byte >= ends[i - 1] && byte < ends[i]);
        if (!hit) expected.push_back(absl::StrCat("r", i));
      }
      EXPECT_EQ(Read(), expected) << byte;
      EXPECT_GE(Open().Summary("pump")->damaged_records(), 1u);
    }
  }
}

TEST_F(FeedbackStoreTest, BadRecordsAreRefusedByField) {
  FeedbackStore store(base_, {});
  const auto message = [&](const std::function<void(v1::FeedbackRecord*)>& change) {
    v1::FeedbackRecord record = MakeRecord(1);
    change(&record);
    const absl::Status status = store.Add("pump", record).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_EQ(message([](auto* r) { r->clear_kind(); }), "kind: expected FALSE_ALARM or CONFIRMED_ANOMALY");
  EXPECT_EQ(message([](auto* r) { r->set_note(std::string(2000, 'x')); }),
            "note: expected at most 1024 bytes, got 2000");
  EXPECT_EQ(message([](auto* r) { r->set_entity(std::string(257, 'x')); }),
            "entity: expected at most 256 bytes, got 257");
  EXPECT_EQ(message([](auto* r) { r->set_segment(std::string(257, 'x')); }),
            "segment: expected at most 256 bytes, got 257");
  EXPECT_EQ(message([](auto* r) { r->set_features(4); }), "values: expected a multiple of 4 numbers, got 6");
  EXPECT_EQ(message([](auto* r) { r->add_lines("x"); }), "values: expected either values or lines, got both or none");
  EXPECT_THAT(message([](auto* r) { r->set_values(1, INFINITY); }), HasSubstr("got an infinity"));
  EXPECT_THAT(message([](auto* r) { r->set_time_unix_seconds(NAN); }), HasSubstr("time_unix_seconds: expected"));
  EXPECT_THAT(message([](auto* r) {
                r->clear_values();
                r->add_lines(std::string(2 << 20, 'x'));
              }),
              HasSubstr("record: expected at most 1048576 bytes"));
  EXPECT_FALSE(std::filesystem::exists(Log(1)));
}

TEST_F(FeedbackStoreTest, AFolderThatCannotBeWrittenIsAFailedPrecondition) {
  FeedbackStore store(base_, {});
  const absl::Status gone = store.Add("valve", MakeRecord(1)).status();
  EXPECT_EQ(gone.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(gone.message()), HasSubstr("feedback cannot be kept: "));
  std::ofstream(base_ / "pump/feedback") << "a file where the folder should be";
  EXPECT_EQ(store.Add("pump", MakeRecord(1)).status().code(), absl::StatusCode::kFailedPrecondition);
  std::filesystem::remove(base_ / "pump/feedback");
  EXPECT_TRUE(store.Add("pump", MakeRecord(1)).ok());  // no restart needed
}

// A full disk, as a limit on the size of files in a process of its own.
TEST_F(FeedbackStoreTest, AWriteThatFailsHalfWayLosesNothingAndLeavesNothing) {
  FeedbackStore store(base_, {});
  ASSERT_TRUE(store.Add("pump", MakeRecord(1)).ok());
  const std::string before = Bytes(1);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{before.size() + 20, before.size() + 20};
    setrlimit(RLIMIT_FSIZE, &limit);
    FeedbackStore full(base_, {});
    for (int i = 2; i < 6; ++i) {
      if (full.Add("pump", MakeRecord(i)).status().code() != absl::StatusCode::kFailedPrecondition) _exit(1);
    }
    // A file of its own does not fit either.
    v1::FeedbackRecord large = MakeRecord(7);
    large.set_note(std::string(1000, 'x'));
    FeedbackStore fresh(base_, {.file_records = 1});
    _exit(fresh.Add("pump", large).ok() ? 2 : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(Bytes(1), before);
  EXPECT_FALSE(std::filesystem::exists(Log(2)));
  EXPECT_THAT(Read(), ElementsAre("r1"));
}

// A process that keeps one record after the other is killed at moments that differ.
TEST_F(FeedbackStoreTest, KilledAtAnyMomentItHasWhatItAcknowledged) {
  const FeedbackStore::Options options{.file_records = 5};
  int acknowledged = 0, next = 1;
  for (int round = 0; round < 30; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(pipe_ends[0]);
      FeedbackStore store(base_, options);
      for (int i = next;; ++i) {
        if (!store.Add("pump", MakeRecord(i)).ok()) _exit(1);
        if (write(pipe_ends[1], &i, sizeof(i)) < 0) _exit(2);
      }
    }
    close(pipe_ends[1]);
    for (int i = 0; i <= round % 7; ++i) {
      ASSERT_EQ(read(pipe_ends[0], &acknowledged, sizeof(acknowledged)), static_cast<ssize_t>(sizeof(acknowledged)));
    }
    for (volatile int spin = 0; spin < round * 20000;) spin = spin + 1;
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    int late = 0;
    while (read(pipe_ends[0], &late, sizeof(late)) == static_cast<ssize_t>(sizeof(late))) acknowledged = late;
    close(pipe_ends[0]);

    const std::vector<std::string> ids = Read();
    ASSERT_GE(ids.size(), static_cast<size_t>(acknowledged));
    ASSERT_LE(ids.size(), static_cast<size_t>(acknowledged) + 1);
    for (size_t i = 0; i < ids.size(); ++i) ASSERT_EQ(ids[i], absl::StrCat("r", i + 1));
    next = static_cast<int>(ids.size()) + 1;
  }
  EXPECT_GT(acknowledged, 30);
}

TEST_F(FeedbackStoreTest, FollowsAFolderThatChangesUnderIt) {
  FeedbackStore store(base_, {});
  ASSERT_TRUE(store.Add("pump", MakeRecord(1)).ok());
  std::filesystem::remove_all(base_ / "pump/feedback");
  const auto added = store.Add("pump", MakeRecord(2));
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_EQ(added->kept.false_alarms(), 1u);
  EXPECT_THAT(Read(), ElementsAre("r2"));
}

// Bytes that look like many frames do not take for ever, whatever they say of their length.
TEST(FeedbackLog, GivesUpWhereAllIsDamaged) {
  std::string bytes(kFeedbackMagic);
  for (int i = 0; i < 200000; ++i) bytes += std::string("FBK\n\xff\xff\x0f\x00", 8);
  const FeedbackLog log = ParseFeedbackLog(bytes);
  EXPECT_TRUE(log.records.empty());
  EXPECT_FALSE(log.clean);
  EXPECT_EQ(log.damaged, 100u);
}

}  // namespace
}  // namespace astray
