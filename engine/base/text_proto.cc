#include "engine/base/text_proto.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/base/shown_text.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"

namespace astray {
namespace {

constexpr int kMaxDepth = 16;

class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (!text_.empty()) return;
    text_ = line < 0 ? absl::StrCat(" ", message) : absl::StrCat(line + 1, ":", column + 1, ": ", message);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace

absl::Status ParseTextProto(const std::string& text, const std::string& file_name, google::protobuf::Message* message) {
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(kMaxDepth);
  if (parser.ParseFromString(text, message)) return absl::OkStatus();
  constexpr size_t kMostShown = 200;
  // The parser's own quotes are no danger.
  const std::string shown = absl::StrReplaceAll(ShownText(error.text(), kMostShown), {{"\\\"", "\""}, {"\\'", "'"}});
  return absl::InvalidArgumentError(absl::StrCat(file_name, ":", shown));
}

}  // namespace astray
