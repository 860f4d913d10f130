#include "server/scoring_queue.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace astray {

struct ScoringQueue::PendingJob {
  ScoringJob job;
  absl::Time submitted;
  std::atomic<size_t> tiles_left{0};
  absl::Mutex mutex;
  absl::Status status ABSL_GUARDED_BY(mutex);  // the first error of its tiles

  void Fail(const absl::Status& error) ABSL_LOCKS_EXCLUDED(mutex) {
    absl::MutexLock lock(&mutex);
    status.Update(error);
  }

  absl::Status TakeStatus() ABSL_LOCKS_EXCLUDED(mutex) {
    absl::MutexLock lock(&mutex);
    return status;
  }
};

struct ScoringQueue::Tile {
  std::shared_ptr<PendingJob> pending;
  size_t first = 0;  // verdict of the job
  size_t count = 0;  // verdicts

  std::span<const float> rows() const {
    const Detector& detector = *pending->job.detector;
    return pending->job.rows.subspan(first * detector.features(),
                                     (count + detector.window() - 1) * detector.features());
  }
};

struct ScoringQueue::Batch {
  std::vector<Tile> tiles;  // of one detector
};

struct ScoringQueue::Buffers {
  std::vector<const Tile*> wanted;
  std::vector<ScoringPart> parts;  // beside `wanted`
  JointScoring scoring;
};

ScoringQueue::ScoringQueue(size_t workers, size_t queue_rows, Metrics* metrics)
    : metrics_(metrics), waiting_rows_(queue_rows) {
  for (size_t i = 0; i < workers; ++i) workers_.emplace_back([this] { Work(); });
}

ScoringQueue::~ScoringQueue() { Shutdown(); }

absl::Status ScoringQueue::Submit(ScoringJob job, Admission admission) {
  std::vector<ScoringJob> jobs;
  jobs.push_back(std::move(job));
  return Submit(std::move(jobs), admission);
}

absl::Status ScoringQueue::Submit(std::vector<ScoringJob> jobs, Admission admission) {
  size_t verdicts = 0;
  for (const ScoringJob& job : jobs) verdicts += Verdicts(job);
  absl::MutexLock lock(&mutex_);
  if (stopping_) return absl::UnavailableError("the server is shutting down");
  if (admission == Admission::kAlways) {
    waiting_rows_.Add(verdicts);
  } else if (absl::Status status = waiting_rows_.Reserve(verdicts); !status.ok()) {
    return status;
  }
  for (ScoringJob& job : jobs) Enqueue(std::move(job));
  return absl::OkStatus();
}

size_t ScoringQueue::Verdicts(const ScoringJob& job) {
  const size_t rows = job.rows.size() / job.detector->features();
  return rows < job.detector->window() ? 0 : rows - job.detector->window() + 1;
}

void ScoringQueue::Enqueue(ScoringJob job) {
  const Detector* detector = job.detector.get();
  const size_t verdicts = Verdicts(job);
  // A job without verdicts passes through as one empty tile, so that `done` always comes from a worker.
  const size_t tile_count = std::max<size_t>(1, (verdicts + kBatchRows - 1) / kBatchRows);
  auto pending = std::make_shared<PendingJob>();
  pending->job = std::move(job);
  pending->submitted = absl::Now();
  pending->tiles_left = tile_count;
  std::deque<Tile>& tiles = tiles_[detector];
  if (tiles.empty()) turns_.push_back(detector);
  for (size_t i = 0; i < tile_count; ++i) {
    const size_t first = i * kBatchRows;
    tiles.push_back({pending, first, std::min(kBatchRows, verdicts - first)});
  }
}

void ScoringQueue::Shutdown() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  for (std::thread& worker : workers_) {
    if (worker.joinable()) worker.join();
  }
}

bool ScoringQueue::TakeBatch(Batch* batch) {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(this, &ScoringQueue::HasWorkOrStops));
  if (turns_.empty()) return false;
  const Detector* detector = turns_.front();
  turns_.pop_front();
  const auto it = tiles_.find(detector);
  std::deque<Tile>& tiles = it->second;
  size_t rows = 0;
  do {
    rows += tiles.front().count;
    batch->tiles.push_back(std::move(tiles.front()));
    tiles.pop_front();
  } while (!tiles.empty() && rows + tiles.front().count <= kBatchRows);
  if (tiles.empty()) {
    tiles_.erase(it);
  } else {
    turns_.push_back(detector);
  }
  waiting_rows_.Remove(rows);
  return true;
}

void ScoringQueue::Work() {
  Buffers buffers;
  Batch batch;
  while (TakeBatch(&batch)) {
    ScoreBatch(batch, &buffers);
    for (const Tile& tile : batch.tiles) {
      // acq_rel: `done` sees what the other tiles' consumers wrote.
      if (tile.pending->tiles_left.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        tile.pending->job.done(tile.pending->TakeStatus());
      }
    }
    batch.tiles.clear();  // an idle worker must not keep an unloaded detector
  }
}

void ScoringQueue::ScoreBatch(const Batch& batch, Buffers* buffers) {
  const absl::Time now = absl::Now();
  buffers->wanted.clear();
  buffers->parts.clear();
  size_t batch_rows = 0;
  for (const Tile& tile : batch.tiles) {
    const ScoringJob& job = tile.pending->job;
    if (tile.first == 0) metrics_->queue_duration().Observe(absl::ToDoubleSeconds(now - tile.pending->submitted));
    const ScoringPart part = {.rows = tile.count > 0 ? tile.rows() : std::span<const float>(),
                              .verdicts = tile.count,
                              .options = &job.options,
                              .segment = job.segment,
                              .deadline = job.deadline,
                              .cancelled = job.cancelled.get()};
    if (const absl::Status wanted = part.CheckWanted(now); !wanted.ok()) {
      tile.pending->Fail(wanted);
    } else if (tile.count > 0) {
      buffers->wanted.push_back(&tile);
      buffers->parts.push_back(part);
      batch_rows += tile.count;
    }
  }
  for (size_t begin = 0; begin < buffers->parts.size();) {
    const Detector& detector = *buffers->wanted[begin]->pending->job.detector;
    absl::Status status;
    const size_t end = begin + buffers->scoring.ScoreFirst(detector, std::span(buffers->parts).subspan(begin), &status);
    for (size_t first = 0; begin < end; ++begin) {
      const Tile& tile = *buffers->wanted[begin];
      if (status.ok()) {
        tile.pending->job.consume(tile.first, buffers->scoring.result(), first, tile.count);
      } else {
        // Where none of them is wanted any more, each for a reason of its own.
        const absl::Status unwanted = buffers->parts[begin].CheckWanted(absl::Now());
        tile.pending->Fail(unwanted.ok() ? status : unwanted);
      }
      first += tile.count;
    }
  }
  if (batch_rows > 0) metrics_->batch_rows().Observe(static_cast<double>(batch_rows));
}

}  // namespace astray
