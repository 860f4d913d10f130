// Simulates a plant's sensors: coupled, noisy, autocorrelated, with load changes; faults start and end at known rows
// and name the sensors that are truly faulty. For demonstrations and tests whose truth must be known.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/data/dataset.h"

namespace astray {

class PlantSimulator {
 public:
  struct Options {
    std::string plant = "pump";  // one of Plants()
    size_t rows = 20000;         // of each run; one row a second
    uint64_t seed = 1;
    std::vector<std::string> faults;  // each one of Faults(plant); empty makes a normal run
    double missing_ratio = 0;         // share of values dropped out
  };

  static std::vector<std::string> Plants();
  static absl::StatusOr<std::vector<std::string>> Faults(const std::string& plant);  // NotFound lists what there is

  // The faults occur in turn, evenly spread over the run, each about a tenth of the distance between them long.
  // The result has timestamps and labels; culprits are the faulty sensors, "a;b", on labelled rows.
  static absl::StatusOr<Dataset> Run(const Options& options);
};

}  // namespace astray
