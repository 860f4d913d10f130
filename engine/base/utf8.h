// UTF-8 from bytes that may be anything.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace astray {

// Bytes of the well-formed character that `text` begins with (Unicode 15, table 3-7); 0 where it begins with none.
size_t Utf8CharacterBytes(std::string_view text);

bool IsUtf8(std::string_view text);

// UTF-8 without control characters, whatever the text: bytes that cannot stay are written \xNN, a tab is a blank. Cut,
// at a character, where it would be over `most` bytes.
std::string ReadableUtf8(std::string_view text, size_t most);

}  // namespace astray
