// Templates of public logs against the true ones, with one set of rules for all systems. The data is found through
// ASTRAY_DATA_DIR (default ../shared/data); where it is missing the test skips and says so.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/data/line_reader.h"
#include "engine/features/template_miner.h"

namespace astray {
namespace {

std::filesystem::path DataPath(const std::string& file) {
  const char* base = std::getenv("ASTRAY_DATA_DIR");
  return std::filesystem::path(base == nullptr ? "../shared/data" : base) / "logparse" / file;
}

std::vector<std::string> ReadLines(const std::string& file) {
  std::vector<std::string> lines;
  auto source = ByteSource::Open(DataPath(file).string());
  if (!source.ok()) return lines;
  LineReader reader(*std::move(source), file);
  absl::string_view line;
  while (*reader.Next(&line)) lines.emplace_back(line);
  return lines;
}

// Share of the lines whose group is exactly the true one (Zhu et al. 2019).
double GroupingAccuracy(const std::vector<std::string>& truth, const std::vector<size_t>& found) {
  std::map<std::string, std::vector<size_t>> true_groups;
  std::map<size_t, std::vector<size_t>> groups;
  for (size_t i = 0; i < truth.size(); ++i) {
    true_groups[truth[i]].push_back(i);
    groups[found[i]].push_back(i);
  }
  double right = 0;
  for (const auto& [id, lines] : groups) {
    if (true_groups[truth[lines.front()]] == lines) right += static_cast<double>(lines.size());
  }
  return right / static_cast<double>(truth.size());
}

TEST(Quality, TemplatesOfPublicLogsAreTheTrueOnes) {
  const std::vector<std::string> systems = {"Apache", "BGL",     "HDFS",  "Hadoop",
                                            "Linux",  "OpenSSH", "Spark", "Zookeeper"};
  double sum = 0;
  for (const std::string& system : systems) {
    const std::vector<std::string> lines = ReadLines(system + ".log.gz");
    if (lines.empty()) GTEST_SKIP() << "no data in " << DataPath("") << "; set ASTRAY_DATA_DIR";
    std::vector<std::string> truth = ReadLines(system + "_truth.csv.gz");  // line_id,event_id,...
    truth.erase(truth.begin());
    ASSERT_LE(truth.size(), lines.size());
    TemplateMiner miner;
    std::vector<size_t> found;
    for (size_t i = 0; i < truth.size(); ++i) {
      const size_t begin = truth[i].find(',') + 1;
      truth[i] = truth[i].substr(begin, truth[i].find(',', begin) - begin);
      found.push_back(miner.Learn(lines[i]));
    }
    const double accuracy = GroupingAccuracy(truth, found);
    std::printf("%-10s %.3f of the lines grouped right, %zu templates\n", system.c_str(), accuracy, miner.size());
    sum += accuracy / static_cast<double>(systems.size());
  }
  std::printf("mean       %.3f\n", sum);
  EXPECT_GE(sum, 0.90);
}

// What an artifact keeps of a miner, its texts, makes the one that finds the same.
TEST(Quality, TemplatesOfPublicLogsAreFoundAgainByTheirTexts) {
  size_t all = 0;
  for (const std::string system : {"Apache", "BGL", "HDFS", "Hadoop", "Linux", "OpenSSH", "Spark", "Zookeeper"}) {
    const std::vector<std::string> lines = ReadLines(system + ".log.gz");
    if (lines.empty()) GTEST_SKIP() << "no data in " << DataPath("") << "; set ASTRAY_DATA_DIR";
    // Half of the lines, so that others are of no template; few children, so that many words go the wildcard's way.
    for (const size_t max_children : {100, 3}) {
      const TemplateMiner::Options options = {.similarity = max_children == 3 ? 0.5 : 0.8,
                                              .max_children = max_children};
      TemplateMiner miner(options), again(options);
      for (size_t i = 0; i < lines.size(); i += 2) miner.Learn(lines[i]);
      for (size_t id = 0; id < miner.size(); ++id) again.AddTemplate(miner.Template(id), miner.Lines(id));
      for (const std::string& line : lines) {
        ASSERT_EQ(again.Match(line), miner.Match(line)) << line;
        ++all;
      }
    }
  }
  std::printf("%zu lines found again\n", all);
}

}  // namespace
}  // namespace astray
