// The bytes of models/<name>/feedback/<number>.log: kFeedbackMagic, then frames, each
//
//   "FBK\n"   length (uint32, little-endian)   the first 16 bytes of the payload's SHA-256   payload
//
// whose payload is a FeedbackRecord. Outside bytes: what is damaged is passed over and counted, what was torn off
// counts as damaged too. Functions without state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "astray/v1/calibration.pb.h"

namespace astray {

inline constexpr absl::string_view kFeedbackMagic = "ASTRAYF1";
inline constexpr size_t kMaxFeedbackBytes = size_t{1} << 20;   // of a record
inline constexpr size_t kMaxFeedbackValues = size_t{1} << 17;  // rows x features of a record

// InvalidArgument names the field: "note: expected at most 1024 bytes, got 2000".
absl::Status CheckFeedback(const v1::FeedbackRecord& record);

// A frame. InvalidArgument: CheckFeedback's, or a record of more than kMaxFeedbackBytes.
absl::StatusOr<std::string> FrameFeedback(const v1::FeedbackRecord& record);

struct FeedbackLog {
  std::vector<v1::FeedbackRecord> records;  // all pass CheckFeedback
  uint64_t damaged = 0;                     // places where something else was
  bool clean = false;                       // nothing was, magic and end included: more can be appended
};
FeedbackLog ParseFeedbackLog(absl::string_view bytes);

}  // namespace astray
