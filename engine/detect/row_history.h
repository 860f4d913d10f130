// The last window - 1 rows of one stream, so that a stream scored in pieces of any size gives bit for bit the verdicts
// of the whole:
//
//   RowHistory history(detector.features(), detector.window());
//   for (each piece) {
//     detector.Score(history.Extend(piece), options, &result);
//     // The piece's first history.warming_up_rows() rows have no verdict; result.verdicts are those of the others.
//   }
//
// Not thread-safe: one for each stream. Keeps what it has allocated from piece to piece.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace astray {

class RowHistory {
 public:
  RowHistory(size_t features, size_t window);

  // The rows before `new_rows` (at most window - 1) and then `new_rows`, contiguous. new_rows.size() must be a multiple
  // of `features`: check it before, a stream whose piece was refused is at its end. The result is valid until the next
  // call, and only as long as `new_rows`, which is returned as it is where the window is one row.
  std::span<const float> Extend(std::span<const float> new_rows);

  // Of the rows last given to Extend, how many leading ones have no verdict, since the window was not full.
  size_t warming_up_rows() const { return warming_up_rows_; }

 private:
  size_t features_;
  size_t window_;
  size_t warming_up_rows_ = 0;
  std::vector<float> rows_;  // what Extend returned last; its tail is the history
};

}  // namespace astray
