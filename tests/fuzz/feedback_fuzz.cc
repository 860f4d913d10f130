// The input as a feedback file: records come out, each of which passes its check and comes back the same from a file
// that is written of it, or damage is counted.
#include <cstdint>
#include <cstdlib>

#include "google/protobuf/stubs/logging.h"
#include "server/feedback_log.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  google::protobuf::SetLogHandler(nullptr);  // text that is no UTF-8 is expected
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const astray::FeedbackLog log = astray::ParseFeedbackLog(bytes);
  Require(log.clean == (log.damaged == 0));
  std::string again(astray::kFeedbackMagic);
  for (const astray::v1::FeedbackRecord& record : log.records) {
    const auto frame = astray::FrameFeedback(record);
    Require(frame.ok());
    again += *frame;
  }
  const astray::FeedbackLog same = astray::ParseFeedbackLog(again);
  Require(same.clean && same.records.size() == log.records.size());
  for (size_t i = 0; i < log.records.size(); ++i) {
    Require(same.records[i].SerializeAsString() == log.records[i].SerializeAsString());
  }
  // The same bytes as the payload of a frame whose checksum is right.
  astray::v1::FeedbackRecord record;
  if (record.ParseFromArray(data, static_cast<int>(size)) && astray::CheckFeedback(record).ok()) {
    const auto frame = astray::FrameFeedback(record);
    if (frame.ok()) Require(astray::ParseFeedbackLog(std::string(astray::kFeedbackMagic) + *frame).clean);
  }
  return 0;
}
