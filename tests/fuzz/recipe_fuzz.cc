// A recipe made of the input: refused with one line, or what is parsed, printed and parsed again is the same; and a
// recipe that passes its checks is complete.
#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/match.h"
#include "engine/train/recipe.h"

namespace astray {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

Dataset MakeData() { return {.feature_names = {"a", "b"}, .values = std::vector<float>(2 * 300, 1.0f)}; }

}  // namespace
}  // namespace astray

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace astray;
  static const Dataset* const kData = new Dataset(MakeData());
  google::protobuf::SetLogHandler(nullptr);
  const auto recipe = ParseRecipe({reinterpret_cast<const char*>(data), size}, "r.textproto");
  if (!recipe.ok()) {
    // The parser quotes what it stumbles on, but never more than a line of it.
    Require(absl::IsInvalidArgument(recipe.status()) && absl::StartsWith(recipe.status().message(), "r.textproto:") &&
            !absl::StrContains(recipe.status().message(), '\n'));
    return 0;
  }
  const std::string text = FormatRecipe(*recipe);
  const auto again = ParseRecipe(text, "again");
  Require(again.ok() && FormatRecipe(*again) == text);
  const auto complete = CompleteRecipe(*recipe, *kData);
  if (!complete.ok()) {
    Require(absl::IsInvalidArgument(complete.status()) && !complete.status().message().empty());
    return 0;
  }
  const auto settled = CompleteRecipe(*complete, *kData);
  Require(settled.ok() && FormatRecipe(*settled) == FormatRecipe(*complete));
  return 0;
}
