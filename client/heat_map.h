// A table of numbers as a picture: a cell for each, coloured by its value and labelled with it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace astray {

struct HeatMap {
  std::string title, column_title, row_title;
  std::vector<std::string> columns, rows;
  std::vector<double> values;  // rows.size() x columns.size(), row by row
  size_t marked = 0;           // index of the value with a frame around it
};

// A self-contained SVG document.
std::string ToSvg(const HeatMap& map);

}  // namespace astray
