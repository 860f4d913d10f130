// SHA-256 (FIPS 180-4), by OpenSSL.
#pragma once

#include <initializer_list>
#include <string>

#include "absl/strings/string_view.h"

namespace astray {

std::string Sha256(absl::string_view bytes);     // 32 raw bytes
std::string Sha256Hex(absl::string_view bytes);  // 64 lower-case hex digits
// Of the parts one behind the other.
std::string Sha256Hex(std::initializer_list<absl::string_view> parts);

}  // namespace astray
