#include "engine/base/text_proto.h"

#include <gmock/gmock.h>
#include <google/protobuf/struct.pb.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace astray {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Refusal(const std::string& text) {
  google::protobuf::Value value;
  const absl::Status status = ParseTextProto(text, "f", &value);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(ParseTextProto, ReadsWhatIsRight) {
  google::protobuf::Value value;
  EXPECT_TRUE(ParseTextProto("# a comment\nstring_value: 'x'", "f", &value).ok());
  EXPECT_EQ(value.string_value(), "x");
}

TEST(ParseTextProto, NamesThePlace) {
  EXPECT_THAT(Refusal("\nnosuch: 1"), testing::AllOf(StartsWith("f:2:"), HasSubstr("no field named \"nosuch\"")));
  EXPECT_THAT(Refusal("number_value: oops"), StartsWith("f:1:"));
}

TEST(ParseTextProto, AnswersHostileTextInOneShortLine) {
  for (const std::string& text :
       {std::string("\x1b[2J: 1"), "a" + std::string(10'000, 'b') + ": 1",
        "struct_value { fields " + std::string(10'000, '{'), std::string("string_value: '\n'")}) {
    const std::string message = Refusal(text);
    EXPECT_LT(message.size(), 400u);
    EXPECT_TRUE(
        std::none_of(message.begin(), message.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }));
  }
}

}  // namespace
}  // namespace astray
