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
  std::vector<float> rows;
  std::vector<uint32_t> segments;
  ScoreResult result;
};

namespace {

// OK where the job still wants to be scored.
absl::Status CheckWanted(const ScoringJob& job) {
  if (job.cancelled != nullptr && job.cancelled->load(std::memory_order_relaxed)) {
    return absl::CancelledError("cancelled before scoring");
  }
  if (job.deadline != absl::InfiniteFuture() && absl::Now() > job.deadline) {
    return absl::DeadlineExceededError("the deadline passed before scoring");
  }
  return absl::OkStatus();
}

}  // namespace

ScoringQueue::ScoringQueue(size_t workers, size_t queue_rows, Metrics* metrics)
    : queue_rows_(queue_rows), metrics_(metrics) {
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
  if (admission == Admission::kCapped && waiting_rows_ + verdicts > queue_rows_) {
    return absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", waiting_rows_, " of ", queue_rows_,
                                                     " rows wait, this request has ", verdicts, "; retry later"));
  }
  for (ScoringJob& job : jobs) Enqueue(std::move(job));
  metrics_->queue_rows().Set(static_cast<double>(waiting_rows_));
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
  waiting_rows_ += verdicts;
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
  waiting_rows_ -= rows;
  metrics_->queue_rows().Set(static_cast<double>(waiting_rows_));
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

bool ScoringQueue::IsGathered(const Tile& tile) {
  return tile.pending->job.detector->window() == 1 || tile.count <= kFewVerdicts;
}

std::span<const float> ScoringQueue::Gather(const std::vector<const Tile*>& run, std::vector<float>* windows) {
  windows->clear();
  const Detector& detector = *run.front()->pending->job.detector;
  const size_t features = detector.features(), width = features * detector.window();
  for (const Tile* tile : run) {
    const std::span<const float> rows = tile->rows();
    for (size_t i = 0; i < tile->count; ++i) {
      const auto window = rows.subspan(i * features, width);
      windows->insert(windows->end(), window.begin(), window.end());
    }
  }
  return *windows;
}

void ScoringQueue::ScoreBatch(const Batch& batch, Buffers* buffers) {
  const absl::Time now = absl::Now();
  size_t batch_rows = 0;
  size_t next = 0;
  while (next < batch.tiles.size()) {
    // A run of tiles that one call scores. Windows must not run from one job into the next: they are laid one behind
    // the other, each with all of its rows, which pays where a job has few.
    std::vector<const Tile*> run;
    for (; next < batch.tiles.size(); ++next) {
      const Tile& tile = batch.tiles[next];
      const ScoringJob& job = tile.pending->job;
      if (!run.empty() &&
          (!IsGathered(*run.front()) || !IsGathered(tile) || run.front()->pending->job.options != job.options)) {
        break;
      }
      if (tile.first == 0) metrics_->queue_duration().Observe(absl::ToDoubleSeconds(now - tile.pending->submitted));
      const absl::Status wanted = CheckWanted(job);
      if (!wanted.ok()) {
        tile.pending->Fail(wanted);
      } else if (tile.count > 0) {
        run.push_back(&tile);
        batch_rows += tile.count;
      }
    }
    if (run.empty()) continue;

    const ScoringJob& leader = run.front()->pending->job;
    buffers->segments.clear();
    for (const Tile* tile : run) {
      buffers->segments.insert(buffers->segments.end(), tile->count, tile->pending->job.segment);
    }
    const absl::Status status =
        run.size() == 1
            ? leader.detector->Score(run.front()->rows(), leader.options, &buffers->result, buffers->segments)
            : leader.detector->ScoreWindows(Gather(run, &buffers->rows), leader.options, &buffers->result,
                                            buffers->segments);
    size_t first = 0;
    for (const Tile* tile : run) {
      if (status.ok()) {
        tile->pending->job.consume(tile->first, buffers->result, first, tile->count);
      } else {
        tile->pending->Fail(status);
      }
      first += tile->count;
    }
  }
  if (batch_rows > 0) metrics_->batch_rows().Observe(static_cast<double>(batch_rows));
}

}  // namespace astray
