#include "engine/base/utf8.h"

#include <cstdint>

namespace astray {

size_t Utf8CharacterBytes(std::string_view text) {
  if (text.empty()) return 0;
  const auto lead = static_cast<uint8_t>(text[0]);
  if (lead < 0x80) return 1;
  size_t bytes = 0;
  uint8_t low = 0x80, high = 0xBF;  // of the second byte
  if (lead >= 0xC2 && lead <= 0xDF) {
    bytes = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    bytes = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    bytes = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return 0;
  }
  if (text.size() < bytes) return 0;
  for (size_t i = 1; i < bytes; ++i, low = 0x80, high = 0xBF) {
    const auto next = static_cast<uint8_t>(text[i]);
    if (next < low || next > high) return 0;
  }
  return bytes;
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t bytes = Utf8CharacterBytes(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

std::string ReadableUtf8(std::string_view text, size_t most) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string readable;
  while (!text.empty()) {
    const auto lead = static_cast<uint8_t>(text[0]);
    const bool control = lead < 0x20 || lead == 0x7F;
    const size_t bytes = control ? 0 : Utf8CharacterBytes(text);
    const char escaped[] = {'\\', 'x', kDigits[lead >> 4], kDigits[lead & 15]};
    const std::string_view shown = bytes > 0      ? text.substr(0, bytes)
                                   : lead == '\t' ? std::string_view(" ")
                                                  : std::string_view(escaped, sizeof(escaped));
    if (readable.size() + shown.size() > most) break;
    readable.append(shown);
    text.remove_prefix(bytes > 0 ? bytes : 1);
  }
  return readable;
}

}  // namespace astray
