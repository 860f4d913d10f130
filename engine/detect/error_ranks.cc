#include "engine/detect/error_ranks.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace astray {
namespace {

// A float's bits above these are its exponent, which is its octave, and its cell there.
constexpr uint32_t kCellShift = 23 - 7;
constexpr uint32_t kFirst = (127 - 40) << 7;

float LeastOf(size_t cell) {
  return cell == 0 ? 0.0f : std::bit_cast<float>(static_cast<uint32_t>(kFirst + cell) << kCellShift);
}

}  // namespace

ErrorRanks::ErrorRanks(const std::function<double(float)>& at_least, double weight, uint64_t seed) : random_(seed) {
  // How many there are in cells [first, last); the last of all is open.
  const auto between = [&](size_t first, size_t last) {
    const double beyond = last < kOctaves * kCells ? at_least(LeastOf(last)) : 0;
    return weight * std::max(at_least(LeastOf(first)) - beyond, 0.0);
  };
  for (size_t octave = 0; octave < kOctaves; ++octave) {
    const size_t first = octave * kCells;
    if (between(first, first + kCells) == 0) continue;
    std::vector<double>& cells = CellsOf(octave);
    for (size_t i = 0; i < kCells; ++i) cells[i] = between(first + i, first + i + 1);
    octave_counts_[octave] = std::accumulate(cells.begin(), cells.end(), 0.0);
    count_ += octave_counts_[octave];
  }
}

std::vector<double>& ErrorRanks::CellsOf(size_t octave) {
  if (cells_[octave].empty()) cells_[octave].resize(kCells);
  return cells_[octave];
}

double ErrorRanks::Next(float error) {
  size_t cell = 0;
  if (error > 0) {
    const uint32_t place = std::bit_cast<uint32_t>(error) >> kCellShift;
    cell = place <= kFirst ? 0 : std::min<size_t>(place - kFirst, kOctaves * kCells - 1);
  }
  const size_t octave = cell / kCells, within = cell % kCells;
  std::vector<double>& cells = CellsOf(octave);
  const auto above = cells.begin() + static_cast<std::ptrdiff_t>(within) + 1;
  const double larger = std::accumulate(above, cells.end(), 0.0) +
                        std::accumulate(octave_counts_.begin() + octave + 1, octave_counts_.end(), 0.0);
  const double p = (larger + random_.Uniform() * (1 + cells[within])) / (1 + count_);
  count_ += 1;
  octave_counts_[octave] += 1;
  cells[within] += 1;
  return std::min(p, 1.0);
}

}  // namespace astray
