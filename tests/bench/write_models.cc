// Writes S1 models for tests/bench/footprint.py: write_models FOLDER COUNT. They differ in name and weights alone.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/bench/shapes.h"

int main(int argc, char** argv) {
  using namespace astray;
  if (argc != 3) {
    std::fprintf(stderr, "usage: write_models FOLDER COUNT\n");
    return 64;
  }
  const long count = std::atol(argv[2]);
  for (long i = 0; i < count; ++i) {
    TinyDetectorOptions options = bench::DetectorOf(bench::Shapes().front());
    options.name += "-" + std::to_string(i);
    options.seed = static_cast<uint64_t>(i + 1);
    WriteTinyArtifact(std::filesystem::path(argv[1]), options);
  }
}
