// score --offline --hindsight, and what it refuses.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "astray/v1/service.pb.h"
#include "engine/data/csv_writer.h"
#include "engine/detect/artifact.h"
#include "engine/detect/hindsight.h"
#include "tests/client/offline_commands.h"
#include "tests/engine/data/gzip.h"
#include "tests/testing/tiny_detector.h"

namespace astray {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr size_t kFeatures = 3, kRows = 600, kFault = 400, kFaultRows = 20;

// Rows of two machines in turns, in units of their own: of "b" the noise is three times that of "a".
struct Fleet {
  std::string csv = "time,machine,x,y,z\n", lines;
  std::map<std::string, std::vector<float>> rows;

  Fleet(uint64_t seed, bool fault) {
    for (const auto& [machine, noise] : {std::pair("a", 1.0f), std::pair("b", 3.0f)}) {
      rows[machine] = TinyRows(kRows, kFeatures, seed++);
      const std::vector<float> other = TinyRows(kRows, kFeatures, seed++);
      for (size_t i = 0; i < rows[machine].size(); ++i) {
        float& value = rows[machine][i];
        value += noise * (other[i] - 10.0f * static_cast<float>(i % kFeatures + 1)) / 10;
        const size_t row = i / kFeatures;
        if (fault && i % kFeatures == 1 && row >= kFault && row < kFault + kFaultRows) value += 20;
      }
    }
    for (size_t i = 0; i < kRows; ++i) {
      for (const auto& [machine, values] : rows) {
        absl::StrAppend(&csv, i, ",", machine);
        absl::StrAppend(&lines, "{\"time\":\"", i, "\",\"machine\":\"", machine, "\"");
        for (size_t j = 0; j < kFeatures; ++j) {
          const std::string text = FormatFloat(values[i * kFeatures + j]);
          absl::StrAppend(&csv, ",", text);
          absl::StrAppend(&lines, ",\"", std::string(1, static_cast<char>('x' + j)), "\":", text);
        }
        csv += "\n";
        lines += "}\n";
      }
    }
  }
};

TEST_F(OfflineCommands, HindsightScoresEachMachineByItselfAndItsSegment) {
  const std::string recipe =
      Write("fleet.textproto",
            "features { window: 5 } network { encoder: 16 encoder: 4 } training { max_steps: 200 }\n"
            "score { kind: WINDOW_SCALES t_squared_rows: 2 } calibration { false_positive_rate: 0.02 }\n");
  const CommandOutput trained = RunCommand({"train", "--data=" + Write("train.csv", Fleet(10, false).csv),
                                            "--name=fleet", "--entity-column=machine", "--segment-column=machine",
                                            "--recipe=" + recipe, "--model-base-path=" + Path("models")});
  ASSERT_EQ(trained.code, 0) << trained.err;
  const Fleet today(20, true);
  const std::string data = "--data=" + Write("today.csv", today.csv);
  const auto score = [&](const std::string& rows, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"score",
                                          "--offline",
                                          "--hindsight",
                                          "--model=" + Path("models/fleet/1"),
                                          "--entity-column=machine",
                                          "--segment-column=machine",
                                          rows};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const CommandOutput scored = RunCommand(arguments);
    EXPECT_EQ(scored.code, 0) << scored.err;
    return scored.out;
  };

  // By hand, of each machine all at once.
  const auto detector = ReadArtifact(Path("models/fleet/1"));
  ASSERT_TRUE(detector.ok()) << detector.status();
  const auto& hindsight_model = (*detector)->model().hindsight;
  ASSERT_TRUE(hindsight_model.has_value());
  std::map<std::string, double> thresholds;
  for (const auto& segment : hindsight_model->calibration.segments()) thresholds[segment.name] = segment.threshold;
  ASSERT_EQ(thresholds.size(), 2u);
  ASSERT_NE(thresholds["a"], thresholds["b"]);
  std::map<std::string, std::vector<float>> errors;
  for (const auto& [machine, values] : today.rows) {
    const auto of_machine = HindsightErrors(**detector, hindsight_model->scale, values);
    ASSERT_TRUE(of_machine.ok()) << of_machine.status();
    errors[machine] = *of_machine;
    ASSERT_EQ(errors[machine].size(), kRows);
  }

  const std::string json = score(data, {"--format=jsonl"});
  std::map<std::string, size_t> seen;
  size_t found = 0, false_alarms = 0;
  google::protobuf::util::JsonParseOptions lenient;
  lenient.ignore_unknown_fields = true;
  for (const absl::string_view line : absl::StrSplit(json, '\n', absl::SkipEmpty())) {
    v1::Verdict verdict;
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(std::string(line), &verdict, lenient).ok()) << line;
    const std::string machine = absl::StrContains(line, "\"entity\":\"a\"") ? "a" : "b";
    const size_t i = seen[machine]++;
    EXPECT_THAT(std::string(line), HasSubstr(absl::StrCat("\"timestamp\":\"", i, "\""))) << "in its order";
    EXPECT_EQ(verdict.error(), errors[machine][i]);
    EXPECT_EQ(verdict.threshold(), thresholds[machine]);
    EXPECT_EQ(verdict.anomalous(), errors[machine][i] > thresholds[machine]);
    const bool fault = i >= kFault && i < kFault + kFaultRows;
    (fault ? found : false_alarms) += verdict.anomalous() ? 1 : 0;
  }
  EXPECT_EQ(seen["a"], kRows);
  EXPECT_EQ(seen["b"], kRows);
  EXPECT_EQ(found, 2 * kFaultRows);
  EXPECT_LT(false_alarms, kRows / 5);

  EXPECT_EQ(score("--data=" + Write("today.jsonl", today.lines), {"--format=jsonl"}), json);
  EXPECT_EQ(score("--data=" + Write("today.csv.gz", Gzip(today.csv)), {"--format=jsonl"}), json);
  const auto lines = [](const std::string& text) { return std::count(text.begin(), text.end(), '\n'); };
  const std::string csv = score(data, {});
  EXPECT_EQ(lines(csv), 1 + 2 * static_cast<int64_t>(kRows));
  EXPECT_EQ(lines(score(data, {"--anomalies-only"})), 1 + static_cast<int64_t>(found + false_alarms));
  EXPECT_THAT(score(data, {"--alarms-only"}), AllOf(HasSubstr(",raised"), HasSubstr(",ended")));
  EXPECT_THAT(score(data, {"--false-discovery-rate=0.2"}), HasSubstr(",selected"));
}

TEST_F(OfflineCommands, HindsightRefusesWhatItCannotDo) {
  const auto refusal = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"score", "--hindsight"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const CommandOutput output = RunCommand(arguments);
    EXPECT_EQ(output.out, "");
    return std::pair(output.code, output.err);
  };
  TinyDetectorOptions windows;
  windows.window = 4;
  windows.hindsight =
      HindsightModel{.scale = {}, .calibration = Calibration::Create(std::vector<float>(100, 1.0f), 0.02, {}).value()};
  const std::string model = "--model=" + WriteTinyArtifact(folder_ / "models", windows).string();
  const std::string data = "--data=" + Write("t.csv", "flow,pressure,temperature\n10,20,30\n");
  EXPECT_EQ(refusal({"--offline", model, data + ".none"}).first, 65);
  const auto usage = [&](const std::vector<std::string>& more, const std::string& says) {
    const auto [code, err] = refusal(more);
    EXPECT_EQ(code, 64) << err;
    EXPECT_THAT(err, HasSubstr(says));
  };
  usage({"--model=pump", data}, "--hindsight requires --offline");
  usage({"--offline", model, data, "--top=2"}, "--top excludes --hindsight");
  usage({"--offline", model, data, "--explain-all"}, "--explain-all excludes --hindsight");
  usage({"--offline", model, data, "--counterfactual"}, "--counterfactual excludes --hindsight");
  usage({"--offline", model, "--data=" + Write("x.log", "a\n")}, "--hindsight: is for rows, not for log lines");
  usage({"--offline", model, "--data=" + Write("x.fasta", ">a\nACGT\n")}, "not for sequences");
  usage({"--offline", model, data, "--input-format=fasta"}, "not for sequences");

  windows.hindsight.reset();
  windows.name = "old";
  const auto old = refusal({"--offline", "--model=" + WriteTinyArtifact(folder_ / "models", windows).string(), data});
  EXPECT_EQ(old, std::pair(65, std::string("astray: old version 1: has no hindsight: it was made before hindsight was, "
                                           "or no value was held out: train again\n")));
  const auto alone = refusal({"--offline", "--model=" + WriteTinyArtifact(folder_ / "rows").string(), data});
  EXPECT_EQ(alone.first, 65);
  EXPECT_THAT(alone.second, HasSubstr("pump version 1: has no hindsight: it judges rows alone, not in a window\n"));
}

}  // namespace
}  // namespace astray
