#include "engine/data/plant_simulator.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <limits>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/random.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

// What drives a plant from outside; sensors follow from it.
struct Drive {
  double load = 0;     // 0 to 1
  double ambient = 0;  // degrees Celsius
  double heat = 0;     // load as slow masses feel it, 0 to 1
};

struct Sensor {
  const char* name;
  double (*physics)(const Drive&);
  double noise;  // standard deviation, the sensor's unit
};

enum class Effect {
  kOffset,  // adds `size`
  kRattle,  // adds an oscillation of amplitude `size`
  kFrozen,  // repeats the reading at the fault's start
  kCreep,   // adds what grows from 0 to `size`
};

struct Symptom {
  size_t sensor;
  Effect effect;
  double size;  // the sensor's unit
};

struct Fault {
  const char* name;
  std::vector<Symptom> symptoms;
};

struct Plant {
  const char* name;
  std::vector<Sensor> sensors;
  std::vector<Fault> faults;
};

// Sizes are several times the sensor's noise but mostly inside the range that load changes give it anyway: what gives
// a fault away is that it does not fit the other sensors.
const std::vector<Plant>& AllPlants() {
  static const auto* plants = new std::vector<Plant>{
      {"pump",
       {{"speed", [](const Drive& d) { return 1200 + 600 * d.load; }, 6},
        {"flow", [](const Drive& d) { return 40 + 55 * d.load; }, 0.8},
        {"suction_pressure", [](const Drive& d) { return 2.4 - 0.7 * d.load * d.load; }, 0.02},
        {"discharge_pressure", [](const Drive& d) { return 4 + 4.5 * d.load + 1.5 * d.load * d.load; }, 0.06},
        {"motor_current", [](const Drive& d) { return 9 + 9 * d.load + 5 * d.load * d.load; }, 0.2},
        {"bearing_temperature", [](const Drive& d) { return d.ambient + 18 + 28 * d.heat; }, 0.3},
        {"vibration", [](const Drive& d) { return 1.1 + 0.9 * d.load + 0.8 * d.load * d.load; }, 0.08},
        {"seal_leak_rate", [](const Drive& d) { return 0.4 + 0.5 * d.load; }, 0.03}},
       {{"seal_leak", {{7, Effect::kOffset, 0.35}, {3, Effect::kOffset, -0.45}}},
        {"bearing_wear", {{6, Effect::kRattle, 0.7}, {5, Effect::kCreep, 7}}},
        {"cavitation", {{2, Effect::kOffset, -0.16}, {6, Effect::kRattle, 0.6}, {1, Effect::kRattle, 5}}},
        {"clogged_filter", {{1, Effect::kOffset, -8}, {2, Effect::kOffset, -0.2}}},
        {"sensor_stuck", {{4, Effect::kFrozen, 0}}},
        {"sensor_drift", {{3, Effect::kCreep, 1.4}}}}},
      {"compressor",
       {{"shaft_speed", [](const Drive& d) { return 8200 + 2400 * d.load; }, 20},
        {"inlet_pressure", [](const Drive& d) { return 1.02 - 0.06 * d.load; }, 0.002},
        {"outlet_pressure", [](const Drive& d) { return 5.2 + 2.6 * d.load; }, 0.03},
        {"inlet_temperature", [](const Drive& d) { return d.ambient; }, 0.2},
        {"outlet_temperature", [](const Drive& d) { return d.ambient + 92 + 48 * d.load; }, 0.8},
        {"mass_flow", [](const Drive& d) { return 3.1 + 2.2 * d.load - 0.3 * d.load * d.load; }, 0.04},
        {"motor_power", [](const Drive& d) { return 410 + 390 * d.load + 120 * d.load * d.load; }, 6},
        {"oil_temperature", [](const Drive& d) { return 0.5 * d.ambient + 38 + 16 * d.heat; }, 0.25},
        {"oil_pressure", [](const Drive& d) { return 3.4 - 0.5 * d.heat; }, 0.03},
        {"vibration", [](const Drive& d) { return 12 + 9 * d.load; }, 0.7}},
       {{"surge", {{5, Effect::kRattle, 0.5}, {2, Effect::kRattle, 0.4}, {9, Effect::kOffset, 6}}},
        {"fouling", {{2, Effect::kOffset, -0.4}, {4, Effect::kOffset, 11}}},
        {"oil_leak", {{8, Effect::kCreep, -0.5}, {7, Effect::kCreep, 5}}},
        {"sensor_stuck", {{6, Effect::kFrozen, 0}}}}}};
  return *plants;
}

absl::StatusOr<const Plant*> FindPlant(const std::string& name) {
  for (const Plant& plant : AllPlants()) {
    if (plant.name == name) return &plant;
  }
  return absl::NotFoundError(
      absl::StrCat("plant '", name, "': expected one of ", absl::StrJoin(PlantSimulator::Plants(), ", ")));
}

absl::StatusOr<const Fault*> FindFault(const Plant& plant, const std::string& name) {
  std::vector<std::string> known;
  for (const Fault& fault : plant.faults) {
    if (fault.name == name) return &fault;
    known.emplace_back(fault.name);
  }
  return absl::NotFoundError(
      absl::StrCat("fault '", name, "' of plant '", plant.name, "': expected one of ", absl::StrJoin(known, ", ")));
}

// Load goes through steps and slow swings, the ambient temperature through a day of two hours (a run of some hours
// then shows every operating point). Smoothed, so that no second jumps.
class DriveModel {
 public:
  explicit DriveModel(Random random) : random_(random) {
    phase_ = 2 * std::numbers::pi * random_.Uniform();
    step_ = random_.Uniform();
    load_ = heat_ = step_;
  }

  Drive Next() {
    constexpr double kDay = 7200, kStepRate = 1.0 / 400, kLoadLag = 30, kHeatLag = 200;
    if (random_.Uniform() < kStepRate) step_ = random_.Uniform();
    wander_ += -wander_ / 60 + 0.012 * random_.Normal();
    load_ += (std::clamp(step_ + wander_, 0.0, 1.0) - load_) / kLoadLag;
    heat_ += (load_ - heat_) / kHeatLag;
    const double ambient = 21 + 5 * std::sin(phase_ + 2 * std::numbers::pi * static_cast<double>(second_++) / kDay);
    return {.load = load_, .ambient = ambient, .heat = heat_};
  }

 private:
  Random random_;
  double phase_, step_, load_, heat_, wander_ = 0;
  uint64_t second_ = 0;
};

std::string Timestamp(size_t second) {
  constexpr std::time_t kStart = 1767225600;  // 2026-01-01T00:00:00Z
  const std::time_t time = kStart + static_cast<std::time_t>(second);
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

// Changes `rows` rows of a run from `begin` on.
void Inject(const Fault& fault, const Plant& plant, size_t begin, size_t rows, Dataset* run) {
  const size_t width = plant.sensors.size();
  std::vector<std::string> culprits;
  for (const Symptom& symptom : fault.symptoms) culprits.emplace_back(plant.sensors[symptom.sensor].name);
  const std::string joined = absl::StrJoin(culprits, ";");
  const size_t ramp = std::max<size_t>(1, rows / 10);
  for (size_t i = 0; i < rows; ++i) {
    const double severity = std::min(1.0, static_cast<double>(i + 1) / static_cast<double>(ramp));
    const double progress = static_cast<double>(i + 1) / static_cast<double>(rows);
    for (const Symptom& symptom : fault.symptoms) {
      float& value = run->values[(begin + i) * width + symptom.sensor];
      switch (symptom.effect) {
        case Effect::kOffset:
          value += static_cast<float>(severity * symptom.size);
          break;
        case Effect::kRattle:
          // 0.31 turns a second is near no divisor of the sampling rate: it looks like rough running.
          value += static_cast<float>(severity * symptom.size *
                                      std::cos(2 * std::numbers::pi * 0.31 * static_cast<double>(i)));
          break;
        case Effect::kFrozen:
          if (i > 0) value = run->values[(begin + i - 1) * width + symptom.sensor];
          break;
        case Effect::kCreep:
          value += static_cast<float>(progress * symptom.size);
          break;
      }
    }
    run->labels[begin + i] = 1;
    run->culprits[begin + i] = joined;
  }
}

}  // namespace

std::vector<std::string> PlantSimulator::Plants() {
  std::vector<std::string> names;
  for (const Plant& plant : AllPlants()) names.emplace_back(plant.name);
  return names;
}

absl::StatusOr<std::vector<std::string>> PlantSimulator::Faults(const std::string& plant) {
  ASSIGN_OR_RETURN(const Plant* found, FindPlant(plant));
  std::vector<std::string> names;
  for (const Fault& fault : found->faults) names.emplace_back(fault.name);
  return names;
}

absl::StatusOr<Dataset> PlantSimulator::Run(const Options& options) {
  ASSIGN_OR_RETURN(const Plant* plant, FindPlant(options.plant));
  std::vector<const Fault*> faults;
  for (const std::string& name : options.faults) {
    ASSIGN_OR_RETURN(const Fault* fault, FindFault(*plant, name));
    faults.push_back(fault);
  }
  constexpr size_t kMaxRows = 10'000'000;
  if (options.rows < 1 || options.rows > kMaxRows) {
    return absl::InvalidArgumentError(absl::StrCat("rows: expected 1 to ", kMaxRows, ", got ", options.rows));
  }
  if (!(options.missing_ratio >= 0 && options.missing_ratio < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("missing_ratio: expected a number in [0, 1), got ", options.missing_ratio));
  }
  if (options.rows < 20 * (faults.size() + 1)) {
    return absl::InvalidArgumentError(absl::StrCat("rows: expected at least ", 20 * (faults.size() + 1), " for ",
                                                   faults.size(), " faults, got ", options.rows));
  }

  enum Stream : uint64_t { kDrive, kNoise, kMissing };
  DriveModel drive(Random(options.seed, kDrive));
  Random noise(options.seed, kNoise), missing(options.seed, kMissing);
  const size_t width = plant->sensors.size();
  Dataset run;
  for (const Sensor& sensor : plant->sensors) run.feature_names.emplace_back(sensor.name);
  run.values.resize(options.rows * width);
  run.labels.resize(options.rows);
  run.culprits.resize(options.rows);
  for (size_t i = 0; i < options.rows; ++i) {
    const Drive now = drive.Next();
    for (size_t s = 0; s < width; ++s) {
      run.values[i * width + s] =
          static_cast<float>(plant->sensors[s].physics(now) + plant->sensors[s].noise * noise.Normal());
    }
    run.timestamps.push_back(Timestamp(i));
  }
  const size_t distance = options.rows / (faults.size() + 1);
  for (size_t f = 0; f < faults.size(); ++f) {
    Inject(*faults[f], *plant, (f + 1) * distance, std::max<size_t>(2, distance / 10), &run);
  }
  if (options.missing_ratio > 0) {
    for (float& value : run.values) {
      if (missing.Uniform() < options.missing_ratio) value = std::numeric_limits<float>::quiet_NaN();
    }
  }
  return run;
}

}  // namespace astray
