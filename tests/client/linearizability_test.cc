// Clients score, calibrate, promote and roll back at the same time. Afterwards all that the server said must be what
// one client after the other would have seen, in the order of Provenance.change (Herlihy & Wing 1990):
//
//   - each change leads from the state before it to the state that its reply names, by the rules of promote and
//   rollback;
//   - a reply's version and epoch are those of the state after the change that it names;
//   - that change is none that began after the reply, and none before one that was acknowledged to anybody before the
//     request; so no client ever sees an epoch older than one that it has seen;
//   - its verdicts are, bit for bit, those of the files that it names, scored without a server.
//
// ASTRAY_LINEARIZABILITY_SECONDS says how long (default 5).
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <iostream>
#include <map>
#include <optional>
#include <span>
#include <thread>
#include <tuple>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "client/offline_detector.h"
#include "engine/base/random.h"
#include "engine/detect/row_history.h"
#include "engine/detect/verdict_message.h"
#include "tests/testing/running_server.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

constexpr int64_t kVersions = 3;
constexpr size_t kFeatures = 3, kWindow = 4;
constexpr int kUnaryClients = 3, kStreamClients = 2, kOperators = 2;

// What serves: the version for requests that name none, and each version's epoch.
struct State {
  int64_t live = kVersions;
  std::array<uint64_t, kVersions + 1> epochs = {0, 1, 1, 1};
  int64_t promoted = 0;  // 0: whichever is the latest
  bool operator==(const State&) const = default;
};

enum class Kind { kPromoteVersion, kPromoteEpoch, kCalibrate, kRollback };

struct Change {
  Kind kind = Kind::kRollback;
  int64_t asked_version = 0;  // that was promoted, or whose calibration was
  uint64_t asked_epoch = 0;
  std::optional<v1::CalibrationChange> reply;  // none of kCalibrate, whose reply has no number
  absl::Time begin, end;
};

struct Observation {
  uint64_t change = 0;
  uint64_t opened_after = 0;  // of a stream's first reply: acknowledged before the stream was opened
  int64_t version = 0;
  uint64_t epoch = 0;
  bool asked_version = false, first_of_stream = false, of_stream = false;
  absl::Time end;
};

absl::Duration TestDuration() {
  const char* text = std::getenv("ASTRAY_LINEARIZABILITY_SECONDS");
  int seconds = 0;
  return absl::Seconds(text != nullptr && absl::SimpleAtoi(text, &seconds) ? seconds : 5);
}

class Linearizability : public testing::Test {
 protected:
  Linearizability() {
    for (uint64_t seed = 1; seed <= kVersions; ++seed) WriteTinyArtifact(folder_, {.window = kWindow, .seed = seed});
    ServerConfig config = RunningServer::DefaultConfig(folder_);
    config.keep_calibrations = 0;                   // any that was made may be promoted, and is read again at the end
    config.poll_interval = absl::Milliseconds(20);  // looks at the folder all the while
    server_.emplace(config);
    deadline_ = absl::Now() + TestDuration();
  }

  std::unique_ptr<Client> Connect() {
    return Client::Connect(absl::StrCat("127.0.0.1:", server_->server().grpc_port()), {.own_connection = true});
  }
  bool Goes() const { return absl::Now() < deadline_ && !HasFailure(); }

  void Acknowledge(uint64_t change) {
    uint64_t known = acknowledged_.load();
    while (known < change && !acknowledged_.compare_exchange_weak(known, change)) {
    }
  }

  const TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
  std::optional<RunningServer> server_;
  absl::Time deadline_;
  std::atomic<uint64_t> acknowledged_ = 0;  // largest change that anybody has had a reply of
};

// Detectors read from what the server wrote, by version and epoch.
class OfflineDetectors {
 public:
  explicit OfflineDetectors(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Null, with a failure of the test, where the files are not what `named` says.
  const Detector* Find(const v1::Provenance& named) {
    auto& detector = detectors_[{named.version(), named.calibration_epoch()}];
    if (detector == nullptr) {
      auto read = OpenDetector((folder_ / "pump" / absl::StrCat(named.version())).string(), named.calibration_epoch());
      EXPECT_TRUE(read.ok()) << read.status();
      if (!read.ok()) return nullptr;
      detector = *std::move(read);
    }
    EXPECT_EQ(named.artifact_sha256(), detector->model().artifact_sha256.substr(0, 12));
    EXPECT_EQ(named.threshold(), detector->calibration().threshold());
    return detector.get();
  }

  // Whether the last `verdicts.size()` of the verdicts on `rows` are these.
  void Check(const v1::Provenance& named, std::span<const float> rows,
             const google::protobuf::RepeatedPtrField<v1::Verdict>& verdicts) {
    const Detector* detector = Find(named);
    if (detector == nullptr) return;
    ASSERT_TRUE(detector->Score(rows, {}, &result_).ok());
    const auto got = static_cast<size_t>(verdicts.size());
    const size_t scored = std::min(got, result_.verdicts.size());
    for (size_t i = 0; i < got; ++i) {
      v1::Verdict expected, verdict = verdicts.Get(static_cast<int>(i));
      verdict.clear_alarm();  // a stream's own, over many rows
      if (i < got - scored) {
        FillUnscored(v1::Verdict::WARMING_UP, &expected);
      } else {
        FillVerdict(*detector, result_, result_.verdicts.size() - (got - i), &expected);
      }
      ASSERT_EQ(verdict.SerializeAsString(), expected.SerializeAsString()) << named.ShortDebugString() << "\n"
                                                                           << verdict.ShortDebugString() << "\n"
                                                                           << expected.ShortDebugString();
    }
  }

 private:
  std::filesystem::path folder_;
  std::map<std::pair<int64_t, uint64_t>, std::shared_ptr<const Detector>> detectors_;
  ScoreResult result_;
};

// Rows of which some are far from normal.
std::vector<float> MakeRows(size_t n, Random& random) {
  std::vector<float> rows = TinyRows(n, kFeatures, random.UniformInt(1 << 20));
  if (random.UniformInt(3) == 0) rows[random.UniformInt(rows.size())] += static_cast<float>(3 * random.Normal());
  return rows;
}

TEST_F(Linearizability, RepliesAreThoseOfOneOrderOfChangesThatAgreesWithTime) {
  std::vector<std::vector<Observation>> observations(kUnaryClients + kStreamClients);
  std::vector<std::vector<Change>> changes(kOperators);
  std::vector<std::thread> threads;

  for (int client_number = 0; client_number < kUnaryClients; ++client_number) {
    threads.emplace_back([&, client_number] {
      const auto client = Connect();
      OfflineDetectors offline(folder_);
      Random random(100 + static_cast<uint64_t>(client_number));
      v1::ScoreResponse reply;
      while (Goes()) {
        const std::vector<float> rows = MakeRows(kWindow + random.UniformInt(12), random);
        v1::ScoreRequest request = MakeScoreRequest("pump", rows);
        const bool asked = random.UniformInt(4) == 0;
        if (asked) request.mutable_model()->set_version(1 + static_cast<int64_t>(random.UniformInt(kVersions)));
        const uint64_t acknowledged = acknowledged_.load();
        ASSERT_TRUE(client->Score(request, &reply).ok());
        const v1::Provenance& named = reply.provenance();
        ASSERT_GE(named.change(), acknowledged);
        if (asked) {
          ASSERT_EQ(named.version(), request.model().version());
        }
        Acknowledge(named.change());
        observations[static_cast<size_t>(client_number)].push_back({.change = named.change(),
                                                                    .version = named.version(),
                                                                    .epoch = named.calibration_epoch(),
                                                                    .asked_version = asked,
                                                                    .end = absl::Now()});
        offline.Check(named, rows, reply.verdicts());
      }
    });
  }

  for (int client_number = 0; client_number < kStreamClients; ++client_number) {
    threads.emplace_back([&, client_number] {
      const auto client = Connect();
      OfflineDetectors offline(folder_);
      Random random(200 + static_cast<uint64_t>(client_number));
      v1::ScoreResponse reply;
      while (Goes()) {
        RowHistory history(kFeatures, kWindow);
        const uint64_t opened_after = acknowledged_.load();
        const auto stream = client->ScoreStream();
        int64_t version = 0;
        for (int message = 0; message < 50 && Goes(); ++message) {
          v1::ScoreStreamRequest request;
          request.mutable_model()->set_name("pump");
          const std::vector<float> rows = MakeRows(1 + random.UniformInt(6), random);
          request.mutable_values()->Add(rows.begin(), rows.end());
          const uint64_t acknowledged = acknowledged_.load();
          ASSERT_TRUE(stream->Write(request));
          ASSERT_TRUE(stream->Read(&reply));
          const v1::Provenance& named = reply.provenance();
          ASSERT_GE(named.change(), acknowledged);
          if (message > 0) {
            ASSERT_EQ(named.version(), version);
          }
          version = named.version();
          Acknowledge(named.change());
          observations[static_cast<size_t>(kUnaryClients + client_number)].push_back(
              {.change = named.change(),
               .opened_after = opened_after,
               .version = version,
               .epoch = named.calibration_epoch(),
               .first_of_stream = message == 0,
               .of_stream = true,
               .end = absl::Now()});
          offline.Check(named, history.Extend(rows), reply.verdicts());
        }
        stream->WritesDone();
        while (stream->Read(&reply)) {
        }
        ASSERT_TRUE(stream->Finish().ok());
      }
    });
  }

  for (int operator_number = 0; operator_number < kOperators; ++operator_number) {
    threads.emplace_back([&, operator_number] {
      const auto client = Connect();
      Random random(300 + static_cast<uint64_t>(operator_number));
      std::vector<std::pair<int64_t, uint64_t>> made = {{1, 1}, {2, 1}, {3, 1}};  // version and epoch
      while (Goes()) {
        Change change{.begin = absl::Now()};
        const uint64_t acknowledged = acknowledged_.load();
        const uint64_t dice = random.UniformInt(20);
        absl::StatusOr<v1::CalibrationChange> reply = absl::UnknownError("none");
        if (dice < 10) {
          v1::ModelRef ref;
          ref.set_name("pump");
          reply = client->RollbackCalibration(ref);
          if (absl::IsFailedPrecondition(reply.status())) continue;  // nothing to undo: changes nothing
        } else if (dice < 14) {
          change.kind = Kind::kPromoteVersion;
          change.asked_version = static_cast<int64_t>(random.UniformInt(kVersions + 1));
          v1::PromoteVersionRequest request;
          request.set_name("pump");
          request.set_version(change.asked_version);
          reply = client->PromoteVersion(request);
        } else if (dice < 18) {
          change.kind = Kind::kPromoteEpoch;
          std::tie(change.asked_version, change.asked_epoch) = made[random.UniformInt(made.size())];
          v1::PromoteCalibrationRequest request;
          request.mutable_model()->set_name("pump");
          request.mutable_model()->set_version(change.asked_version);
          request.set_epoch(change.asked_epoch);
          reply = client->PromoteCalibration(request);
        } else {
          v1::CalibrateHeader header;
          header.mutable_model()->set_name("pump");
          header.mutable_model()->set_version(1 + static_cast<int64_t>(random.UniformInt(kVersions)));
          header.set_false_positive_rate(0.05 + 0.1 * random.Uniform());
          // Only one does it, so that numbers that no reply names are its, in its order.
          header.set_promote(operator_number == 0);
          bool sent = false;
          const auto made_now = client->Calibrate(header, [&](v1::CalibrateRequest* request) -> absl::StatusOr<bool> {
            if (std::exchange(sent, true)) return false;
            const std::vector<float> rows = TinyRows(60, kFeatures, random.UniformInt(1 << 20));
            request->mutable_rows()->mutable_values()->Add(rows.begin(), rows.end());
            return true;
          });
          ASSERT_TRUE(made_now.ok()) << made_now.status();
          made.emplace_back(header.model().version(), made_now->calibration().epoch());
          if (!header.promote()) continue;
          change.kind = Kind::kCalibrate;
          std::tie(change.asked_version, change.asked_epoch) = made.back();
          change.end = absl::Now();
          changes[static_cast<size_t>(operator_number)].push_back(change);
          continue;
        }
        ASSERT_TRUE(reply.ok()) << reply.status();
        ASSERT_GT(reply->change(), acknowledged);
        Acknowledge(reply->change());
        change.end = absl::Now();
        change.reply = *reply;
        changes[static_cast<size_t>(operator_number)].push_back(change);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_FALSE(HasFailure());

  // One order of the changes.
  std::map<uint64_t, const Change*> order;
  std::vector<const Change*> unnumbered;
  for (const std::vector<Change>& of_one : changes) {
    for (const Change& change : of_one) {
      if (!change.reply) {
        unnumbered.push_back(&change);
      } else {
        ASSERT_TRUE(order.emplace(change.reply->change(), &change).second) << change.reply->ShortDebugString();
      }
    }
  }
  const uint64_t total = order.size() + unnumbered.size();
  auto next = unnumbered.begin();
  for (uint64_t number = 1; number <= total; ++number) {
    if (order.contains(number)) continue;
    ASSERT_NE(next, unnumbered.end()) << "change " << number << " of " << total << " is nobody's";
    order[number] = *next++;
  }
  ASSERT_EQ(order.rbegin()->first, total);

  // It agrees with time: none ends before one with a lower number begins.
  absl::Time earliest_end = absl::InfiniteFuture();
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    ASSERT_LE(it->second->begin, earliest_end) << "change " << it->first;
    earliest_end = std::min(earliest_end, it->second->end);
  }

  // Each leads to the state that it names. What a rollback comes back to is what was before the last promotion.
  std::vector<State> states(total + 1);
  std::vector<State> before;
  for (const auto& [number, change] : order) {
    State state = states[number - 1];
    switch (change->kind) {
      case Kind::kPromoteVersion:
        state.promoted = change->asked_version;
        state.live = state.promoted == 0 ? kVersions : state.promoted;
        break;
      case Kind::kPromoteEpoch:
      case Kind::kCalibrate:
        state.epochs[static_cast<size_t>(change->asked_version)] = change->asked_epoch;
        break;
      case Kind::kRollback:
        ASSERT_FALSE(before.empty()) << "change " << number;
        state = before.back();
        before.pop_back();
        break;
    }
    if (change->kind != Kind::kRollback && state != states[number - 1]) before.push_back(states[number - 1]);
    states[number] = state;
    if (!change->reply) continue;
    const v1::CalibrationChange& said = *change->reply;
    ASSERT_EQ(said.previous_version(), states[number - 1].live) << said.ShortDebugString();
    ASSERT_EQ(said.live_version(), state.live) << said.ShortDebugString();
    ASSERT_EQ(said.live().epoch(), state.epochs[static_cast<size_t>(said.version())]) << said.ShortDebugString();
    const int64_t previous = said.previous_version() == said.live_version() ? said.version() : said.previous_version();
    ASSERT_EQ(said.previous().epoch(), states[number - 1].epochs[static_cast<size_t>(previous)]);
  }

  // Each reply is of the state that it names, and that state was there.
  size_t replies = 0;
  for (const std::vector<Observation>& of_one : observations) {
    for (const Observation& seen : of_one) {
      ++replies;
      ASSERT_LE(seen.change, total);
      if (seen.change > 0) {
        ASSERT_LE(order[seen.change]->begin, seen.end);
      }
      const State& state = states[seen.change];
      ASSERT_EQ(seen.epoch, state.epochs[static_cast<size_t>(seen.version)]) << "change " << seen.change;
      if (!seen.asked_version && !seen.of_stream) {
        ASSERT_EQ(seen.version, state.live) << "change " << seen.change;
      }
      if (seen.first_of_stream) {
        // Its version was chosen when it began, its epoch with each reply.
        bool found = false;
        for (uint64_t c = seen.opened_after; c <= seen.change && !found; ++c) found = states[c].live == seen.version;
        ASSERT_TRUE(found) << "version " << seen.version << " between " << seen.opened_after << " and " << seen.change;
      }
    }
  }
  EXPECT_GT(replies, 50u);
  EXPECT_GT(total, 5u);
  std::cout << replies << " replies, " << total << " changes, " << unnumbered.size() << " of them by Calibrate\n";
}

}  // namespace
}  // namespace astray
