#include "engine/base/shown_text.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace astray {

std::string ShownText(absl::string_view text, size_t most) {
  return absl::StrCat(absl::Utf8SafeCEscape(text.substr(0, most)), text.size() > most ? "..." : "");
}

}  // namespace astray
