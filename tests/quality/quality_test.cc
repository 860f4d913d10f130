// Trains with the default recipe on public data and holds the results to ranges that other libraries reach.
// The data is found through ASTRAY_DATA_DIR (default ../shared/data); where it is missing the tests skip and say so.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "engine/data/csv_reader.h"
#include "engine/detect/ranking.h"
#include "engine/train/train_job.h"

namespace astray {
namespace {

std::filesystem::path DataDir(const std::string& set) {
  const char* base = std::getenv("ASTRAY_DATA_DIR");
  return std::filesystem::path(base == nullptr ? "../shared/data" : base) / set;
}

// Training and test files lie side by side as <entity>_train.csv.gz and <entity>_test.csv.gz.
std::vector<std::string> Entities(const std::string& set) {
  constexpr absl::string_view kSuffix = "_test.csv.gz";
  std::vector<std::string> entities;
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(DataDir(set), missing)) {
    const std::string name = entry.path().filename().string();
    if (name.size() > kSuffix.size() && name.substr(name.size() - kSuffix.size()) == std::string(kSuffix)) {
      entities.push_back(name.substr(0, name.size() - kSuffix.size()));
    }
  }
  std::sort(entities.begin(), entities.end());
  return entities;
}

struct Quality {
  double auroc = 0, average_precision = 0, f1 = 0, false_positive_rate = 0;
  std::string error;
};

Quality Measure(const std::string& set, const std::string& entity) {
  Quality quality;
  const auto fail = [&](const absl::Status& status) {
    quality.error = status.ToString();
    return quality;
  };
  CsvOptions options;
  options.label_column = "label";
  auto train = ReadCsv(DataDir(set) / (entity + "_train.csv.gz"), options);
  if (!train.ok()) return fail(train.status());
  train->DropAnomalies();  // as astray train does
  const auto test = ReadCsv(DataDir(set) / (entity + "_test.csv.gz"), options);
  if (!test.ok()) return fail(test.status());
  v1::Recipe recipe;
  recipe.set_name("quality");
  const auto trained = Train(recipe, *train, {});
  if (!trained.ok()) return fail(trained.status());
  ScoreResult result;
  const absl::Status scored = trained->detector->Score(test->values, {.top_contributors = 0}, &result);
  if (!scored.ok()) return fail(scored);
  std::vector<float> scores;
  std::vector<uint8_t> labels;
  for (size_t i = 0; i < result.verdicts.size(); ++i) {
    if (result.verdicts[i].state != Verdict::State::kScored) continue;
    scores.push_back(result.verdicts[i].score);
    labels.push_back(test->labels[i + trained->detector->window() - 1]);
  }
  quality.auroc = Auroc(scores, labels);
  quality.average_precision = AveragePrecision(scores, labels);
  const Confusion confusion = CountAbove(scores, labels, 1.0f);
  quality.f1 = confusion.f1();
  quality.false_positive_rate = confusion.false_positive_rate();
  return quality;
}

// The mean over a set's entities; prints a line for each.
Quality MeasureAll(const std::string& set, const std::vector<std::string>& entities) {
  std::vector<Quality> qualities(entities.size());
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < std::max(1u, std::thread::hardware_concurrency()); ++t) {
    threads.emplace_back([&] {
      for (size_t i = next++; i < entities.size(); i = next++) qualities[i] = Measure(set, entities[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  Quality mean;
  const double count = static_cast<double>(entities.size());
  std::printf("%-24s %7s %7s %7s %7s\n", set.c_str(), "auroc", "ap", "f1", "fpr");
  for (size_t i = 0; i < entities.size(); ++i) {
    const Quality& q = qualities[i];
    EXPECT_EQ(q.error, "") << entities[i];
    std::printf("%-24s %7.3f %7.3f %7.3f %7.3f\n", entities[i].c_str(), q.auroc, q.average_precision, q.f1,
                q.false_positive_rate);
    mean.auroc += q.auroc / count;
    mean.average_precision += q.average_precision / count;
    mean.f1 += q.f1 / count;
    mean.false_positive_rate += q.false_positive_rate / count;
  }
  std::printf("%-24s %7.3f %7.3f %7.3f %7.3f\n", "mean", mean.auroc, mean.average_precision, mean.f1,
              mean.false_positive_rate);
  return mean;
}

TEST(Quality, DefaultsFindAnomaliesOnAWaterCirculationBench) {
  const std::vector<std::string> entities = Entities("skab");
  if (entities.empty()) GTEST_SKIP() << "no data in " << DataDir("skab") << "; set ASTRAY_DATA_DIR";
  EXPECT_EQ(entities.size(), 17u);
  const Quality mean = MeasureAll("skab", entities);
  EXPECT_GE(mean.auroc, 0.80);
  EXPECT_GE(mean.average_precision, 0.80);
}

TEST(Quality, DefaultsFindAnomaliesInTabularData) {
  const std::vector<std::string> entities = Entities("adbench");
  if (entities.empty()) GTEST_SKIP() << "no data in " << DataDir("adbench") << "; set ASTRAY_DATA_DIR";
  EXPECT_EQ(entities.size(), 11u);
  const Quality mean = MeasureAll("adbench", entities);
  EXPECT_GE(mean.auroc, 0.97);
  EXPECT_GE(mean.average_precision, 0.82);
}

}  // namespace
}  // namespace astray
