// calibrate and feedback against a server in this process, and what they do to its scores.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "engine/data/csv_writer.h"
#include "tests/client/command_runner.h"
#include "tests/client/server_commands.h"

namespace astray {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST_F(ServerCommands, AStoredCalibrationScoresOfflineAsItDoesLive) {
  const std::string data = "--data=" + WriteRows(500, 9);
  Ok({"calibrate", "--model=pump", data, "--false-positive-rate=0.1", "--promote"});
  const std::string live = Ok({"score", "--model=pump", data});
  EXPECT_EQ(RunCommand({"score", "--offline", "--model=" + Artifact(), "--epoch=2", data}).out, live);
  EXPECT_NE(RunCommand({"score", "--offline", "--model=" + Artifact(), data}).out, live);
  const CommandOutput none = RunCommand({"score", "--offline", "--model=" + Artifact(), "--epoch=9", data});
  EXPECT_EQ(none.code, 65);
  EXPECT_THAT(none.err, HasSubstr("1-9.pb: cannot open"));
}

// Windows of machines whose rows come in turns are those of each machine alone.
TEST_F(WindowedServerCommands, CalibratesManyEntitiesEachByItself) {
  const std::vector<float> a = TinyRows(300, 3, 1), b = TinyRows(300, 3, 2);
  const auto write = [&](const std::string& name, const std::function<int(int)>& of) {
    const std::string path = WriteRows(1, 1, name);
    std::ofstream file(path);
    file << "machine,flow,pressure,temperature\n";
    std::array<size_t, 2> next = {0, 0};
    for (int i = 0; i < 600; ++i) {
      const auto who = static_cast<size_t>(of(i));
      const float* row = (who == 0 ? a : b).data() + 3 * next[who]++;
      file << (who == 0 ? "a," : "b,") << row[0] << "," << row[1] << "," << row[2] << "\n";
    }
    return path;
  };
  const auto calibrate = [&](const std::string& path) {
    v1::CalibrateResponse reply;
    const std::string json = Ok({"calibrate", "--model=pump", "--data=" + path, "--entity-column=machine", "--json"});
    EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(json, &reply).ok());
    return reply.calibration();
  };
  const auto in_turns = calibrate(write("turns.csv", [](int i) { return i / 6 % 2; }));
  EXPECT_EQ(in_turns.samples(), 2 * 297u);
  const auto one_by_one = calibrate(write("one.csv", [](int i) { return i / 300; }));
  EXPECT_EQ(in_turns.threshold(), one_by_one.threshold());
}

// Rows of two modes in turns, one of them far from what the detector knows.
std::string WriteModes(const std::string& path, bool jsonl) {
  const std::vector<float> rows = TinyRows(400, 3, 5);
  std::ofstream file(path);
  if (!jsonl) file << "mode,flow,pressure,temperature\n";
  for (size_t i = 0; i < 400; ++i) {
    const bool high = i / 3 % 2 == 1;
    const float factor = high ? 1.5f : 1;
    const std::string mode = high ? "high" : "low";
    const float a = factor * rows[3 * i], b = factor * rows[3 * i + 1], c = factor * rows[3 * i + 2];
    if (jsonl) {
      file << R"({"mode":")" << mode << R"(","flow":)" << a << R"(,"pressure":)" << b << R"(,"temperature":)" << c
           << "}\n";
    } else {
      file << mode << "," << a << "," << b << "," << c << "\n";
    }
  }
  return path;
}

TEST_F(WindowedServerCommands, ModesHaveThresholdsOfTheirOwnWithAndWithoutAServer) {
  const std::string csv = WriteModes(WriteRows(1, 1, "modes.csv"), false);
  const std::string jsonl = WriteModes(WriteRows(1, 1, "modes.jsonl"), true);
  const std::vector<std::string> calibrate = {"calibrate", "--model=pump", "--data=" + csv, "--segment-column=mode"};
  auto arguments = calibrate;
  arguments.insert(arguments.end(), {"--promote", "--json", "--false-positive-rate=0.05"});
  v1::CalibrateResponse reply;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(Ok(arguments), &reply).ok());
  ASSERT_EQ(reply.calibration().segments_size(), 2);
  EXPECT_EQ(reply.calibration().segments(0).name(), "high");
  EXPECT_EQ(reply.calibration().segments(0).samples() + reply.calibration().segments(1).samples(), 397u);
  EXPECT_LE(reply.flagged_ratio_after(), 0.05);

  const std::string offline = RunCommand({"score", "--offline", "--epoch=2", "--model=" + Artifact(), "--data=" + csv,
                                          "--segment-column=mode", "--format=jsonl"})
                                  .out;
  const std::vector<std::string> lines = absl::StrSplit(offline, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 400u);
  std::array<int, 2> flagged = {0, 0};
  for (size_t i = 3; i < lines.size(); ++i) {
    const bool high = i / 3 % 2 == 1;
    EXPECT_THAT(lines[i],
                HasSubstr(absl::StrFormat("\"threshold\":%.17g", reply.calibration().segments(high ? 0 : 1).threshold())
                              .substr(0, 20)));
    flagged[high ? 0 : 1] += lines[i].find("\"anomalous\":true") != std::string::npos ? 1 : 0;
  }
  EXPECT_LE(flagged[0], 11);
  EXPECT_LE(flagged[1], 11);
  for (const std::string& data : {"score --data=" + csv, "score --data=" + jsonl, "stream --source=" + csv}) {
    std::vector<std::string> again = absl::StrSplit(data, ' ');
    again.insert(again.end(), {"--model=pump", "--segment-column=mode", "--format=jsonl"});
    EXPECT_EQ(Ok(again), offline) << data;
  }
  // The same column says whose rows they are.
  const std::string both =
      Ok({"score", "--model=pump", "--data=" + csv, "--segment-column=mode", "--entity-column=mode", "--format=jsonl"});
  EXPECT_THAT(both, HasSubstr("\"entity\":\"high\""));
  EXPECT_THAT(
      both,
      HasSubstr(absl::StrFormat("\"threshold\":%.17g", reply.calibration().segments(0).threshold()).substr(0, 20)));

  arguments = calibrate;
  arguments.insert(arguments.end(), {"--merge", "--block-rows=2"});
  const std::string merged = Ok(arguments);
  EXPECT_THAT(merged, HasSubstr("segments                 2 of 2 have a threshold of their own\n"));
  EXPECT_THAT(merged, HasSubstr("segment high             threshold "));
  EXPECT_THAT(merged, HasSubstr("flagged now "));
  EXPECT_THAT(merged, HasSubstr("effective errors "));
  EXPECT_THAT(merged, HasSubstr("epoch        3, of "));
  EXPECT_THAT(Ok({"models", "describe", "--model=pump"}), HasSubstr("    segment low              threshold "));
  const CommandOutput none = Run({"score", "--model=pump", "--data=" + csv, "--segment-column=mood"});
  EXPECT_EQ(none.code, 65);
  EXPECT_THAT(none.err, HasSubstr("column 'mood': not in the header"));
  const CommandOutput no_member = Run({"score", "--model=pump", "--data=" + jsonl, "--segment-column=mood"});
  EXPECT_THAT(no_member.err, HasSubstr("'mood': expected a segment, got no such member"));
}

TEST_F(WindowedServerCommands, AFalseAlarmCountsForTheModeOfItsRow) {
  const std::string csv = WriteModes(WriteRows(1, 1, "modes.csv"), false);
  // Row 20 is of the low mode, as the three before it are of the high one.
  EXPECT_THAT(
      Ok({"feedback", "--model=pump", "--data=" + csv, "--segment-column=mode", "--rows=20", "--kind=false-alarm"}),
      HasSubstr("1 false alarms"));
  v1::CalibrateResponse reply;
  const auto made = Ok({"calibrate", "--model=pump", "--data=" + csv, "--segment-column=mode", "--include-false-alarms",
                        "--false-positive-rate=0.05", "--json"});
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(made, &reply).ok());
  EXPECT_EQ(reply.false_alarms_added(), 1u);
  ASSERT_EQ(reply.calibration().segments_size(), 2);
  // Of 397 windows those that end in rows 4 to 6, 10 to 12, ... are of the high mode.
  EXPECT_EQ(reply.calibration().segments(0).samples(), 199u);
  EXPECT_EQ(reply.calibration().segments(1).samples(), 198u + 1);
}

TEST_F(WindowedServerCommands, FeedbackTakesTheWindowThatEndsInTheRow) {
  const std::string data = "--data=" + WriteRows(50, 9);
  const std::vector<float> rows = TinyRows(50, 3, 9);
  v1::ModelRef ref;
  ref.set_name("pump");
  ScoreResult result;
  ASSERT_TRUE(running_.server().registry().Find(ref)->detector->Score(rows, {}, &result).ok());
  v1::FeedbackResponse reply;
  const std::vector<std::string> feedback = {"feedback", "--model=pump", data, "--kind=false-alarm"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = feedback;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  for (const std::string range : {"20", "18-20", "2-20"}) {
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(Ok(with({"--rows=" + range, "--json"})), &reply).ok());
    EXPECT_EQ(reply.verdict().error(), result.verdicts[20 - 4].error) << range;
  }
  EXPECT_EQ(reply.kept().false_alarms(), 2u);  // of 20 and 18-20 the window is the same, of 2-20 more is kept
  const std::string each = Ok(with({"--rows=30-32", "--each"}));
  EXPECT_EQ(std::count(each.begin(), each.end(), '\n'), 3);
  EXPECT_THAT(each, HasSubstr("\nrow 32: score "));
  EXPECT_THAT(each, HasSubstr("5 false alarms and 0 confirmed anomalies are kept\n"));
  EXPECT_THAT(Ok(with({"--rows=30"})), HasSubstr("known already; 5 false alarms"));
  EXPECT_THAT(Ok({"models", "describe", "--model=pump"}), HasSubstr("5 false alarms, 0 confirmed anomalies"));
  EXPECT_THAT(Ok({"calibrate", "--model=pump", data, "--false-positive-rate=0.1", "--include-false-alarms"}),
              AllOf(HasSubstr("false alarms added       4 errors"), HasSubstr("of 51 errors")));  // a window once
  EXPECT_THAT(Run(with({"--rows=2"})).err, HasSubstr("expected the 4 rows of a window, got 2"));
  EXPECT_THAT(Run(with({"--rows=60"})).err, HasSubstr("expected rows of the data, got 60 of 50"));
  for (const std::string range : {"0", "9-3", "x", "1-2-3", "-4"}) EXPECT_EQ(Run(with({"--rows=" + range})).code, 64);
  EXPECT_EQ(Run({"feedback", "--model=pump", data, "--kind=wrong"}).code, 64);
}

TEST_F(ServerCommands, CalibratePromoteAndRollback) {
  const std::string data = "--data=" + WriteRows(500, 9);
  const std::string made = Ok({"calibrate", "--model=pump", data, "--false-positive-rate=0.1"});
  EXPECT_THAT(made, AllOf(HasSubstr("2, of 500 errors"), HasSubstr("false-positive rate of 0.1;"),
                          HasSubstr("astray models promote --server=")));
  EXPECT_THAT(
      Ok({"models", "describe", "--model=pump"}),
      AllOf(HasSubstr("epoch 1     threshold"), HasSubstr("with the artifact  (live)"), HasSubstr("epoch 2"),
            HasSubstr("temperature"), HasSubstr("drift                    Nothing to do so far; features are judged"),
            HasSubstr("change statistic 10^"), HasSubstr("largest PSI unknown, 0 of 3 moved")));
  EXPECT_THAT(Ok({"models", "describe", "--model=pump", "--json"}), HasSubstr(R"("martingale_log10")"));
  EXPECT_THAT(Ok({"models", "promote", "--model=pump", "--epoch=2"}), HasSubstr("(live)"));
  EXPECT_THAT(Ok({"models", "list"}), HasSubstr("pump                           1  serving       2"));
  EXPECT_THAT(Ok({"models", "rollback", "--model=pump"}), HasSubstr("(live)"));
  EXPECT_THAT(Ok({"models", "list"}), HasSubstr("pump                           1  serving       1"));
  const CommandOutput again = Run({"models", "rollback", "--model=pump"});
  EXPECT_EQ(again.code, 1);
  EXPECT_EQ(std::count(again.err.begin(), again.err.end(), '\n'), 1) << again.err;

  v1::CalibrateResponse reply;
  const std::string json = Ok({"calibrate", "--model=pump", data, "--promote", "--json"});
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(json, &reply).ok()) << json;
  EXPECT_TRUE(reply.promoted());
  EXPECT_EQ(reply.calibration().epoch(), 3u);
}

TEST_F(ServerCommands, CalibrateLeavesLabelledAnomaliesOut) {
  Dataset data{.feature_names = {"flow", "pressure", "temperature"}, .values = TinyRows(500, 3, 9)};
  for (size_t i = 0; i < 500; ++i) {
    data.labels.push_back(i % 10 == 0 ? 1 : 0);
    if (i % 10 == 0) data.values[3 * i] = 1e6f;
  }
  const std::string path = WriteRows(1, 1, "labelled.csv");
  ASSERT_TRUE(WriteCsv(path, data).ok());
  const CommandOutput output = Run({"calibrate", "--model=pump", "--data=" + path, "--false-positive-rate=0.02"});
  EXPECT_EQ(output.code, 0) << output.err;
  EXPECT_EQ(output.err, "note: 50 rows labelled as anomalies are left out\n");
  EXPECT_THAT(output.out, AllOf(HasSubstr("2, of 450 errors"), HasSubstr("threshold                2.")));
  // Scoring does not care what a column named label holds.
  std::ofstream(path) << "flow,pressure,temperature,label\n10,20,30,pump station 3\n";
  EXPECT_THAT(Ok({"score", "--model=pump", "--data=" + path}), HasSubstr("\n1,,scored,"));
}

TEST_F(ServerCommands, ACalibrationThatCannotBeChangesNothing) {
  const CommandOutput few =
      Run({"calibrate", "--model=pump", "--data=" + WriteRows(20, 9), "--false-positive-rate=0.01"});
  EXPECT_EQ(few.code, 1);
  EXPECT_THAT(few.err, HasSubstr("takes at least 99 calibration vectors, got 20"));
  const std::string path = WriteRows(500, 9);
  std::ofstream(path, std::ios::app) << "t,1,2\n";
  const CommandOutput ragged = Run({"calibrate", "--model=pump", "--data=" + path, "--promote"});
  EXPECT_EQ(ragged.code, 65);
  EXPECT_THAT(ragged.err, HasSubstr("row 501: expected 4 columns, got 3"));
  EXPECT_THAT(Ok({"models", "list"}), HasSubstr("serving       1"));
}

}  // namespace
}  // namespace astray
