#include "engine/detect/entity_streams.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"

namespace astray {
namespace {

std::unique_ptr<EntityStreams::Exchange> Exchange(v1::ScoreStreamRequest request,
                                                  absl::Time arrival = absl::UnixEpoch()) {
  auto exchange = std::make_unique<EntityStreams::Exchange>();
  exchange->request = std::move(request);
  exchange->arrival = arrival;
  return exchange;
}

// A stream of one feature whose score is the sum of a window, weighed by place: any wrong row or order shows.
class Stream {
 public:
  explicit Stream(size_t window, const StreamPolicy& policy = {}) : window_(window), streams_(1, window, policy) {}

  void Add(const std::string& entity, const std::vector<float>& values, const std::vector<double>& times = {},
           bool replay = false, const v1::Alarm& alarm = {}) {
    v1::ScoreStreamRequest request;
    request.set_entity(entity);
    request.set_id(absl::StrCat("m", messages_++));
    request.mutable_values()->Add(values.begin(), values.end());
    request.mutable_time_unix_seconds()->Add(times.begin(), times.end());
    request.set_replay(replay);
    *request.mutable_alarm() = alarm;
    ASSERT_TRUE(streams_.Check(request).ok());
    streams_.Add(Exchange(std::move(request), absl::UnixEpoch() + absl::Seconds(messages_)));
  }

  std::vector<std::unique_ptr<EntityStreams::Exchange>> Score() {
    for (const EntityStreams::Piece& piece : streams_.Pieces()) {
      EXPECT_EQ(piece.rows.size(), piece.verdicts.size() + window_ - 1);
      for (size_t i = 0; i < piece.verdicts.size(); ++i) {
        piece.verdicts[i]->set_score(Sum(piece.rows.subspan(i, window_)));
        scored_ += piece.replay ? 0 : 1;
      }
    }
    return streams_.Finish();
  }

  static float Sum(std::span<const float> rows) {
    float sum = 0;
    for (size_t k = 0; k < rows.size(); ++k) sum += rows[k] * static_cast<float>(k + 1);
    return sum;
  }

  EntityStreams& streams() { return streams_; }
  size_t scored() const { return scored_; }

 private:
  size_t window_;
  EntityStreams streams_;
  int messages_ = 0;
  size_t scored_ = 0;
};

std::vector<float> ValuesOf(size_t first, size_t count) {
  std::vector<float> values;
  for (size_t i = 0; i < count; ++i) values.push_back(static_cast<float>((first + i) * 37 % 101) / 101);
  return values;
}

// "w" for each row that warms up, "l" late, "d" duplicate, and scores.
std::string Shown(const std::vector<std::unique_ptr<EntityStreams::Exchange>>& replies) {
  std::string text;
  for (const auto& reply : replies) {
    absl::StrAppend(&text, reply->response.id(), ":");
    for (const v1::Verdict& verdict : reply->response.verdicts()) {
      if (verdict.state() == v1::Verdict::SCORED) absl::StrAppend(&text, verdict.score(), " ");
      if (verdict.state() == v1::Verdict::WARMING_UP) text += "w ";
      if (verdict.state() == v1::Verdict::LATE) text += "l ";
      if (verdict.state() == v1::Verdict::DUPLICATE) text += "d ";
    }
  }
  return text;
}

TEST(EntityStreams, APieceIsOfOneSegmentAndItsWindowsGoOn) {
  EntityStreams streams(1, 3, StreamPolicy());
  float next = 0;
  for (const char* segment : {"idle", "idle", "load", "idle"}) {
    v1::ScoreStreamRequest request;
    request.set_entity("pump");
    request.set_segment(segment);
    for (int i = 0; i < 3; ++i) request.add_values(next++);
    ASSERT_TRUE(streams.Check(request).ok());
    streams.Add(Exchange(std::move(request)));
  }
  std::string shown;
  for (const EntityStreams::Piece& piece : streams.Pieces()) {
    absl::StrAppend(&shown, piece.segment, " ", piece.rows.front(), "-", piece.rows.back(), ", ");
  }
  // With the two rows before them, whatever segment those were of.
  EXPECT_EQ(shown, "idle 0-5, load 4-8, idle 7-11, ");
  EXPECT_EQ(streams.Finish().size(), 4u);
}

TEST(EntityStreams, InterleavedRowsHaveTheScoresOfEachEntityAlone) {
  constexpr size_t kEntities = 40, kRows = 60, kWindow = 5;
  Stream stream(kWindow);
  Random random(1, 0);
  std::vector<size_t> sent(kEntities, 0), answered(kEntities, 0);
  for (int round = 0; round < 400; ++round) {
    const size_t requests = 1 + random.UniformInt(20);
    for (size_t i = 0; i < requests; ++i) {
      const size_t entity = random.UniformInt(kEntities);
      const size_t rows = std::min<size_t>(1 + random.UniformInt(3), kRows - sent[entity]);
      if (rows == 0) continue;
      stream.Add(absl::StrCat(entity), ValuesOf(entity * 1000 + sent[entity], rows));
      sent[entity] += rows;
    }
    for (const auto& reply : stream.Score()) {
      const size_t entity = static_cast<size_t>(std::stoi(reply->response.entity()));
      for (const v1::Verdict& verdict : reply->response.verdicts()) {
        const size_t row = answered[entity]++;
        if (row + 1 < kWindow) {
          ASSERT_EQ(verdict.state(), v1::Verdict::WARMING_UP);
        } else {
          ASSERT_EQ(verdict.score(), Stream::Sum(ValuesOf(entity * 1000 + row + 1 - kWindow, kWindow)));
        }
      }
    }
  }
  EXPECT_EQ(answered, std::vector<size_t>(kEntities, kRows));
}

TEST(EntityStreams, RowsThatOvertookEachOtherHaveTheVerdictsOfTheSortedStream) {
  constexpr size_t kRows = 300, kWindow = 4;
  Random random(2, 0);
  std::vector<std::pair<double, size_t>> arrivals;
  for (size_t row = 0; row < kRows; ++row)
    arrivals.emplace_back(static_cast<double>(row) + 2.9 * random.Uniform(), row);
  std::ranges::sort(arrivals);
  ASSERT_FALSE(std::ranges::is_sorted(arrivals, {}, [](const auto& a) { return a.second; }));
  Stream stream(kWindow, {.tolerance_seconds = 3});
  std::vector<std::unique_ptr<EntityStreams::Exchange>> replies;
  const auto take = [&] {
    for (auto& reply : stream.Score()) replies.push_back(std::move(reply));
  };
  for (const auto& [when, row] : arrivals) {
    stream.Add("pump", ValuesOf(row, 1), {static_cast<double>(row)});
    if (random.UniformInt(4) == 0) take();
  }
  EXPECT_LT(replies.size(), kRows) << "the last ones wait";
  stream.streams().ReleaseAll();
  take();
  ASSERT_EQ(replies.size(), kRows);
  for (size_t row = 0; row < kRows; ++row) {
    ASSERT_EQ(replies[row]->newest_unix_seconds, static_cast<double>(row))
        << "an entity's replies come in its rows' order";
    if (row + 1 < kWindow) continue;
    ASSERT_EQ(replies[row]->response.verdicts(0).score(), Stream::Sum(ValuesOf(row + 1 - kWindow, kWindow)));
  }
  EXPECT_EQ(stream.streams().counts().late_rows, 0u);
}

TEST(EntityStreams, LateAndRepeatedRowsEnterNoWindow) {
  Stream stream(2);
  stream.Add("a", {1, 2}, {10, 11});
  stream.Add("a", {50, 60, 3}, {10, 10.5, 12});
  EXPECT_EQ(Shown(stream.Score()), "m0:w 5 m1:d l 8 ");
  EXPECT_EQ(stream.streams().counts().late_rows, 1u);
  EXPECT_EQ(stream.streams().counts().duplicate_rows, 1u);
  stream.Add("a", {9}, {12});
  EXPECT_EQ(Shown(stream.Score()), "m2:d ") << "a request without a row to score is answered, too";
}

TEST(EntityStreams, APauseBeginsANewWindowWithinARequest) {
  Stream stream(2, {.max_gap_seconds = 5});
  stream.Add("a", {1, 2, 3, 4}, {10, 11, 20, 21});
  stream.Add("a", {5}, {26});
  stream.Add("a", {6}, {32});
  EXPECT_EQ(Shown(stream.Score()), "m0:w 5 w 11 m1:14 m2:w ");
  stream.Add("a", {7}, {33});
  EXPECT_EQ(Shown(stream.Score()), "m3:20 ");
  EXPECT_EQ(stream.streams().counts().gaps, 2u);
}

TEST(EntityStreams, ARowWaitsNoLongerThanTheTolerance) {
  Stream stream(1, {.tolerance_seconds = 60});
  EXPECT_EQ(stream.streams().next_release(), absl::InfiniteFuture());
  stream.Add("a", {1}, {1000});  // arrives at second 1
  stream.Add("b", {2}, {1000});
  EXPECT_EQ(Shown(stream.Score()), "");
  EXPECT_EQ(stream.streams().next_release(), absl::UnixEpoch() + absl::Seconds(61));
  stream.streams().ReleaseWaitedFor(absl::UnixEpoch() + absl::Seconds(61));
  EXPECT_EQ(Shown(stream.Score()), "m0:1 ");
  stream.Add("b", {3}, {1061});
  EXPECT_EQ(Shown(stream.Score()), "m1:2 ");
  stream.streams().ReleaseWaitedFor(absl::UnixEpoch() + absl::Seconds(1000));
  EXPECT_EQ(Shown(stream.Score()), "m2:3 ");
  EXPECT_EQ(stream.streams().next_release(), absl::InfiniteFuture());
}

TEST(EntityStreams, ReplayedRowsFillTheWindowAndHaveNoReply) {
  const StreamPolicy policy = {.clear_rows = 2};
  Stream whole(3, policy);
  std::vector<v1::Alarm> alarms;
  std::vector<float> scores;
  const std::vector<float> values = {0.1f, 0.1f, 0.1f, 1, 1, 1, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f};
  for (size_t i = 0; i < values.size(); ++i) {
    whole.Add("a", {values[i]}, {static_cast<double>(i)});
    const auto replies = whole.Score();
    alarms.push_back(replies[0]->response.verdicts(0).alarm());
    scores.push_back(replies[0]->response.verdicts(0).score());
  }
  EXPECT_EQ(alarms[3].state(), v1::Alarm::RAISED);
  EXPECT_EQ(alarms.back().state(), v1::Alarm::STATE_UNSPECIFIED);
  const size_t memory = EntityStreams::MemoryRows(3, policy);
  EXPECT_EQ(memory, 3u);
  for (size_t cut = memory; cut < values.size(); ++cut) {
    Stream resumed(3, policy);
    std::vector<float> last(values.begin() + static_cast<std::ptrdiff_t>(cut - memory),
                            values.begin() + static_cast<std::ptrdiff_t>(cut));
    std::vector<double> times;
    for (size_t i = cut - memory; i < cut; ++i) times.push_back(static_cast<double>(i));
    resumed.Add("a", last, times, /*replay=*/true, alarms[cut - 1]);
    for (size_t i = cut; i < values.size(); ++i) {
      resumed.Add("a", {values[i]}, {static_cast<double>(i)});
      const auto replies = resumed.Score();
      ASSERT_EQ(replies.size(), 1u) << "a replay has none";
      const v1::Verdict& verdict = replies[0]->response.verdicts(0);
      ASSERT_EQ(verdict.state(), v1::Verdict::SCORED);
      ASSERT_EQ(verdict.score(), scores[i]);
      ASSERT_EQ(verdict.alarm().state(), alarms[i].state()) << "cut " << cut << " row " << i;
      ASSERT_EQ(verdict.alarm().rows(), alarms[i].rows());
    }
    EXPECT_EQ(resumed.scored(), values.size() - cut) << "replayed rows are told apart";
  }
}

TEST(EntityStreams, ReplayedTimesAreKnown) {
  Stream stream(1);
  stream.Add("a", {1, 2}, {10, 11}, /*replay=*/true);
  stream.Add("a", {3, 4, 5}, {11, 10.5, 12});
  EXPECT_EQ(Shown(stream.Score()), "m1:d l 5 ");
}

TEST(EntityStreams, TheOneSilentLongestIsDroppedWithWhatItOwesAnswered) {
  constexpr size_t kWide = 65536;
  EntityStreams streams(kWide, 1, {.tolerance_seconds = 1000});
  EXPECT_EQ(streams.capacity(), EntityStreams::kMinEntities);
  size_t replies = 0;
  for (int i = 0; i < 300; ++i) {
    v1::ScoreStreamRequest request;
    request.set_entity(absl::StrCat(i));
    request.mutable_values()->Resize(kWide, 1.0f);
    request.add_time_unix_seconds(5);
    streams.Add(Exchange(std::move(request)));
    streams.Pieces();
    replies += streams.Finish().size();
  }
  EXPECT_EQ(streams.size(), streams.capacity());
  EXPECT_EQ(streams.counts().dropped_entities, 300 - streams.capacity());
  streams.ReleaseAll();
  streams.Pieces();
  EXPECT_EQ(replies + streams.Finish().size(), 300u);
}

TEST(EntityStreams, MemoryIsBoundedByTheWindowsSize) {
  EXPECT_EQ(EntityStreams(1, 1, {}).capacity(), EntityStreams::kMaxEntities);
  EXPECT_EQ(EntityStreams(1024, 16, {}).capacity(), 1024u);
}

TEST(EntityStreams, MoreEntitiesThanAStreamKnowsStayWithinTheBound) {
  EntityStreams streams(3, 20, {});
  for (size_t i = 0; i < 120'000; ++i) {
    v1::ScoreStreamRequest request;
    request.set_entity(absl::StrCat("pump-", i));
    request.mutable_values()->Resize(3, 1.0f);
    streams.Add(Exchange(std::move(request)));
    if (i % 64 == 63) {
      streams.Pieces();
      ASSERT_EQ(streams.Finish().size(), 64u);
    }
  }
  EXPECT_EQ(streams.size(), EntityStreams::kMaxEntities);
  EXPECT_EQ(streams.counts().dropped_entities, 20'000u);
}

TEST(EntityStreams, RefusesBadRequestsWithTheField) {
  const EntityStreams streams(2, 3, {});
  v1::ScoreStreamRequest request;
  request.mutable_values()->Resize(6, 0);
  EXPECT_TRUE(streams.Check(request).ok());
  request.mutable_time_unix_seconds()->Resize(2, 0);
  EXPECT_EQ(streams.Check(request).message(), "time_unix_seconds: expected none or 3, one a row, got 2");
  request.mutable_time_unix_seconds()->Resize(3, std::numeric_limits<double>::infinity());
  EXPECT_EQ(streams.Check(request).message(), "time_unix_seconds: expected seconds since 1970, got inf");
  request.clear_time_unix_seconds();
  request.set_entity(std::string(257, 'x'));
  EXPECT_EQ(streams.Check(request).message(), "entity: expected at most 256 bytes, got 257");
  request.clear_entity();
  request.set_segment(std::string(257, 'x'));
  EXPECT_EQ(streams.Check(request).message(), "segment: expected at most 256 bytes, got 257");
  request.clear_segment();
}

}  // namespace
}  // namespace astray
