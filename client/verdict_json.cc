#include "client/verdict_json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <type_traits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/command.h"

namespace astray {
namespace {

// Six digits of a float or fifteen of a double where they read back to it, else as many as always do: as protobuf does.
template <typename Number>
void AppendNumber(Number value, std::string* out) {
  if (!std::isfinite(value)) {
    *out += std::isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
    return;
  }
  constexpr int kDigits = std::numeric_limits<Number>::digits10;
  constexpr int kEnough = std::numeric_limits<Number>::max_digits10;
  std::array<char, 40> text;
  const auto print = [&](int digits) {
    return std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::general, digits).ptr;
  };
  const char* end = print(kDigits);
  Number again = 0;
  // Of a float below the normal ones protobuf takes the six digits for out of range.
  const bool subnormal = std::is_same_v<Number, float> && std::fpclassify(value) == FP_SUBNORMAL;
  if (subnormal || std::from_chars(text.data(), end, again).ec != std::errc() || again != value) end = print(kEnough);
  out->append(text.data(), static_cast<size_t>(end - text.data()));
}

void AppendText(const std::string& text, std::string* out) {
  // What needs no escapes for sure.
  const bool plain = std::ranges::all_of(
      text, [](char c) { return absl::ascii_isalnum(c) || absl::StrContains(" -_:.+/,;()[]%@#*=", c); });
  if (plain) {
    absl::StrAppend(out, "\"", text, "\"");
  } else {
    *out += JsonText(text);
  }
}

void AppendBool(bool value, std::string* out) { *out += value ? "true" : "false"; }

// Whether AppendFields knows all that it holds.
bool IsUsual(const v1::Verdict& verdict) {
  return !verdict.has_alarm() && !verdict.has_imputation() && !verdict.has_repair() &&
         verdict.reconstruction().empty() && verdict.code().empty() && verdict.purified().empty() &&
         verdict.score_function().empty() && v1::Verdict::State_IsValid(verdict.state()) &&
         std::ranges::none_of(verdict.contributions(), &v1::Contribution::has_repaired_score);
}

void AppendContribution(const v1::Contribution& contribution, std::string* out) {
  *out += "{\"feature\":";
  AppendText(contribution.feature(), out);
  *out += ",\"share\":";
  AppendNumber(contribution.share(), out);
  *out += ",\"observed\":";
  AppendNumber(contribution.observed(), out);
  *out += ",\"expected\":";
  AppendNumber(contribution.expected(), out);
  *out += '}';
}

void AppendFields(const v1::Verdict& verdict, std::string* out) {
  absl::StrAppend(out, "\"state\":\"", v1::Verdict::State_Name(verdict.state()), "\",\"anomalous\":");
  AppendBool(verdict.anomalous(), out);
  *out += ",\"score\":";
  AppendNumber(verdict.score(), out);
  *out += ",\"error\":";
  AppendNumber(verdict.error(), out);
  *out += ",\"p_value\":";
  AppendNumber(verdict.p_value(), out);
  *out += ",\"contributions\":[";
  for (const v1::Contribution& contribution : verdict.contributions()) {
    if (out->back() != '[') *out += ',';
    AppendContribution(contribution, out);
  }
  *out += "],\"reconstruction\":[],\"code\":[],\"purified\":[],\"score_function\":[],\"threshold\":";
  AppendNumber(verdict.threshold(), out);
  *out += ",\"selected\":";
  AppendBool(verdict.selected(), out);
  *out += verdict.by_t_squared() ? ",\"by_t_squared\":true}" : ",\"by_t_squared\":false}";
}

}  // namespace

void AppendVerdictJson(const Row& row, const v1::Verdict& verdict, bool entity, std::string* out) {
  absl::StrAppend(out, "{\"row\":", row.number, ",\"timestamp\":");
  AppendText(row.timestamp, out);
  *out += ',';
  if (entity) {
    *out += "\"entity\":";
    AppendText(row.entity, out);
    *out += ',';
  }
  if (IsUsual(verdict)) {
    AppendFields(verdict, out);
  } else {
    out->append(ToJson(verdict), 1);
  }
}

std::string VerdictJson(const Row& row, const v1::Verdict& verdict, bool entity) {
  std::string json;
  AppendVerdictJson(row, verdict, entity, &json);
  return json;
}

}  // namespace astray
