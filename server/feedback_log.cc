#include "server/feedback_log.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"
#include "engine/detect/calibration_samples.h"

namespace astray {
namespace {

constexpr absl::string_view kMark = "FBK\n";
constexpr size_t kLengthBytes = 4, kSumBytes = 16;
constexpr size_t kHeadBytes = 4 + kLengthBytes + kSumBytes;
constexpr size_t kMaxNameBytes = 256, kMaxNoteBytes = 1024, kSha256Bytes = 32, kMaxFeatures = 1 << 16;
constexpr uint64_t kMaxDamaged = 100;  // places, then the rest of the file is given up: looking on takes long

absl::Status Expected(absl::string_view field, size_t most, size_t got) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": expected at most ", most, " bytes, got ", got));
}

// The payload of the frame that `bytes` begin with.
std::optional<absl::string_view> Payload(absl::string_view bytes) {
  if (bytes.size() < kHeadBytes || !absl::StartsWith(bytes, kMark)) return std::nullopt;
  uint32_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[kMark.size() + i])) << (8 * i);
  }
  if (length > kMaxFeedbackBytes || length > bytes.size() - kHeadBytes) return std::nullopt;
  const absl::string_view payload = bytes.substr(kHeadBytes, length);
  if (bytes.substr(kMark.size() + kLengthBytes, kSumBytes) != Sha256(payload).substr(0, kSumBytes)) return std::nullopt;
  return payload;
}

}  // namespace

absl::Status CheckFeedback(const v1::FeedbackRecord& record) {
  if (record.kind() != v1::FeedbackRecord::FALSE_ALARM && record.kind() != v1::FeedbackRecord::CONFIRMED_ANOMALY) {
    return absl::InvalidArgumentError("kind: expected FALSE_ALARM or CONFIRMED_ANOMALY");
  }
  if (record.id().size() > kMaxNameBytes) return Expected("id", kMaxNameBytes, record.id().size());
  if (record.entity().size() > kMaxNameBytes) return Expected("entity", kMaxNameBytes, record.entity().size());
  RETURN_IF_ERROR(CalibrationSamples::CheckSegment(record.segment()));
  if (record.note().size() > kMaxNoteBytes) return Expected("note", kMaxNoteBytes, record.note().size());
  if (!std::isfinite(record.time_unix_seconds())) {
    return absl::InvalidArgumentError(
        absl::StrCat("time_unix_seconds: expected a finite number, got ", record.time_unix_seconds()));
  }
  if (record.features_sha256().size() != kSha256Bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("features_sha256: expected 32 bytes, got ", record.features_sha256().size()));
  }
  const auto values = static_cast<size_t>(record.values_size());
  if (record.lines().empty() == record.values().empty()) {
    return absl::InvalidArgumentError("values: expected either values or lines, got both or none");
  }
  if (!record.lines().empty()) return absl::OkStatus();
  if (values > kMaxFeedbackValues) {
    return absl::InvalidArgumentError(
        absl::StrCat("values: expected at most ", kMaxFeedbackValues, " numbers, got ", values));
  }
  if (record.features() == 0 || record.features() > kMaxFeatures || values % record.features() != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("values: expected a multiple of ", record.features(), " numbers, got ", values));
  }
  if (std::any_of(record.values().begin(), record.values().end(), [](float v) { return std::isinf(v); })) {
    return absl::InvalidArgumentError("values: expected finite numbers, or NaN for missing, got an infinity");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> FrameFeedback(const v1::FeedbackRecord& record) {
  RETURN_IF_ERROR(CheckFeedback(record));
  const std::string payload = record.SerializeAsString();
  if (payload.size() > kMaxFeedbackBytes) return Expected("record", kMaxFeedbackBytes, payload.size());
  std::string frame(kMark);
  for (size_t i = 0; i < kLengthBytes; ++i) frame.push_back(static_cast<char>(payload.size() >> (8 * i)));
  return absl::StrCat(frame, Sha256(payload).substr(0, kSumBytes), payload);
}

FeedbackLog ParseFeedbackLog(absl::string_view bytes) {
  FeedbackLog log;
  if (!absl::StartsWith(bytes, kFeedbackMagic)) {
    log.damaged = 1;
    return log;
  }
  bytes.remove_prefix(kFeedbackMagic.size());
  while (!bytes.empty() && log.damaged < kMaxDamaged) {
    const std::optional<absl::string_view> payload = Payload(bytes);
    v1::FeedbackRecord record;
    if (payload && record.ParseFromArray(payload->data(), static_cast<int>(payload->size())) &&
        CheckFeedback(record).ok()) {
      log.records.push_back(std::move(record));
      bytes.remove_prefix(kHeadBytes + payload->size());
      continue;
    }
    // The length may be what is damaged: on at the next mark.
    ++log.damaged;
    const size_t next = bytes.find(kMark, 1);
    bytes.remove_prefix(next == absl::string_view::npos ? bytes.size() : next);
  }
  log.clean = log.damaged == 0;
  return log;
}

}  // namespace astray
