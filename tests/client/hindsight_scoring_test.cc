// Rows in hindsight: each entity's by itself, however rows come, against means over windows taken here.
#include "client/hindsight_scoring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/detect/hindsight.h"
#include "tests/testing/tiny_detector.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

constexpr size_t kFeatures = 3;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Rows made one by one, as many as `make` gives.
class MadeRows : public RowSource {
 public:
  explicit MadeRows(std::function<absl::StatusOr<bool>(Row*)> make) : make_(std::move(make)) {}
  absl::StatusOr<bool> Next(Row* row) override {
    row->number = given_ + 1;
    const absl::StatusOr<bool> more = make_(row);
    if (more.ok() && *more) ++given_;
    return more;
  }
  uint64_t given() const { return given_; }

 private:
  const std::function<absl::StatusOr<bool>(Row*)> make_;
  uint64_t given_ = 0;
};

struct Judged {
  Row row;
  v1::Verdict verdict;
};

std::vector<Row> RowsOf(size_t n, uint64_t seed, const std::string& entity = "") {
  std::vector<float> values = TinyRows(n, kFeatures, seed);
  std::vector<Row> rows(n);
  for (size_t i = 0; i < n; ++i) {
    rows[i].values.assign(&values[i * kFeatures], &values[i * kFeatures] + kFeatures);
    rows[i].entity = entity;
    if (i % 60 >= 50) rows[i].values[0] += static_cast<float>(i % 7);
    if (i % 31 == 5) rows[i].values[1] = kNaN;
    if (i % 200 >= 180) std::ranges::fill(rows[i].values, kNaN);  // longer than two windows
  }
  return rows;
}

class HindsightScoringTest : public testing::Test {
 protected:
  HindsightScoringTest() {
    options_.window = 4;
    const auto without = MakeTinyDetector(options_);
    const std::vector<float> errors = HindsightErrors(*without, {}, TinyRows(400, kFeatures, 100)).value();
    options_.hindsight = HindsightModel{.scale = {}, .calibration = Calibration::Create(errors, 0.02, {}).value()};
    detector_ = MakeTinyDetector(options_);
  }

  absl::Status Score(const std::vector<Row>& rows, const HindsightScoringOptions& options,
                     std::vector<Judged>* judged) const {
    size_t next = 0;
    MadeRows source([&](Row* row) {
      if (next == rows.size()) return false;
      const uint64_t number = row->number;
      *row = rows[next++];
      row->number = number;
      return true;
    });
    return ScoreInHindsight(*detector_, policy_, options, &source, [&](const Row& row, const v1::Verdict& verdict) {
      judged->push_back({row, verdict});
    });
  }
  std::vector<Judged> Verdicts(const std::vector<Row>& rows, const HindsightScoringOptions& options = {}) const {
    std::vector<Judged> judged;
    const absl::Status status = Score(rows, options, &judged);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(judged.size(), rows.size());
    return judged;
  }
  // Those of one entity, in the order that they came in.
  static std::vector<v1::Verdict> Of(const std::string& entity, const std::vector<Judged>& judged) {
    std::vector<v1::Verdict> verdicts;
    uint64_t last = 0;
    for (const Judged& one : judged) {
      if (one.row.entity != entity) continue;
      EXPECT_GT(one.row.number, last);
      last = one.row.number;
      verdicts.push_back(one.verdict);
    }
    return verdicts;
  }
  static void ExpectSame(const std::vector<v1::Verdict>& a, const std::vector<v1::Verdict>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      ASSERT_EQ(a[i].SerializeAsString(), b[i].SerializeAsString()) << i << "\n" << a[i].ShortDebugString();
    }
  }

  TinyDetectorOptions options_;
  std::shared_ptr<const Detector> detector_;
  StreamPolicy policy_;
};

TEST_F(HindsightScoringTest, ARowsErrorIsTheMeanOfTheWindowsAround) {
  const std::vector<Row> rows = RowsOf(500, 3);
  const std::vector<Judged> judged = Verdicts(rows);
  std::vector<double> sums(rows.size()), counts(rows.size());
  for (size_t i = 0; i + options_.window <= rows.size(); ++i) {
    std::vector<float> window;
    for (size_t j = 0; j < options_.window; ++j) {
      window.insert(window.end(), rows[i + j].values.begin(), rows[i + j].values.end());
    }
    const auto error = detector_->Errors(window);  // none where nothing is observed
    ASSERT_TRUE(error.ok());
    const size_t middle = i + options_.window / 2, first = middle - std::min<size_t>(middle, options_.window);
    for (size_t j = first; j <= std::min(middle + options_.window, rows.size() - 1) && !error->empty(); ++j) {
      sums[j] += error->front();
      counts[j] += 1;
    }
  }
  const Calibration& calibration = detector_->model().hindsight->calibration;
  size_t anomalous = 0, missing = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const v1::Verdict& verdict = judged[i].verdict;
    EXPECT_EQ(judged[i].row.number, i + 1);
    if (counts[i] == 0) {
      EXPECT_EQ(verdict.state(), v1::Verdict::ALL_MISSING);
      EXPECT_EQ(verdict.p_value(), 1);
      ++missing;
      continue;
    }
    const double error = sums[i] / counts[i];
    EXPECT_EQ(verdict.state(), v1::Verdict::SCORED);
    EXPECT_NEAR(verdict.error(), error, 1e-6 * error);
    EXPECT_EQ(verdict.threshold(), calibration.threshold());
    EXPECT_NEAR(verdict.score(), error / calibration.threshold(), 1e-6 * verdict.score());
    EXPECT_EQ(verdict.p_value(), calibration.PValue(verdict.error()));
    EXPECT_EQ(verdict.anomalous(), verdict.score() > 1);
    EXPECT_EQ(verdict.contributions_size(), 0);
    anomalous += verdict.anomalous() ? 1 : 0;
  }
  EXPECT_GT(missing, 5u);
  EXPECT_GT(anomalous, 5u);
  EXPECT_LT(anomalous, 300u);
}

TEST_F(HindsightScoringTest, EntitiesInAnyOrderAndAnySliceGiveTheSameBits) {
  std::map<std::string, std::vector<Row>> machines;
  for (const auto& [name, n] : {std::pair("a", 300), {"b", 3}, {"c", 5000}, {"d", 4}, {"e", 0}}) {
    machines[name] = RowsOf(static_cast<size_t>(n), 1 + name[0], name);
  }
  std::vector<Row> in_turn;
  for (size_t i = 0; i < 5000; ++i) {
    for (const auto& [name, rows] : machines) {
      if (i < rows.size()) in_turn.push_back(rows[i]);
    }
  }
  for (const size_t group_rows : {1, 7, 100, 100'000}) {
    const std::vector<Judged> judged = Verdicts(in_turn, {.group_rows = group_rows});
    for (const auto& [name, rows] : machines) {
      SCOPED_TRACE(absl::StrCat(name, " ", group_rows));
      const std::vector<v1::Verdict> verdicts = Of(name, judged);
      ExpectSame(verdicts, Of(name, Verdicts(rows)));
      for (const v1::Verdict& verdict : verdicts) {
        EXPECT_EQ(verdict.state() == v1::Verdict::WARMING_UP, rows.size() < options_.window);
      }
    }
  }
}

TEST_F(HindsightScoringTest, APauseBeginsANewStreamWhereRowsHaveTimes) {
  policy_.max_gap_seconds = 60;
  std::vector<Row> rows = RowsOf(100, 5);
  const size_t pauses[] = {40, 43, 80};  // the stream between the first two is shorter than a window
  double time = 1'700'000'000;
  for (size_t i = 0; i < rows.size(); ++i) {
    time += std::ranges::count(pauses, i) > 0 ? 61 : 60;
    rows[i].timestamp = absl::StrCat(static_cast<int64_t>(time));
  }
  std::vector<v1::Verdict> expected;
  const auto add = [&](size_t begin, size_t end) {
    const auto part = Of("", Verdicts({rows.begin() + static_cast<std::ptrdiff_t>(begin),
                                       rows.begin() + static_cast<std::ptrdiff_t>(end)}));
    for (v1::Verdict verdict : part) {
      verdict.clear_alarm();  // one goes on across a pause
      expected.push_back(verdict);
    }
  };
  add(0, 40), add(40, 43), add(43, 80), add(80, 100);
  const auto without_alarms = [](std::vector<v1::Verdict> verdicts) {
    for (v1::Verdict& verdict : verdicts) verdict.clear_alarm();
    return verdicts;
  };
  const std::vector<v1::Verdict> timed = Of("", Verdicts(rows, {.timed = true}));
  ExpectSame(without_alarms(timed), expected);
  EXPECT_EQ(timed[41].state(), v1::Verdict::WARMING_UP);
  const std::vector<v1::Verdict> untimed = Of("", Verdicts(rows));
  EXPECT_NE(untimed[39].error(), timed[39].error());
  for (Row& row : rows) row.timestamp.clear();
  ExpectSame(Of("", Verdicts(rows, {.timed = true})), untimed);
}

TEST_F(HindsightScoringTest, RowsAreJudgedInTheOrderOfTheirTimes) {
  policy_.tolerance_seconds = 10;
  std::vector<Row> rows = RowsOf(120, 5);
  for (size_t i = 0; i < rows.size(); ++i) rows[i].timestamp = absl::StrCat(1'700'000'000 + 3 * i);
  const std::vector<v1::Verdict> expected = Of("", Verdicts(rows));
  std::vector<Row> jumbled = rows;
  for (size_t i = 0; i + 1 < rows.size(); i += 2) std::swap(jumbled[i], jumbled[i + 1]);
  jumbled.push_back(rows[118]);  // once more
  jumbled.push_back(rows[7]);
  std::map<std::string, std::vector<v1::Verdict>> by_time;
  for (const Judged& judged : Verdicts(jumbled, {.timed = true})) {
    v1::Verdict verdict = judged.verdict;
    verdict.clear_alarm();  // has times
    by_time[judged.row.timestamp].push_back(verdict);
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    v1::Verdict alone = expected[i];
    alone.clear_alarm();
    const std::vector<v1::Verdict>& got = by_time[rows[i].timestamp];
    const auto same = [&](const v1::Verdict& one) { return one.SerializeAsString() == alone.SerializeAsString(); };
    EXPECT_EQ(std::ranges::count_if(got, same), 1) << i;
    const size_t repeated = i == 118 || i == 7 ? 1 : 0;
    ASSERT_EQ(got.size(), 1 + repeated) << i;
    if (repeated == 0) continue;
    const auto state = i == 7 ? v1::Verdict::LATE : v1::Verdict::DUPLICATE;
    EXPECT_EQ(std::ranges::count(got, state, &v1::Verdict::state), 1) << i;
  }
}

TEST_F(HindsightScoringTest, ARowWithoutATimeComesAfterThoseThatWait) {
  policy_.tolerance_seconds = 10;
  std::vector<Row> rows = RowsOf(40, 5);
  const std::vector<v1::Verdict> expected = Of("", Verdicts(rows));
  for (size_t i = 0; i < 20; ++i) rows[i].timestamp = absl::StrCat(1'700'000'000 + i);
  const std::vector<v1::Verdict> got = Of("", Verdicts(rows, {.timed = true}));
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i].error(), expected[i].error()) << i;
}

TEST_F(HindsightScoringTest, AlarmsAreEachEntitysOwn) {
  policy_.raise_rows = policy_.of_rows = 3;
  policy_.clear_rows = 5;
  std::vector<Row> rows;
  for (size_t i = 0; i < 200; ++i) {
    for (const std::string entity : {"well", "ill"}) {
      const std::vector<float> values = TinyRows(1, kFeatures, i);
      rows.push_back({.values = values, .entity = entity});
      if (entity == "ill" && i >= 100 && i < 110) rows.back().values[0] += 50;
    }
  }
  const std::vector<Judged> judged = Verdicts(rows);
  const std::vector<v1::Verdict> ill = Of("ill", judged);
  size_t row = 0;
  while (row < ill.size() && !ill[row].anomalous()) ++row;
  // The first bad row lies in the windows that begin with row 97 or later; the middle of that is row 99.
  ASSERT_EQ(row, 95u);
  EXPECT_FALSE(ill[row + 1].has_alarm());
  EXPECT_EQ(ill[row + 2].alarm().state(), v1::Alarm::RAISED);
  EXPECT_EQ(ill[115].alarm().state(), v1::Alarm::ONGOING);
  EXPECT_EQ(ill[120].alarm().state(), v1::Alarm::ENDED);
  EXPECT_EQ(ill[120].alarm().rows(), 120u - 95 + 1);
  for (const v1::Verdict& verdict : Of("well", judged)) EXPECT_FALSE(verdict.has_alarm());
}

// One bad row at each side of a pause makes six or seven of its stream anomalous.
TEST_F(HindsightScoringTest, NoAlarmIsRaisedByRowsOfBothSidesOfAPause) {
  policy_.max_gap_seconds = 60;
  policy_.raise_rows = policy_.of_rows = 8;
  std::vector<Row> rows;
  for (size_t i = 0; i < 40; ++i) {
    rows.push_back({.values = {10, 20, 30}, .timestamp = absl::StrCat(1'700'000'000 + i + (i < 20 ? 0 : 100))});
    if (i == 19 || i == 20) rows.back().values[0] += 50;
  }
  const std::vector<Judged> judged = Verdicts(rows, {.timed = true});
  for (size_t i = 0; i < judged.size(); ++i) {
    EXPECT_EQ(judged[i].verdict.anomalous(), i >= 14 && i < 27) << i;
    EXPECT_FALSE(judged[i].verdict.has_alarm()) << i;
  }
  EXPECT_EQ(Verdicts(rows)[21].verdict.alarm().state(), v1::Alarm::RAISED) << "without times there is no pause";
}

// What is not given yet stays bounded, however many rows come.
TEST_F(HindsightScoringTest, RowsComeOutAsTheySettle) {
  constexpr uint64_t kRows = 100'000, kSlice = HindsightScoringOptions::kSliceRows;
  policy_.max_gap_seconds = 60;
  const auto most_open = [&](const std::function<void(Row*)>& fill) {
    MadeRows source([&](Row* row) {
      row->values = {10, 20, 30};
      fill(row);
      return row->number <= kRows;
    });
    uint64_t seen = 0, open = 0;
    EXPECT_TRUE(ScoreInHindsight(*detector_, policy_, {.timed = true}, &source, [&](const Row&, const v1::Verdict&) {
                  open = std::max(open, source.given() - seen++);
                }).ok());
    EXPECT_EQ(seen, kRows);
    return open;
  };
  EXPECT_LE(most_open([](Row* row) { row->timestamp = absl::StrCat(1'700'000'000 + row->number); }), kSlice + 8);
  EXPECT_LE(most_open([](Row* row) { row->timestamp = "2026-01-31"; }), 3 * kSlice) << "the same row again and again";
  EXPECT_LE(most_open([](Row* row) { row->timestamp = absl::StrCat(1'700'000'000 + 100 * row->number); }), 2u)
      << "a pause before each";
}

TEST_F(HindsightScoringTest, OfMoreEntitiesThanAreKeptThoseSilentLongestAreSettled) {
  const size_t kept = HindsightCapacity(kFeatures, options_.window);
  MadeRows source([&](Row* row) {
    row->values = {10, 20, 30};
    row->entity = absl::StrCat("machine ", row->number);
    return row->number <= kept + 50;
  });
  size_t before_the_end = 0;
  std::string first;
  EXPECT_TRUE(ScoreInHindsight(*detector_, policy_, {}, &source, [&](const Row& row, const v1::Verdict& verdict) {
                EXPECT_EQ(verdict.state(), v1::Verdict::WARMING_UP);
                if (first.empty()) first = row.entity;
                if (source.given() < kept + 50) ++before_the_end;
              }).ok());
  EXPECT_EQ(before_the_end, 49u);
  EXPECT_EQ(first, "machine 1");
}

TEST_F(HindsightScoringTest, AnErrorKeepsWhatWasSettled) {
  std::vector<Row> rows = RowsOf(50, 9);
  for (size_t i = 0; i < rows.size(); ++i) rows[i].timestamp = absl::StrCat(1'700'000'000 + i);
  const std::vector<Judged> expected = Verdicts(rows, {.timed = true});
  const auto fails = [&](const std::string& says) {
    std::vector<Judged> judged;
    const absl::Status status = Score(rows, {.timed = true}, &judged);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(says));
    ASSERT_EQ(judged.size(), 30 - 2 * options_.window + 1) << "those that no later window is around";
    for (size_t i = 0; i < judged.size(); ++i) {
      EXPECT_EQ(judged[i].verdict.SerializeAsString(), expected[i].verdict.SerializeAsString());
    }
  };
  const Row good = rows[30];
  rows[30].timestamp = "noon";
  fails("row 31: timestamp: expected a date and time or seconds since 1970, got \"noon\"");
  rows[30] = good;
  rows[30].entity = std::string(300, 'x');
  fails("row 31: entity: expected at most 256 bytes, got 300");
  rows[30] = good;
  rows[30].segment = std::string(300, 'x');
  fails("row 31: segment: expected at most ");
}

TEST_F(HindsightScoringTest, AModelWithoutSaysWhy) {
  EXPECT_TRUE(CheckHindsight(*detector_).ok());
  for (const uint32_t window : {1u, 4u}) {
    const absl::Status status = CheckHindsight(*MakeTinyDetector({.window = window}));
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr(window == 1 ? "judges rows alone" : "train again"));
  }
}

}  // namespace
}  // namespace astray
