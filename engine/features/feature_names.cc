#include "engine/features/feature_names.h"

#include <cstdint>
#include <string_view>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "engine/base/utf8.h"

namespace astray {
namespace {

bool HasControlCharacter(std::string_view text) {
  for (const char c : text) {
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7F) return true;
  }
  return false;
}

}  // namespace

absl::Status CheckFeatureNames(const std::vector<std::string>& names) {
  if (names.empty()) return absl::InvalidArgumentError("feature names: expected at least one, got none");
  if (names.size() > kMaxFeatures) {
    return absl::InvalidArgumentError(
        absl::StrCat("feature names: expected at most ", kMaxFeatures, ", got ", names.size()));
  }
  std::unordered_set<std::string_view> seen;
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string& name = names[i];
    const std::string place = absl::StrCat("feature ", i + 1, ": name: expected ");
    if (name.empty()) return absl::InvalidArgumentError(absl::StrCat(place, "text, got nothing"));
    if (name.size() > kMaxFeatureNameBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(place, "at most ", kMaxFeatureNameBytes, " bytes, got ", name.size()));
    }
    if (!IsUtf8(name)) return absl::InvalidArgumentError(absl::StrCat(place, "UTF-8"));
    if (HasControlCharacter(name)) return absl::InvalidArgumentError(absl::StrCat(place, "no control characters"));
    if (!seen.insert(name).second) {
      return absl::InvalidArgumentError(absl::StrCat(place, "unique names, got '", name, "' twice"));
    }
  }
  return absl::OkStatus();
}

}  // namespace astray
