// What commands that train share: --data and its columns, --recipe, --name, --seed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "client/command.h"
#include "client/prometheus_client.h"
#include "client/prometheus_range.h"
#include "engine/data/csv_reader.h"
#include "engine/data/dataset.h"

namespace astray {

struct TrainingFlags {
  std::string data, name, recipe;
  CsvOptions csv;
  PrometheusFlags prometheus;
  PrometheusRangeFlags range;
  std::optional<uint64_t> seed;

  void Add(CLI::App* command);
  // Rows labelled as anomalies are left out, with a note of how many.
  absl::StatusOr<Dataset> ReadData(const v1::Recipe& recipe, CommandContext& context) const;
  // The recipe's file with the flags over it; for FASTA data, how letters become numbers. A usage error where it has no
  // name and `default_name` is empty.
  absl::StatusOr<v1::Recipe> MakeRecipe(const std::string& default_name) const;
};

}  // namespace astray
