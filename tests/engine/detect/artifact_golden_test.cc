// tests/golden/artifact-v1 was written once and must load for as long as format version 1 is read.
// To write it anew (a new format version, never to make this test pass):
//   ASTRAY_REGENERATE_GOLDEN=1 build/release/bin/detect_test --gtest_filter='ArtifactGolden.*'
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "engine/detect/artifact.h"
#include "tests/engine/detect/small_detector.h"

namespace astray {
namespace {

const std::filesystem::path kBasePath = "tests/golden/artifact-v1";

TEST(ArtifactGolden, FormatVersion1StillLoads) {
  if (std::getenv("ASTRAY_REGENERATE_GOLDEN") != nullptr) {
    std::filesystem::remove_all(kBasePath);
    const auto detector = MakeSmallDetector({.window = 2, .calibration_rows = 100});
    std::vector<float> rows = SmallRows(6, 2);
    rows[4] = std::nanf("");
    const auto path = WriteArtifact(kBasePath, *detector, rows, SmallReport(), 1);
    ASSERT_TRUE(path.ok()) << path.status();
  }
  const auto detector = ReadArtifact(kBasePath / "pump" / "1");
  ASSERT_TRUE(detector.ok()) << detector.status();
  EXPECT_EQ((*detector)->window(), 2u);
  EXPECT_EQ((*detector)->features(), 3u);
  EXPECT_EQ((*detector)->calibration().samples(), 99u);
  const auto report = ReadReport(kBasePath / "pump" / "1");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->parameters(), 204u);

  // What was written then scores as what would be written now, but for another machine's rounding.
  const std::vector<float> rows = SmallRows(30, 4);
  const auto errors = (*detector)->Errors(rows);
  const auto expected = MakeSmallDetector({.window = 2, .calibration_rows = 100})->Errors(rows);
  ASSERT_TRUE(errors.ok() && expected.ok());
  for (size_t i = 0; i < errors->size(); ++i) EXPECT_NEAR((*errors)[i], (*expected)[i], 1e-4 * (*expected)[i]);
}

}  // namespace
}  // namespace astray
