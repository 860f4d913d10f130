#include "engine/detect/artifact_format.h"

#include "absl/strings/str_cat.h"
#include "engine/base/sha256.h"

namespace astray {

std::string ManifestChecksumLine(absl::string_view text_above) {
  return absl::StrCat("# sha256 of the above: ", Sha256Hex(text_above), "\n");
}

}  // namespace astray
