#include "server/shadow.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/message_differencer.h"

namespace astray {
namespace {

// Of this thread's processor time: the lane gives way to others, and waiting for them is no part of scoring.
double ProcessorSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

constexpr size_t kOfferOverhead = 64;  // floats that an offer takes beside its rows and verdicts, about

std::string NameOf(const Detector& detector) {
  return absl::StrCat("version ", detector.model().version, " epoch ", detector.calibration().epoch());
}

// The columns of a log mean what its own templates say.
bool SameLog(const LogTransform* a, const LogTransform* b) {
  if (a == nullptr || b == nullptr) return a == b;
  return google::protobuf::util::MessageDifferencer::Equals(a->state(), b->state());
}

}  // namespace

absl::Status Shadow::Check(const Detector& live, const Detector& candidate) {
  const DetectorModel& a = live.model();
  const DetectorModel& b = candidate.model();
  const auto refuse = [&](absl::string_view why) {
    return absl::FailedPreconditionError(absl::StrCat("model '", a.name, "': ", NameOf(candidate),
                                                      " cannot be the shadow of ", NameOf(live), ": ", why));
  };
  if (a.artifact_sha256 == b.artifact_sha256 && a.version == b.version &&
      live.calibration().epoch() == candidate.calibration().epoch()) {
    return refuse("it is live");
  }
  if (a.pipeline.feature_names() != b.pipeline.feature_names()) return refuse("it has other features");
  if (candidate.window() > live.window()) {
    return refuse(absl::StrCat("expected a window of at most ", live.window(), " rows, got ", candidate.window()));
  }
  if (!SameLog(a.pipeline.log(), b.pipeline.log())) return refuse("it has other log templates");
  if (!google::protobuf::util::MessageDifferencer::Equals(a.recipe.features().sequence(),
                                                          b.recipe.features().sequence())) {
    return refuse("it reads letters in another way");
  }
  return absl::OkStatus();
}

void Shadow::Offer(std::span<const float> rows, absl::string_view segment, const ScoreResult& result, size_t first,
                   size_t count) {
  // Asked first, so that nothing is copied in vain where the lane is behind.
  const size_t size = rows.size() + count * sizeof(LiveVerdict) / sizeof(float) + segment.size() + kOfferOverhead;
  if (!lane_->HasRoom(size)) return CountDropped(count);
  std::vector<LiveVerdict> verdicts(count);
  for (size_t i = 0; i < count; ++i) {
    const Verdict& verdict = result.verdicts[first + i];
    verdicts[i] = {verdict.state == Verdict::State::kScored, verdict.anomalous, verdict.score};
  }
  const bool taken =
      lane_->TryAdd(size, [shadow = shared_from_this(), copy = std::vector<float>(rows.begin(), rows.end()),
                           segment = std::string(segment),
                           verdicts = std::move(verdicts)] { shadow->Compare(copy, segment, verdicts); });
  if (!taken) CountDropped(count);
}

void Shadow::CountDropped(size_t rows) {
  metrics_->CountDropped(rows);
  absl::MutexLock lock(&mutex_);
  dropped_ += rows;
}

absl::Status Shadow::Score(const Detector& detector, std::span<const float> rows, const std::string& segment) {
  segments_.clear();
  const uint32_t index = detector.calibration().SegmentIndex(segment);
  if (index != 0) segments_.assign(rows.size() / detector.features() - detector.window() + 1, index);
  return detector.Score(rows, {.top_contributors = 0}, &result_, segments_);
}

void Shadow::Compare(const std::vector<float>& rows, const std::string& segment,
                     const std::vector<LiveVerdict>& verdicts) {
  const double begin = ProcessorSeconds();
  // A shorter window ends in the same row.
  const size_t spare = (live_->window() - candidate_->window()) * live_->features();
  if (!Score(*candidate_, std::span(rows).subspan(spare), segment).ok() || result_.verdicts.size() != verdicts.size()) {
    return CountDropped(verdicts.size());  // not expected of rows that the live detector scored
  }
  const double seconds = ProcessorSeconds() - begin;
  uint64_t compared = 0, only_candidate = 0, only_live = 0;
  double sum = 0, largest = 0;
  for (size_t i = 0; i < verdicts.size(); ++i) {
    const Verdict& candidate = result_.verdicts[i];
    // A shorter window may hold nothing where the longer one has a value.
    if (!verdicts[i].scored || candidate.state != Verdict::State::kScored) continue;
    ++compared;
    only_candidate += candidate.anomalous && !verdicts[i].anomalous ? 1 : 0;
    only_live += !candidate.anomalous && verdicts[i].anomalous ? 1 : 0;
    const double difference = std::abs(static_cast<double>(candidate.score) - verdicts[i].score);
    sum += difference;
    largest = std::max(largest, difference);
    metrics_->RecordDifference(difference);
  }
  metrics_->CountRows(compared, only_candidate, only_live);
  {
    absl::MutexLock lock(&mutex_);
    rows_ += compared;
    only_candidate_ += only_candidate;
    only_live_ += only_live;
    difference_ += sum;
    largest_difference_ = std::max(largest_difference_, largest);
  }
  if (compared_++ % kTimedEvery == 0) Time(rows, segment, seconds);
}

void Shadow::Time(const std::vector<float>& rows, const std::string& segment, double candidate_seconds) {
  const double begin = ProcessorSeconds();
  if (!Score(*live_, rows, segment).ok()) return;
  const double live_seconds = ProcessorSeconds() - begin;
  double candidate_mean = 0, live_mean = 0;
  {
    absl::MutexLock lock(&mutex_);
    timed_rows_ += result_.verdicts.size();
    candidate_seconds_ += candidate_seconds;
    live_seconds_ += live_seconds;
    candidate_mean = candidate_seconds_ / static_cast<double>(timed_rows_);
    live_mean = live_seconds_ / static_cast<double>(timed_rows_);
  }
  metrics_->SetSecondsPerRow(candidate_mean, live_mean);
}

v1::ShadowSummary Shadow::Summary() const {
  v1::ShadowSummary summary;
  summary.set_version(candidate_->model().version);
  summary.set_epoch(candidate_->calibration().epoch());
  summary.set_live_version(live_->model().version);
  summary.set_live_epoch(live_->calibration().epoch());
  absl::MutexLock lock(&mutex_);
  summary.set_rows(rows_);
  summary.set_only_candidate_anomalous(only_candidate_);
  summary.set_only_live_anomalous(only_live_);
  if (rows_ > 0) {
    const auto rows = static_cast<double>(rows_);
    summary.set_disagreement(static_cast<double>(only_candidate_ + only_live_) / rows);
    summary.set_mean_score_difference(difference_ / rows);
  }
  summary.set_max_score_difference(largest_difference_);
  if (timed_rows_ > 0) {
    summary.set_candidate_seconds_per_row(candidate_seconds_ / static_cast<double>(timed_rows_));
    summary.set_live_seconds_per_row(live_seconds_ / static_cast<double>(timed_rows_));
  }
  summary.set_dropped_rows(dropped_);
  return summary;
}

}  // namespace astray
