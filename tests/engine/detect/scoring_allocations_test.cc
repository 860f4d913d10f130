// Scoring allocates nothing of its own once its result has room. A program of its own: it counts every `new`.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <limits>
#include <new>
#include <vector>

#include "engine/detect/detector.h"
#include "tests/testing/tiny_detector.h"

namespace {
std::atomic<size_t> allocations = 0;

void* Allocate(size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes); memory != nullptr) return memory;
  std::abort();
}
}  // namespace

void* operator new(size_t bytes) { return Allocate(bytes); }
void* operator new[](size_t bytes) { return Allocate(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace astray {
namespace {

size_t AllocationsOf(const std::function<absl::Status()>& call) {
  for (int warm_up = 0; warm_up < 2; ++warm_up) EXPECT_TRUE(call().ok());
  const size_t before = allocations;
  EXPECT_TRUE(call().ok());
  return allocations - before;
}

TEST(Detector, AllocatesNothingBesideTheNetwork) {
  constexpr size_t kRows = 512;
  TinyDetectorOptions tiny;
  for (const uint32_t window : {1u, 4u}) {
    tiny.window = window;
    const auto detector = MakeTinyDetector(tiny);
    const DetectorModel& model = detector->model();
    std::vector<float> rows = TinyRows(kRows + window - 1, 3, 5);
    for (const bool missing : {false, true}) {
      if (missing) rows[17] = rows[100] = std::numeric_limits<float>::quiet_NaN();
      for (const bool explain_all : {false, true}) {
        ScoreResult result;
        const size_t scoring =
            AllocationsOf([&] { return detector->Score(rows, {.explain_all = explain_all}, &result); });
        auto executor = Executor::Create(model.executors.network());
        ASSERT_TRUE(executor.ok());
        std::vector<float> output(result.batch.values.size());
        // oneDNN has its own.
        const size_t network = AllocationsOf([&] { return (*executor)->Forward(kRows, result.batch.values, output); });
        EXPECT_EQ(scoring, network) << window << " " << missing << " " << explain_all;
      }
    }
  }
}

}  // namespace
}  // namespace astray
