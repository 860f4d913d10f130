// train, evaluate and score --offline on files of many machines.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <tuple>
#include <vector>

#include "astray/v1/evaluation.pb.h"
#include "engine/base/random.h"
#include "engine/data/csv_reader.h"
#include "engine/detect/artifact.h"
#include "tests/client/offline_commands.h"
#include "tests/testing/tiny_detector.h"

namespace astray {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Two machines at levels far apart, their rows in turns: trained and judged each by itself, both are normal.
TEST_F(OfflineCommands, ManyMachinesInOneFileAreTrainedAndEvaluatedEachByItself) {
  const auto write = [&](const std::string& name, uint64_t seed, bool fault) {
    const std::vector<float> a = TinyRows(600, 3, seed), b = TinyRows(600, 3, seed + 1);
    std::ofstream file(Path(name));
    file << "time,machine,x,y,z,label\n";
    for (size_t i = 0; i < 600; ++i) {
      const bool odd = fault && i >= 500 && i < 520;
      for (const auto& [machine, rows, level] : {std::tuple("a", &a, 0.0f), std::tuple("b", &b, 500.0f)}) {
        const float* row = rows->data() + 3 * i;
        file << i << "," << machine << "," << row[0] + level << "," << row[1] + level + (odd ? 40.0f : 0.0f) << ","
             << row[2] + level << "," << (odd ? 1 : 0) << "\n";
      }
    }
    return Path(name);
  };
  std::ofstream(Path("fleet.textproto")) << "features { window: 5 } network { encoder: 16 encoder: 4 }\n"
                                            "training { max_steps: 300 }\n";
  const CommandOutput trained =
      RunCommand({"train", "--data=" + write("train.csv", 10, false), "--name=fleet", "--entity-column=machine",
                  "--recipe=" + Path("fleet.textproto"), "--model-base-path=" + Path("models")});
  ASSERT_EQ(trained.code, 0) << trained.err;
  const CommandOutput evaluated =
      RunCommand({"evaluate", "--model=" + Path("models/fleet/1"), "--entity-column=machine",
                  "--data=" + write("test.csv", 20, true), "--json"});
  ASSERT_EQ(evaluated.code, 0) << evaluated.err;
  v1::Evaluation evaluation;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(evaluated.out, &evaluation).ok());
  EXPECT_EQ(evaluation.scored_rows(), 2 * 596u);
  EXPECT_EQ(evaluation.anomalous_rows(), 40u);
  EXPECT_GT(evaluation.auroc(), 0.98);
  EXPECT_LT(evaluation.false_positive_rate(), 0.1);
}

// Of two machines one strays three times as far: the threshold of both flags nothing of the other.
TEST_F(OfflineCommands, TrainGivesEachMachineAThresholdThatEvaluateAndScoreJudgeBy) {
  const auto write = [&](const std::string& name, uint64_t seed) {
    const std::vector<float> rows = TinyRows(1500, 3, seed);
    Random random(seed);
    std::ofstream file(Path(name));
    file << "machine,x,y,z,label\n";
    for (size_t i = 0; i < 1500; ++i) {
      const bool noisy = i % 3 == 0;
      file << (i >= 1480 ? "rare" : (noisy ? "noisy" : "quiet"));
      for (size_t j = 0; j < 3; ++j) file << "," << rows[3 * i + j] + (noisy ? 3 : 1) * random.Normal();
      file << "," << (i % 100 == 99 ? 1 : 0) << "\n";
    }
    return Path(name);
  };
  std::ofstream(Path("fleet.textproto")) << "features { window: 1 } network { encoder: 16 encoder: 4 }\n"
                                            "training { max_steps: 300 }\n";
  const std::vector<std::string> train = {"train",
                                          "--data=" + write("train.csv", 10),
                                          "--name=fleet",
                                          "--recipe=" + Path("fleet.textproto"),
                                          "--false-positive-rate=0.05",
                                          "--model-base-path=" + Path("models")};
  const auto with = [](std::vector<std::string> arguments, const std::vector<std::string>& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunCommand(arguments);
  };
  const CommandOutput trained = with(train, {"--segment-column=machine"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_THAT(trained.out, HasSubstr("segments               2 of 3 have a threshold of their own; held-out rows of"));
  const CommandOutput report = with(train, {"--segment-column=machine", "--json"});
  EXPECT_THAT(report.out, HasSubstr("\"segments\":\"3\",\"own_thresholds\":\"2\""));
  const std::string model = Path("models/fleet/1");
  const CommandOutput inspected = RunCommand({"inspect", model});
  EXPECT_THAT(inspected.out, HasSubstr("segments                 2 of 3 have a threshold of their own\n"));
  EXPECT_THAT(inspected.out, HasSubstr("segment rare             threshold "));
  EXPECT_THAT(inspected.out, testing::Not(HasSubstr("\nmachine "))) << "no feature";
  const auto detector = ReadArtifact(model);
  ASSERT_TRUE(detector.ok()) << detector.status();
  const std::string test = write("test.csv", 20);
  // Scored by hand, each row by its machine's threshold.
  const auto rows = ReadCsv(test, {.label_column = "label", .segment_column = "machine"});
  const std::vector<float> errors = *(*detector)->Errors(rows->values);
  uint32_t flagged = 0, by_all = 0;
  for (size_t i = 0; i < errors.size(); ++i) {
    double threshold = (*detector)->calibration().threshold();
    by_all += errors[i] > threshold ? 1 : 0;
    for (const auto& segment : (*detector)->calibration().segments()) {
      if (segment.name == rows->segments[i]) threshold = segment.threshold;
    }
    flagged += errors[i] > threshold ? 1 : 0;
  }
  ASSERT_NE(flagged, by_all);
  v1::Evaluation evaluation;
  const std::vector<std::string> evaluate = {"evaluate", "--model=" + model, "--data=" + test, "--json"};
  ASSERT_TRUE(
      google::protobuf::util::JsonStringToMessage(with(evaluate, {"--segment-column=machine"}).out, &evaluation).ok());
  EXPECT_EQ(evaluation.flagged_rows(), flagged);
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(with(evaluate, {}).out, &evaluation).ok());
  EXPECT_EQ(evaluation.flagged_rows(), by_all);
  const std::string scored = RunCommand({"score", "--offline", "--model=" + model, "--data=" + test,
                                         "--segment-column=machine", "--format=jsonl"})
                                 .out;
  size_t anomalous = 0;
  for (size_t at = scored.find("\"anomalous\":true"); at != std::string::npos;
       at = scored.find("\"anomalous\":true", at + 1)) {
    ++anomalous;
  }
  EXPECT_EQ(anomalous, flagged);
  const CommandOutput none = with(train, {"--segment-column=mood"});
  EXPECT_EQ(none.code, 65);
  EXPECT_THAT(none.err, HasSubstr("column 'mood': not in the header"));
  const CommandOutput log = RunCommand({"train", "--data=" + Write("x.log", "a\n"), "--name=x", "--segment-column=m"});
  EXPECT_EQ(log.code, 64);
  EXPECT_THAT(log.err, HasSubstr("--segment-column: expected a CSV, got "));
}

}  // namespace
}  // namespace astray
