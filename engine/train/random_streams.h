// What the seed's independent streams are used for: a change in one does not shift the others.
#pragma once

#include <cstdint>

namespace astray {

enum RandomStream : uint64_t {
  kSplitStream = 1,
  kInitialiseStream = 2,
  kBatchStream = 3,
  kCorruptionStream = 4,
  kHeldOutCorruptionStream = 5,
  kDropoutStream = 6,
  kJudgingStream = 7,
  kInjectionStream = 8,
  kScoreChoiceStream = 9,
  kPrototypeStream = 10,
};

}  // namespace astray
