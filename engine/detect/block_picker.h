// Of each block of consecutive vectors of a run one, drawn at random: where neighbours have much the same error, blocks
// longer than that lasts leave vectors that are nearly exchangeable (block calibration; cf. Chernozhukov, Wüthrich &
// Zhu 2018). A fresh vector is then flagged at the rate asked for, at whatever place of a block it is. Not thread-safe.
#pragma once

#include <cstdint>

#include "engine/base/random.h"

namespace astray {

class BlockPicker {
 public:
  static constexpr uint32_t kMaxBlockRows = 1'000'000;

  // block_rows: 0 and 1 take every vector. Runs of different numbers have different draws.
  BlockPicker(uint32_t block_rows, uint64_t run) : block_rows_(block_rows), random_(kSeed, run) {}

  bool TakesNext() {
    if (block_rows_ <= 1) return true;
    if (place_ == 0) drawn_ = random_.UniformInt(block_rows_);
    const bool taken = place_ == drawn_;
    place_ = (place_ + 1) % block_rows_;
    return taken;
  }

 private:
  static constexpr uint64_t kSeed = 0x626c6f636b;

  uint64_t block_rows_, place_ = 0, drawn_ = 0;
  Random random_;
};

}  // namespace astray
