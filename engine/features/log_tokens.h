// A log line as words, with what changes from event to event made one sign.
//
// The rules, the same for every system: words are what white space parts, and a word also ends behind an '='. A word
// becomes the wildcard <*> where it
//   has a digit                     numbers, addresses, times, hexadecimal, ids
//   has a '/' behind its first sign paths, URLs
//   is a day's or a month's name    Mon, Dec
//   is in brackets                  [main], [Mon Dec 05 2005]: all to the closing one, others within it included
//   has a control character
// What is in parentheses becomes (<*>), or () where it is empty. Wildcards in a row are one.
#pragma once

#include <string_view>
#include <vector>

namespace astray {

inline constexpr std::string_view kWildcard = "<*>";
inline constexpr size_t kMaxLogTokens = 256;  // of a line; what is behind them is one wildcard

// Replaces `tokens`; they point into `line`, or are constants.
void TokenizeLogLine(std::string_view line, std::vector<std::string_view>* tokens);

}  // namespace astray
