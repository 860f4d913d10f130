#include "server/joint_scoring.h"

#include <algorithm>

#include "absl/time/clock.h"

namespace astray {

absl::Status CheckWanted(bool cancelled, absl::Time deadline, absl::Time now) {
  if (now > deadline) return absl::DeadlineExceededError("the deadline passed before the verdicts were there");
  if (cancelled) return absl::CancelledError("cancelled before the verdicts were there");
  return absl::OkStatus();
}

absl::Status ScoringPart::CheckWanted(absl::Time now) const {
  return astray::CheckWanted(cancelled != nullptr && cancelled->load(std::memory_order_relaxed), deadline, now);
}

std::span<const float> JointScoring::Gather(const Detector& detector, std::span<const ScoringPart> run) {
  windows_.clear();
  const size_t features = detector.features(), width = features * detector.window();
  for (const ScoringPart& part : run) {
    if (detector.window() == 1) {
      windows_.insert(windows_.end(), part.rows.begin(), part.rows.end());
      continue;
    }
    for (size_t i = 0; i < part.verdicts; ++i) {
      const auto window = part.rows.subspan(i * features, width);
      windows_.insert(windows_.end(), window.begin(), window.end());
    }
  }
  return windows_;
}

size_t JointScoring::ScoreFirst(const Detector& detector, std::span<const ScoringPart> parts, absl::Status* status) {
  // Windows must not run from one part into the next: they are laid one behind the other, each with all of its rows,
  // which pays where a part has few.
  const auto gathered = [&](const ScoringPart& part) {
    return detector.window() == 1 || part.verdicts <= kFewVerdicts;
  };
  const ScoringPart& leader = parts.front();
  size_t count = 1;
  while (count < parts.size() && gathered(leader) && gathered(parts[count]) &&
         *leader.options == *parts[count].options) {
    ++count;
  }
  const std::span<const ScoringPart> run = parts.first(count);
  segments_.clear();
  bool segmented = false;
  for (const ScoringPart& part : run) segmented = segmented || part.segment != 0;
  if (segmented) {
    for (const ScoringPart& part : run) segments_.insert(segments_.end(), part.verdicts, part.segment);
  }
  rows_ = count == 1 ? leader.rows : Gather(detector, run);
  const auto wanted = [run] {
    const absl::Time now = absl::Now();
    const bool any = std::ranges::any_of(run, [now](const ScoringPart& part) { return part.CheckWanted(now).ok(); });
    return any ? absl::OkStatus() : run.front().CheckWanted(now);
  };
  *status = count == 1 ? detector.Score(rows_, *leader.options, &result_, segments_, wanted)
                       : detector.ScoreWindows(rows_, *leader.options, &result_, segments_, wanted);
  return count;
}

}  // namespace astray
