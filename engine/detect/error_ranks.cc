#include "engine/detect/error_ranks.h"

#include <algorithm>
#include <bit>

namespace astray {
namespace {

// A positive float's bits ascend with it: the exponent and seven bits of the mantissa are the cell. Of 2^-40 to 2^24;
// what is beyond falls in the outermost cells.
constexpr uint32_t kCellShift = 23 - 7;
constexpr uint32_t kFirst = (127 - 40) << 7;
constexpr size_t kCells = size_t{64} << 7;

size_t CellOf(float error) {
  if (!(error > 0)) return 0;
  const uint32_t place = std::bit_cast<uint32_t>(error) >> kCellShift;
  return place <= kFirst ? 0 : std::min<size_t>(place - kFirst, kCells - 1);
}

// The smallest error in a cell.
float LeastOf(size_t cell) {
  return cell == 0 ? 0.0f : std::bit_cast<float>(static_cast<uint32_t>(kFirst + cell) << kCellShift);
}

size_t LowestBit(size_t i) { return i & (~i + 1); }

}  // namespace

ErrorRanks::ErrorRanks(const std::function<double(float)>& at_least, double weight, uint64_t seed)
    : random_(seed), tree_(kCells + 1), cells_(kCells) {
  for (size_t cell = 0; cell < kCells; ++cell) {
    const double beyond = cell + 1 < kCells ? at_least(LeastOf(cell + 1)) : 0;
    cells_[cell] = weight * std::max(at_least(LeastOf(cell)) - beyond, 0.0);
  }
  for (size_t i = 1; i < tree_.size(); ++i) {
    count_ += cells_[i - 1];
    tree_[i] += cells_[i - 1];
    if (const size_t parent = i + LowestBit(i); parent < tree_.size()) tree_[parent] += tree_[i];
  }
}

double ErrorRanks::Below(size_t cell) const {
  double sum = 0;
  for (size_t i = cell; i > 0; i -= LowestBit(i)) sum += tree_[i];
  return sum;
}

double ErrorRanks::Next(float error) {
  const size_t cell = CellOf(error);
  // Sums of fractions round: never below none.
  const double equal = cells_[cell], larger = std::max(count_ - Below(cell) - equal, 0.0);
  const double p = (larger + random_.Uniform() * (1 + equal)) / (1 + count_);
  count_ += 1;
  cells_[cell] += 1;
  for (size_t i = cell + 1; i < tree_.size(); i += LowestBit(i)) tree_[i] += 1;
  return std::min(p, 1.0);
}

}  // namespace astray
