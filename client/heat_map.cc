#include "client/heat_map.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace astray {
namespace {

constexpr double kCellWidth = 92, kCellHeight = 44, kLeft = 96, kTop = 84, kMargin = 24;

std::string Escape(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}

// From pale to deep blue, so that the order shows in grey as well.
std::string Colour(double share) {
  const auto mix = [&](double low, double high) { return std::lround(low + share * (high - low)); };
  return absl::StrFormat("#%02x%02x%02x", mix(0xee, 0x0b), mix(0xf4, 0x4a), mix(0xfb, 0x8f));
}

std::string Text(double x, double y, const std::string& anchor, const std::string& style, const std::string& text) {
  return absl::StrFormat("<text x=\"%.0f\" y=\"%.0f\" text-anchor=\"%s\" %s>%s</text>\n", x, y, anchor, style,
                         Escape(text));
}

}  // namespace

std::string ToSvg(const HeatMap& map) {
  const double width = kLeft + kCellWidth * static_cast<double>(map.columns.size()) + kMargin;
  const double height = kTop + kCellHeight * static_cast<double>(map.rows.size()) + kMargin;
  const auto [low, high] = std::ranges::minmax(map.values);
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" "
      "font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
      width, height, width, height);
  svg += Text(kMargin, 28, "start", "font-size=\"16\" font-weight=\"bold\"", map.title);
  svg += Text(kLeft + kCellWidth * static_cast<double>(map.columns.size()) / 2, 54, "middle", "fill=\"#555555\"",
              map.column_title);
  const double middle = kTop + kCellHeight * static_cast<double>(map.rows.size()) / 2;
  svg += Text(kMargin, middle, "middle",
              absl::StrFormat("fill=\"#555555\" transform=\"rotate(-90 %.0f %.0f)\"", kMargin, middle), map.row_title);
  for (size_t c = 0; c < map.columns.size(); ++c) {
    svg += Text(kLeft + kCellWidth * (static_cast<double>(c) + 0.5), kTop - 10, "middle", "", map.columns[c]);
  }
  for (size_t r = 0; r < map.rows.size(); ++r) {
    const double y = kTop + kCellHeight * static_cast<double>(r);
    svg += Text(kLeft - 10, y + kCellHeight / 2 + 5, "end", "", map.rows[r]);
    for (size_t c = 0; c < map.columns.size(); ++c) {
      const size_t i = r * map.columns.size() + c;
      const double x = kLeft + kCellWidth * static_cast<double>(c);
      const double share = high > low ? (map.values[i] - low) / (high - low) : 1;
      absl::StrAppendFormat(&svg,
                            "<rect x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" height=\"%.0f\" fill=\"%s\" stroke=\"%s\" "
                            "stroke-width=\"%d\"/>\n",
                            x + 2, y + 2, kCellWidth - 4, kCellHeight - 4, Colour(share),
                            i == map.marked ? "#d9480f" : "none", i == map.marked ? 3 : 0);
      svg += Text(x + kCellWidth / 2, y + kCellHeight / 2 + 5, "middle",
                  absl::StrCat("fill=\"", share > 0.5 ? "#ffffff" : "#222222", "\""),
                  absl::StrFormat("%.4f", map.values[i]));
    }
  }
  return svg + "</svg>\n";
}

}  // namespace astray
