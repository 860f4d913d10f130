// Steps of training for pytorch_training.py: reads numbers of steps, one a line, takes that many, and answers each with
// "seconds of this process's CPU, seconds of the clock, mean loss". What it begins with it writes to a file first: its
// 8,192 rows, then each layer's weights [outputs x inputs], all float32; biases begin as 0.
// Usage: training_steps SHAPE BATCH THREADS START_FILE    (SHAPE: s1, s2, s3)
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "engine/train/network_recipe.h"
#include "engine/train/recipe.h"
#include "engine/train/training_step.h"
#include "tests/bench/shapes.h"

namespace astray {
namespace {

constexpr size_t kRows = 8192;

// Rows that hang together: eight causes, mixed and bent, and some noise.
std::vector<float> MakeRows(size_t width) {
  constexpr size_t kCauses = 8;
  Random random(1);
  std::vector<float> mixing(kCauses * width), causes(kCauses), rows(kRows * width);
  random.FillNormal(mixing);
  for (size_t i = 0; i < kRows; ++i) {
    random.FillNormal(causes);
    const std::span<float> row = std::span(rows).subspan(i * width, width);
    random.FillNormal(row);
    for (size_t j = 0; j < width; ++j) {
      double sum = 0;
      for (size_t k = 0; k < kCauses; ++k) sum += double{causes[k]} * mixing[k * width + j];
      row[j] = static_cast<float>(std::tanh(sum / 2) + 0.05 * row[j]);
    }
  }
  return rows;
}

v1::Recipe MakeRecipe(const bench::Shape& shape, const std::string& batch) {
  std::string text =
      "name: 'bench' features { window: 1 } corruption { gaussian { sigma: 0.2 } } loss: MEAN_SQUARED_ERROR ";
  text += "network { activation: RELU output_activation: LINEAR ";
  for (size_t i = 0; i <= shape.hidden.size() / 2; ++i) text += "encoder: " + std::to_string(shape.hidden[i]) + " ";
  text += "} training { batch_size: " + batch + " adam { learning_rate: 0.001 } }";
  Dataset data;
  for (size_t j = 0; j < shape.width; ++j) data.feature_names.push_back("f" + std::to_string(j));
  data.values.resize(400 * shape.width);
  return *CompleteRecipe(*ParseRecipe(text, "bench"), data);
}

void Write(std::span<const float> values, std::ofstream& file) {
  file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size_bytes()));
}

int Serve(const bench::Shape& shape, const std::string& batch, size_t threads, const std::string& start_file) {
  const std::vector<float> rows = MakeRows(shape.width), observed(rows.size(), 1.0f);
  const v1::Recipe recipe = MakeRecipe(shape, batch);
  const VectorSet vectors(rows, observed, shape.width, 1, {{0, kRows}});
  Network network = *Network::Create(BuildNetworkSpec(recipe, shape.width));
  Random random(1);
  network.Initialise(random);
  std::ofstream start(start_file, std::ios::binary);
  Write(rows, start);
  for (size_t i = 0; i < network.layers(); ++i) {
    Write(network.parameters().subspan(network.offsets(i).weights, network.shape(i).weights), start);
  }
  start.close();
  ThreadTeam team(threads);
  TrainingStep step = *TrainingStep::Create(recipe, vectors, &network, &team);
  std::cout << "ready " << network.parameter_count() << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const int steps = std::stoi(line);
    const std::clock_t cpu = std::clock();
    const auto clock = std::chrono::steady_clock::now();
    double sum = 0;
    for (int i = 0; i < steps; ++i) sum += *step.Run();
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - clock;
    std::cout << static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC << " " << wall.count() << " " << sum / steps
              << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace astray

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  for (const astray::bench::Shape& shape : astray::bench::Shapes()) {
    if (arguments.size() == 4 && arguments[0] == shape.name) {
      return astray::Serve(shape, arguments[1], std::stoul(arguments[2]), arguments[3]);
    }
  }
  std::cerr << "usage: training_steps s1|s2|s3 BATCH THREADS ROWS_FILE\n";
  return 64;
}
