#include "server/scoring_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "tests/testing/tiny_detector.h"

namespace astray {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<float> DirectErrors(const Detector& detector, std::span<const float> rows) {
  ScoreResult result;
  EXPECT_TRUE(detector.Score(rows, {}, &result).ok());
  std::vector<float> errors;
  for (const Verdict& verdict : result.verdicts) errors.push_back(verdict.error);
  return errors;
}

// One job and what came of it.
struct Outcome {
  std::vector<float> errors;
  absl::Status status = absl::UnknownError("not done");
  absl::Notification done;

  ScoringJob Job(std::shared_ptr<const Detector> detector, std::span<const float> rows) {
    const size_t row_count = rows.size() / detector->features();
    errors.assign(row_count - detector->window() + 1, -1);
    ScoringJob job;
    job.detector = std::move(detector);
    job.rows = rows;
    job.consume = [this](size_t job_first, const ScoreResult& result, size_t first, size_t count) {
      for (size_t i = 0; i < count; ++i) errors[job_first + i] = result.verdicts[first + i].error;
    };
    job.done = [this](absl::Status result) {
      status = std::move(result);
      done.Notify();
    };
    return job;
  }
};

// A job that keeps its worker until released.
struct Blocker {
  std::vector<float> row = TinyRows(1, 3, 9);
  Outcome outcome;
  absl::Notification started, release;

  void Occupy(ScoringQueue* queue, const std::shared_ptr<const Detector>& detector) {
    ScoringJob job = outcome.Job(detector, row);
    job.consume = [this](size_t, const ScoreResult&, size_t, size_t) {
      started.Notify();
      release.WaitForNotification();
    };
    ASSERT_TRUE(queue->Submit(std::move(job), ScoringQueue::Admission::kCapped).ok());
    started.WaitForNotification();
  }
};

constexpr auto kCapped = ScoringQueue::Admission::kCapped;

class ScoringQueueTest : public testing::TestWithParam<uint32_t> {
 protected:
  std::shared_ptr<const Detector> MakeDetector(uint32_t window) { return MakeTinyDetector({.window = window}); }
  Metrics metrics_;
};

TEST_P(ScoringQueueTest, TilesAndMergedJobsScoreLikeTheDetectorItself) {
  const auto detector = MakeDetector(GetParam());
  ScoringQueue queue(3, 100000, &metrics_);
  std::vector<std::vector<float>> rows;
  for (const size_t n : {5, 4, 2000, 9, 257, 4, 6, 256, 30}) rows.push_back(TinyRows(n, 3, n));
  std::vector<Outcome> outcomes(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    ASSERT_TRUE(queue.Submit(outcomes[i].Job(detector, rows[i]), kCapped).ok());
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    outcomes[i].done.WaitForNotification();
    EXPECT_TRUE(outcomes[i].status.ok()) << outcomes[i].status;
    EXPECT_EQ(outcomes[i].errors, DirectErrors(*detector, rows[i])) << "job " << i;
  }
}
INSTANTIATE_TEST_SUITE_P(Windows, ScoringQueueTest, testing::Values(1u, 4u));

class OneWorkerQueueTest : public testing::Test {
 protected:
  std::shared_ptr<const Detector> detector_ = MakeTinyDetector();
  Metrics metrics_;
  Blocker blocker_;
};

TEST_F(OneWorkerQueueTest, WhatWaitsForOneDetectorIsScoredTogetherInOrder) {
  ScoringQueue queue(1, 1000, &metrics_);
  blocker_.Occupy(&queue, detector_);
  const std::vector<float> rows = TinyRows(4, 3, 3);
  std::vector<int> order;
  std::vector<size_t> batches;
  std::vector<Outcome> outcomes(3);
  for (int i = 0; i < 3; ++i) {
    ScoringJob job = outcomes[static_cast<size_t>(i)].Job(detector_, rows);
    job.consume = [&order, &batches, i](size_t, const ScoreResult& result, size_t, size_t) {
      order.push_back(i);
      batches.push_back(result.verdicts.size());
    };
    ASSERT_TRUE(queue.Submit(std::move(job), kCapped).ok());
  }
  blocker_.release.Notify();
  for (Outcome& outcome : outcomes) outcome.done.WaitForNotification();
  EXPECT_THAT(order, ElementsAre(0, 1, 2));
  EXPECT_THAT(batches, ElementsAre(12, 12, 12));
}

// A reading each of many machines: their windows share a batch, and those of a job with many rows do not join it.
TEST_F(OneWorkerQueueTest, WindowsOfJobsWithFewVerdictsAreScoredTogether) {
  const auto windowed = MakeTinyDetector({.window = 4});
  ScoringQueue queue(1, 1000, &metrics_);
  blocker_.Occupy(&queue, detector_);
  std::vector<std::vector<float>> rows;
  for (size_t i = 0; i < 6; ++i) rows.push_back(TinyRows(i == 3 ? 40 : 4 + i, 3, i));
  std::vector<size_t> batches(6);
  std::vector<Outcome> outcomes(6);
  for (size_t i = 0; i < 6; ++i) {
    ScoringJob job = outcomes[i].Job(windowed, rows[i]);
    job.consume = [&, i, keep = job.consume](size_t job_first, const ScoreResult& result, size_t first, size_t count) {
      batches[i] = result.verdicts.size();
      keep(job_first, result, first, count);
    };
    ASSERT_TRUE(queue.Submit(std::move(job), kCapped).ok());
  }
  blocker_.release.Notify();
  for (Outcome& outcome : outcomes) outcome.done.WaitForNotification();
  EXPECT_THAT(batches, ElementsAre(6, 6, 6, 37, 11, 11)) << "1 + 2 + 3 verdicts, 37, 5 + 6";
  for (size_t i = 0; i < 6; ++i) {
    ScoreResult alone;
    ASSERT_TRUE(windowed->Score(rows[i], {}, &alone).ok());
    for (size_t k = 0; k < alone.verdicts.size(); ++k) EXPECT_EQ(outcomes[i].errors[k], alone.verdicts[k].error);
  }
}

TEST_F(OneWorkerQueueTest, AFullQueueRefusesAndSaysHowFull) {
  ScoringQueue queue(1, 10, &metrics_);
  blocker_.Occupy(&queue, detector_);
  const std::vector<float> rows = TinyRows(8, 3, 3);
  Outcome first, second, exempt;
  ASSERT_TRUE(queue.Submit(first.Job(detector_, rows), kCapped).ok());
  const absl::Status status = queue.Submit(second.Job(detector_, rows), kCapped);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "the queue is full: 8 of 10 rows wait, this request has 8; retry later");
  EXPECT_TRUE(queue.Submit(exempt.Job(detector_, rows), ScoringQueue::Admission::kAlways).ok());
  blocker_.release.Notify();
  first.done.WaitForNotification();
  exempt.done.WaitForNotification();
  EXPECT_TRUE(queue.Submit(second.Job(detector_, rows), kCapped).ok());
  second.done.WaitForNotification();
}

TEST_F(OneWorkerQueueTest, ExpiredAndCancelledJobsAreNotScored) {
  ScoringQueue queue(1, 1000, &metrics_);
  blocker_.Occupy(&queue, detector_);
  const std::vector<float> rows = TinyRows(2, 3, 3);
  Outcome expired, cancelled, good;
  ScoringJob job = expired.Job(detector_, rows);
  job.deadline = absl::Now() - absl::Seconds(1);
  ASSERT_TRUE(queue.Submit(std::move(job), kCapped).ok());
  job = cancelled.Job(detector_, rows);
  job.options.explain_all = true;  // its options must not become those of the job behind it
  job.cancelled = std::make_shared<const std::atomic<bool>>(true);
  ASSERT_TRUE(queue.Submit(std::move(job), kCapped).ok());
  ASSERT_TRUE(queue.Submit(good.Job(detector_, rows), kCapped).ok());
  blocker_.release.Notify();
  for (Outcome* outcome : {&expired, &cancelled, &good}) outcome->done.WaitForNotification();
  EXPECT_EQ(expired.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(expired.errors, ElementsAre(-1, -1));
  EXPECT_EQ(cancelled.status.code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(cancelled.errors, ElementsAre(-1, -1));
  EXPECT_EQ(good.errors, DirectErrors(*detector_, rows));
}

TEST_F(OneWorkerQueueTest, ShutdownFinishesWhatWaitsAndTakesNoMore) {
  ScoringQueue queue(1, 1000, &metrics_);
  blocker_.Occupy(&queue, detector_);
  const std::vector<float> rows = TinyRows(600, 3, 3);
  Outcome waiting, late;
  ASSERT_TRUE(queue.Submit(waiting.Job(detector_, rows), kCapped).ok());
  blocker_.release.Notify();
  queue.Shutdown();
  ASSERT_TRUE(waiting.done.HasBeenNotified());
  EXPECT_EQ(waiting.errors, DirectErrors(*detector_, rows));
  EXPECT_EQ(queue.Submit(late.Job(detector_, rows), kCapped).code(), absl::StatusCode::kUnavailable);
}

TEST_F(OneWorkerQueueTest, DetectorsTakeTurns) {
  ScoringQueue queue(1, 10000, &metrics_);
  blocker_.Occupy(&queue, detector_);
  const auto other = MakeTinyDetector({.name = "valve"});
  const std::vector<float> many = TinyRows(4 * ScoringQueue::kBatchRows, 3, 3), few = TinyRows(1, 3, 4);
  Outcome big, small;
  std::vector<char> order;
  ScoringJob job = big.Job(detector_, many);
  job.consume = [&](size_t, const ScoreResult&, size_t, size_t) { order.push_back('b'); };
  ASSERT_TRUE(queue.Submit(std::move(job), kCapped).ok());
  job = small.Job(other, few);
  job.consume = [&](size_t, const ScoreResult&, size_t, size_t) { order.push_back('s'); };
  ASSERT_TRUE(queue.Submit(std::move(job), kCapped).ok());
  blocker_.release.Notify();
  big.done.WaitForNotification();
  small.done.WaitForNotification();
  EXPECT_THAT(order, ElementsAre('b', 's', 'b', 'b', 'b'));
}

// One tile whose repair takes seconds, so that it is under way when it is no longer wanted: it ends without verdicts.
class SlowRepair : public OneWorkerQueueTest {
 protected:
  SlowRepair() {
    for (float& value : rows_) value += 30;
  }
  ScoringJob Job(Outcome* outcome) {
    ScoringJob job = outcome->Job(slow_, rows_);
    job.options.counterfactual = 8;
    return job;
  }

  std::shared_ptr<const Detector> slow_ =
      MakeTinyDetector({.features = {"a", "b", "c", "d", "e", "f", "g", "h", "i"}, .hidden = {1024, 1024, 1024}});
  std::vector<float> rows_ = TinyRows(ScoringQueue::kBatchRows, 9, 4);
};

TEST_F(SlowRepair, EndsWhenItsJobIsCancelled) {
  ScoringQueue queue(1, 1000, &metrics_);
  const auto cancelled = std::make_shared<std::atomic<bool>>(false);
  Outcome outcome;
  ScoringJob job = Job(&outcome);
  job.cancelled = cancelled;
  ASSERT_TRUE(queue.Submit(std::move(job), kCapped).ok());
  while (queue.waiting_rows().rows() > 0) {
  }                                        // the worker took it
  absl::SleepFor(absl::Milliseconds(50));  // and is at it; were it not yet, it would end the same
  *cancelled = true;
  outcome.done.WaitForNotification();
  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(outcome.errors, std::vector<float>(rows_.size() / 9, -1)) << "was not consumed";
}

TEST_F(SlowRepair, EndsWhenTheDeadlinePasses) {
  ScoringQueue queue(1, 1000, &metrics_);
  Outcome outcome, next;
  ScoringJob job = Job(&outcome);
  job.deadline = absl::Now() + absl::Milliseconds(100);
  ASSERT_TRUE(queue.Submit(std::move(job), kCapped).ok());
  const std::vector<float> rows = TinyRows(2, 3, 3);
  ASSERT_TRUE(queue.Submit(next.Job(detector_, rows), kCapped).ok());
  outcome.done.WaitForNotification();
  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(outcome.errors, std::vector<float>(rows_.size() / 9, -1));
  next.done.WaitForNotification();
  EXPECT_EQ(next.errors, DirectErrors(*detector_, rows)) << "the worker is free";
}

}  // namespace
}  // namespace astray
