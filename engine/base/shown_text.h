// Untrusted text, fit for a message: it must neither flood a log, nor begin a line of it, nor steer a terminal.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace astray {

// At most `most` bytes, control bytes escaped as C does it, "..." where text was left out.
std::string ShownText(absl::string_view text, size_t most = 40);

}  // namespace astray
