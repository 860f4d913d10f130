// Verdicts as the messages of service.proto, the same for a server's reply and for scoring without one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "astray/v1/service.pb.h"
#include "engine/detect/detector.h"

namespace astray {

inline constexpr uint32_t kMaxTopContributors = 64;
inline constexpr uint32_t kMaxPurificationPasses = 100;

// InvalidArgument names the field: "options.top_contributors: expected at most 64, got 1000".
absl::StatusOr<ScoreOptions> ReadScoreOptions(const v1::ScoreOptions& options);

// InvalidArgument for a false discovery rate, which takes all verdicts at once: of calls that are no Score.
absl::Status CheckNoFalseDiscoveryRate(const astray::v1::ScoreOptions& options);

// Sets `selected` of the verdicts that the false discovery rate selects (false_discovery.h), which is in (0, 1).
void SelectDiscoveries(double rate, google::protobuf::RepeatedPtrField<astray::v1::Verdict>* verdicts);

// Writes verdict `i` of `result` to `message`, which is fresh.
void FillVerdict(const Detector& detector, const ScoreResult& result, size_t i, v1::Verdict* message);

// Of a row that has no score: WARMING_UP where no full window ends in it, LATE, DUPLICATE.
void FillUnscored(v1::Verdict::State state, v1::Verdict* message);

}  // namespace astray
