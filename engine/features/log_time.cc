#include "engine/features/log_time.h"

#include <array>
#include <cstdint>

namespace astray {
namespace {

constexpr bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// `count` digits at `i`, or -1.
int Digits(std::string_view text, size_t i, size_t count) {
  if (i + count > text.size()) return -1;
  int number = 0;
  for (size_t k = i; k < i + count; ++k) {
    if (!IsDigit(text[k])) return -1;
    number = 10 * number + (text[k] - '0');
  }
  return number;
}

// Days since 1970-01-01 of a date of the Gregorian calendar: years begin in March, eras have 400 of them.
int64_t DaysOf(int year, int month, int day) {
  const int64_t y = month <= 2 ? year - 1 : year;
  const int64_t era = y / 400, year_of_era = y - era * 400;
  const int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

int DaysIn(int year, int month) {
  constexpr std::array<int, 12> kDays = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return kDays[static_cast<size_t>(month - 1)] + (month == 2 && leap ? 1 : 0);
}

// Seconds that a zone written at `i` is ahead of UTC; 0 where there is none.
int ZoneAt(std::string_view text, size_t i) {
  if (i >= text.size() || (text[i] != '+' && text[i] != '-')) return 0;
  const int hours = Digits(text, i + 1, 2);
  const size_t behind = i + 3;
  const int minutes = Digits(text, behind < text.size() && text[behind] == ':' ? behind + 1 : behind, 2);
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return 0;
  return (text[i] == '-' ? -60 : 60) * (60 * hours + minutes);
}

// A time that begins at `i`, whose year ends in front of the '-' at i + 4.
std::optional<double> TimeAt(std::string_view text, size_t i) {
  if (i + 19 > text.size() || text[i + 7] != '-' || text[i + 13] != ':' || text[i + 16] != ':') return std::nullopt;
  if (text[i + 10] != 'T' && text[i + 10] != ' ') return std::nullopt;
  const int year = Digits(text, i, 4), month = Digits(text, i + 5, 2), day = Digits(text, i + 8, 2);
  const int hour = Digits(text, i + 11, 2), minute = Digits(text, i + 14, 2), second = Digits(text, i + 17, 2);
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > DaysIn(year, month)) return std::nullopt;
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return std::nullopt;  // leap
  double fraction = 0;
  i += 19;
  if (i + 1 < text.size() && (text[i] == '.' || text[i] == ',') && IsDigit(text[i + 1])) {
    double place = 0.1;
    for (++i; i < text.size() && IsDigit(text[i]); ++i, place /= 10) fraction += place * (text[i] - '0');
  }
  const int64_t seconds = DaysOf(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - ZoneAt(text, i);
  return static_cast<double>(seconds) + fraction;
}

}  // namespace

std::optional<double> FindLogTime(std::string_view line) {
  const std::string_view text = line.substr(0, kLogTimeBytes);
  for (size_t dash = text.find('-', 4); dash != std::string_view::npos; dash = text.find('-', dash + 1)) {
    if (const auto time = TimeAt(text, dash - 4)) return time;
  }
  return std::nullopt;
}

}  // namespace astray
