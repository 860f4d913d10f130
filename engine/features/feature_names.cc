#include "engine/features/feature_names.h"

#include <cstdint>
#include <string_view>
#include <unordered_set>

#include "absl/strings/str_cat.h"

namespace astray {
namespace {

// Unicode 15, table 3-7: well-formed UTF-8 byte sequences.
bool IsUtf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<uint8_t>(text[i++]);
    if (lead < 0x80) continue;
    size_t continuation = 0;
    uint8_t low = 0x80;
    uint8_t high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) {
      continuation = 1;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
      continuation = 2;
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
      continuation = 3;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    } else {
      return false;
    }
    for (; continuation > 0; --continuation, low = 0x80, high = 0xBF) {
      if (i == text.size()) return false;
      const auto next = static_cast<uint8_t>(text[i++]);
      if (next < low || next > high) return false;
    }
  }
  return true;
}

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
