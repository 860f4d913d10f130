// Detection on raw lines of two public logs of HDFS blocks, through the command line: lines are made again from the
// published sequences of events and their templates. The data is found through ASTRAY_DATA_DIR (default
// ../shared/data); where it is missing the tests skip and say so.
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "astray/v1/evaluation.pb.h"
#include "engine/base/random.h"
#include "engine/data/csv_splitter.h"
#include "tests/client/command_runner.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

std::string DataPath(const std::string& file) {
  const char* base = std::getenv("ASTRAY_DATA_DIR");
  return (std::filesystem::path(base == nullptr ? "../shared/data" : base) / "logs" / file).string();
}

// The cells of all records behind the header; none where the file is missing.
std::vector<std::vector<std::string>> ReadTable(const std::string& file) {
  std::vector<std::vector<std::string>> table;
  auto source = ByteSource::Open(DataPath(file));
  if (!source.ok()) return table;
  CsvSplitter splitter(*std::move(source), 1 << 22, 100);
  std::vector<absl::string_view> cells;
  while (*splitter.Next(&cells)) table.emplace_back(cells.begin(), cells.end());
  table.erase(table.begin());
  return table;
}

struct Session {
  std::string key;
  std::vector<std::string> events;
  bool anomalous = false;
};

std::vector<Session> ReadSessions(const std::string& file) {
  std::vector<Session> sessions;
  for (const auto& cells : ReadTable(file)) {
    sessions.push_back({cells[0], absl::StrSplit(cells[1], ' ', absl::SkipEmpty()), cells[2] == "1"});
  }
  return sessions;
}

std::map<std::string, std::string> ReadTemplates(const std::string& file) {
  std::map<std::string, std::string> templates;
  for (const auto& cells : ReadTable(file)) templates[cells[0]] = cells[1];
  return templates;
}

// The template with its first <*> filled by the key, others by addresses. Events without a template are their own text.
std::string LineOf(const std::map<std::string, std::string>& templates, const std::string& event,
                   const std::string& key, Random& random) {
  const auto found = templates.find(event);
  const std::vector<std::string> parts = absl::StrSplit(found == templates.end() ? event : found->second, "<*>");
  std::string line = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) {
    const auto part = [&] { return static_cast<int>(random.Uniform() * 255); };
    absl::StrAppend(&line, " ", i == 1 ? key : absl::StrCat("10.", part(), ".", part(), ".1:", 50000 + part()), " ",
                    parts[i]);
  }
  return parts.size() == 1 ? absl::StrCat(line, " ", key) : line;
}

// Sessions begin within an hour and interleave; a session's lines come within 20 s of each other.
void WriteLog(const std::vector<Session>& sessions, const std::map<std::string, std::string>& templates,
              const std::string& path) {
  Random random(11);
  std::vector<std::pair<double, std::string>> lines;
  for (const Session& session : sessions) {
    double second = 3600 * random.Uniform();
    for (const std::string& event : session.events) {
      second += 20 * random.Uniform();
      lines.emplace_back(second, LineOf(templates, event, session.key, random));
    }
  }
  std::ranges::stable_sort(lines, {}, &std::pair<double, std::string>::first);
  std::ofstream out(path);
  for (const auto& [second, text] : lines) {
    const int whole = static_cast<int>(second);
    out << absl::StrFormat("2008-11-09 %02d:%02d:%02d,%03d INFO x: %s\n", whole / 3600, whole / 60 % 60, whole % 60,
                           static_cast<int>((second - whole) * 1000), text);
  }
}

// Best F1 of one that knows the labels and sees each session whole: a sequence of events is an anomaly or is not, the
// likelier ones first.
double OracleF1(const std::vector<Session>& sessions) {
  std::map<std::vector<std::string>, std::pair<double, double>> sequences;  // anomalous, normal
  double anomalies = 0;
  for (const Session& session : sessions) {
    auto& [anomalous, normal] = sequences[session.events];
    (session.anomalous ? anomalous : normal) += 1;
    anomalies += session.anomalous;
  }
  std::vector<std::pair<double, double>> order;
  for (const auto& [events, counts] : sequences) order.push_back(counts);
  std::ranges::sort(order, std::ranges::greater(),
                    [](const auto& counts) { return counts.first / (counts.first + counts.second); });
  double best = 0, hits = 0, flagged = 0;
  for (const auto& [anomalous, normal] : order) {
    hits += anomalous;
    flagged += anomalous + normal;
    best = std::max(best, 2 * hits / (flagged + anomalies));
  }
  return best;
}

class LogQuality : public testing::Test {
 protected:
  v1::Evaluation Evaluate(const std::vector<std::string>& train, const std::vector<std::string>& evaluate) const {
    v1::Evaluation evaluation;
    std::vector<std::string> arguments = {"train", "--name=m", "--model-base-path=" + folder_ + "/models"};
    arguments.insert(arguments.end(), train.begin(), train.end());
    const auto trained = RunCommand(arguments);
    EXPECT_EQ(trained.code, 0) << trained.err;
    arguments = {"evaluate", "--json", "--model=" + folder_ + "/models/m/1"};
    arguments.insert(arguments.end(), evaluate.begin(), evaluate.end());
    const auto evaluated = RunCommand(arguments);
    EXPECT_EQ(evaluated.code, 0) << evaluated.err;
    std::fputs((trained.err + evaluated.err).c_str(), stdout);
    EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(evaluated.out, &evaluation).ok());
    std::filesystem::remove_all(folder_ + "/models");
    return evaluation;
  }

  // From raw lines; the recipe is the default but for the pattern of keys.
  v1::Evaluation EvaluateLines(const std::string& entity, const std::vector<Session>& test,
                               const std::string& rate) const {
    const auto templates = ReadTemplates(entity + "_templates.csv");
    WriteLog(ReadSessions(entity + "_train_sequences.csv.gz"), templates, folder_ + "/train.log");
    WriteLog(test, templates, folder_ + "/test.log");
    std::ofstream labels(folder_ + "/labels.csv");
    labels << "session,label\n";
    for (const Session& session : test) labels << session.key << (session.anomalous ? ",1\n" : ",0\n");
    labels.close();
    return Evaluate({"--data=" + folder_ + "/train.log", "--session-pattern=blk_-?[0-9]+", rate},
                    {"--data=" + folder_ + "/test.log", "--labels=" + folder_ + "/labels.csv"});
  }

  // From the published counts of the same sessions, for comparison.
  v1::Evaluation EvaluateCounts(const std::string& entity, const std::string& rate) const {
    const std::string recipe = folder_ + "/counts.textproto";
    std::ofstream(recipe) << "features { scaling: LOG1P window: 1 }";
    return Evaluate({"--data=" + DataPath(entity + "_train.csv.gz"), "--recipe=" + recipe, rate},
                    {"--data=" + DataPath(entity + "_test.csv.gz")});
  }

 private:
  const TemporaryFolder temporary_;
  const std::string folder_ = temporary_.path().string();
};

void Print(const std::string& name, const v1::Evaluation& e) {
  std::printf(
      "%-30s F1 at the threshold %.4f (precision %.4f, recall %.4f, false positives %.4f), best F1 %.4f, AUROC %.4f\n",
      name.c_str(), e.f1_at_threshold(), e.precision_at_threshold(), e.recall_at_threshold(), e.false_positive_rate(),
      e.best_f1(), e.auroc());
}

// Half of the sessions are anomalous: an F1 of .998 with all of them found leaves 6 false alarms in 1,423 normal ones,
// and a rate of .01 allows 14. This is the finest rate that the 285 held-out sessions of hdfs_blocks_a resolve.
constexpr char kRate[] = "--false-positive-rate=0.004";

TEST_F(LogQuality, AnomalousBlocksAreFlaggedFromRawLines) {
  const std::vector<Session> test = ReadSessions("hdfs_blocks_a_test_sequences.csv.gz");
  if (test.empty()) GTEST_SKIP() << "no data in " << DataPath("") << "; set ASTRAY_DATA_DIR";
  const v1::Evaluation lines = EvaluateLines("hdfs_blocks_a", test, kRate);
  const v1::Evaluation counts = EvaluateCounts("hdfs_blocks_a", kRate);
  Print("hdfs_blocks_a, raw lines", lines);
  Print("hdfs_blocks_a, counts", counts);
  std::printf("%-30s best F1 %.4f\n", "hdfs_blocks_a, oracle", OracleF1(test));
  EXPECT_EQ(lines.rows(), test.size());
  EXPECT_GE(lines.f1_at_threshold(), 0.998);
  EXPECT_LE(lines.false_positive_rate(), 0.01);
}

// Of the 57 anomalous sessions, 26 have exactly the events of normal ones: an oracle that knows the labels of the test
// and sees each session's whole sequence reaches a best F1 of .711. Published figures above that (.85) cannot be had
// from these events.
TEST_F(LogQuality, TheFirstLinesOfHdfsComeNearTheOracle) {
  const std::vector<Session> test = ReadSessions("hdfs100k_test_sequences.csv.gz");
  if (test.empty()) GTEST_SKIP() << "no data in " << DataPath("") << "; set ASTRAY_DATA_DIR";
  const v1::Evaluation lines = EvaluateLines("hdfs100k", test, kRate);
  Print("hdfs100k, raw lines", lines);
  Print("hdfs100k, counts", EvaluateCounts("hdfs100k", kRate));
  std::printf("%-30s best F1 %.4f\n", "hdfs100k, oracle", OracleF1(test));
  EXPECT_EQ(lines.rows(), test.size());
  EXPECT_GE(lines.best_f1(), 0.68);
}

}  // namespace
}  // namespace astray
