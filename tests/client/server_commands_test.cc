// score, stream, calibrate, models and bench against a server in this process.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "astray/v1/bench.pb.h"
#include "engine/data/csv_writer.h"
#include "tests/client/command_runner.h"
#include "tests/testing/running_server.h"

namespace astray {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class ServerCommands : public testing::Test {
 protected:
  explicit ServerCommands(uint32_t window = 1) : running_({.window = window}) {}

  CommandOutput Run(std::vector<std::string> arguments) {
    arguments.push_back(absl::StrCat("--server=127.0.0.1:", running_.server().grpc_port()));
    return RunCommand(arguments);
  }
  // The output of a command that must succeed.
  std::string Ok(const std::vector<std::string>& arguments) {
    const CommandOutput output = Run(arguments);
    EXPECT_EQ(output.code, 0) << output.err;
    return output.out;
  }
  std::string WriteRows(size_t n, uint64_t seed, const std::string& name = "rows.csv") {
    Dataset data{.feature_names = {"flow", "pressure", "temperature"}, .values = TinyRows(n, 3, seed)};
    for (size_t i = 0; i < n; ++i) data.timestamps.push_back(absl::StrCat("t", i));
    const std::string path = (running_.models().parent_path() / absl::StrCat(getpid(), name)).string();
    EXPECT_TRUE(WriteCsv(path, data).ok());
    return path;
  }
  std::string Artifact() const { return (running_.models() / "pump" / "1").string(); }

  RunningServer running_;
};

class WindowedServerCommands : public ServerCommands {
 protected:
  WindowedServerCommands() : ServerCommands(4) {}
};

TEST_F(WindowedServerCommands, OneServerManyMessagesAndNoServerGiveTheSameBits) {
  const std::string data = "--data=" + WriteRows(3000, 9);  // several batches, the last not full
  const std::vector<std::string> more = {"--explain-all", "--top=2"};
  const auto with = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  const std::string offline = RunCommand(with({"score", "--offline", "--model=" + Artifact(), data})).out;
  EXPECT_EQ(std::count(offline.begin(), offline.end(), '\n'), 3001);
  EXPECT_EQ(Ok(with({"score", "--model=pump", data})), offline);
  const std::string source = "--source=" + data.substr(7);
  EXPECT_EQ(Ok(with({"stream", "--model=pump", source})), offline);
  EXPECT_EQ(Ok(with({"score", "--model=pump", data, "--format=jsonl"})),
            RunCommand(with({"score", "--offline", "--model=" + Artifact(), data, "--format=jsonl"})).out);
  for (const char* repair : {"--counterfactual", "--counterfactual=1"}) {
    const std::string repaired =
        RunCommand(with({"score", "--offline", "--model=" + Artifact(), data, "--format=jsonl", repair})).out;
    EXPECT_THAT(repaired, HasSubstr("\"repair\":{\"features\":["));
    EXPECT_EQ(Ok(with({"score", "--model=pump", data, "--format=jsonl", repair})), repaired);
    EXPECT_EQ(Ok(with({"stream", "--model=pump", source, "--format=jsonl", repair})), repaired);
  }
}

TEST_F(WindowedServerCommands, EncodeReconstructAndImputeGiveTheSameBytesWithAndWithoutAServer) {
  const std::string data = "--data=" + WriteRows(1500, 9);
  EXPECT_EQ(Ok({"reconstruct", "--passes=3", "--model=pump", data}),
            RunCommand({"reconstruct", "--passes=3", "--offline", "--model=" + Artifact(), data}).out);
  const CommandOutput no_score =
      RunCommand({"reconstruct", "--score-function", "--offline", "--model=" + Artifact(), data});
  EXPECT_EQ(no_score.code, 65);
  EXPECT_THAT(no_score.err, HasSubstr("score_function: expected a model whose only corruption is gaussian"));
  for (const std::string command : {"encode", "reconstruct", "impute"}) {
    const std::string offline = RunCommand({command, "--offline", "--model=" + Artifact(), data}).out;
    EXPECT_EQ(Ok({command, "--model=pump", data}), offline);
    const std::vector<std::string> lines = absl::StrSplit(offline, '\n');
    ASSERT_EQ(lines.size(), 1502u);
    if (command == "encode") {
      EXPECT_EQ(lines[0], "row,timestamp,state,code_1,code_2,code_3,code_4");
      EXPECT_EQ(lines[3], "3,t2,warming_up,,,,");
    } else if (command == "impute") {
      EXPECT_EQ(lines[0], "row,timestamp,state,flow,pressure,temperature,iterations,converged");
      EXPECT_EQ(lines[3], "3,t2,warming_up,,,,,");
    } else {
      EXPECT_EQ(lines[0], "row,timestamp,state,flow,pressure,temperature");
      EXPECT_EQ(lines[3], "3,t2,warming_up,,,");
    }
    EXPECT_THAT(lines[4], StartsWith("4,t3,scored,"));
    EXPECT_EQ(std::count(lines[4].begin(), lines[4].end(), ','), std::count(lines[0].begin(), lines[0].end(), ','));
  }
}

TEST_F(WindowedServerCommands, EntitiesGiveTheSameBitsAsTheirRowsAlone) {
  // Three machines in turns, in runs of other lengths.
  std::string csv = "machine,flow,pressure,temperature\n", jsonl;
  std::vector<std::string> alone(3, "flow,pressure,temperature\n");
  const std::vector<float> rows = TinyRows(300, 3, 9);
  std::vector<std::vector<size_t>> numbers(3);
  for (size_t i = 0; i < 300; ++i) {
    const size_t machine = (i / (1 + i % 4)) % 3;
    const std::string values = absl::StrCat(rows[i * 3], ",", rows[i * 3 + 1], ",", rows[i * 3 + 2], "\n");
    absl::StrAppend(&csv, "m", machine, ",", values);
    absl::StrAppend(&jsonl, "{\"machine\": \"m", machine, "\", \"flow\": ", rows[i * 3],
                    ", \"pressure\": ", rows[i * 3 + 1], ", \"temperature\": ", rows[i * 3 + 2], "}\n");
    alone[machine] += values;
    numbers[machine].push_back(i + 1);
  }
  const auto write = [&](const std::string& name, const std::string& text) {
    const std::string path = (running_.models().parent_path() / absl::StrCat(getpid(), name)).string();
    std::ofstream(path) << text;
    return path;
  };
  const std::string mixed = write("mixed.csv", csv);
  const std::string together = Ok({"score", "--model=pump", "--data=" + mixed, "--entity-column=machine"});
  EXPECT_THAT(together, StartsWith("row,timestamp,entity,state,"));
  EXPECT_EQ(
      RunCommand({"score", "--offline", "--model=" + Artifact(), "--data=" + mixed, "--entity-column=machine"}).out,
      together);
  EXPECT_EQ(Ok({"stream", "--model=pump", "--source=" + mixed, "--entity-column=machine"}), together);
  EXPECT_EQ(Ok({"score", "--model=pump", "--data=" + write("mixed.jsonl", jsonl), "--entity-column=machine"}),
            together);
  const std::vector<std::string> lines = absl::StrSplit(together, '\n');
  for (size_t machine = 0; machine < 3; ++machine) {
    const std::vector<std::string> own =
        absl::StrSplit(Ok({"score", "--model=pump", "--data=" + write("alone.csv", alone[machine])}), '\n');
    for (size_t i = 0; i < numbers[machine].size(); ++i) {
      // All behind the row's number, its timestamp and its entity.
      const std::string expected = own[i + 1].substr(own[i + 1].find(",,") + 1);
      EXPECT_EQ(lines[numbers[machine][i]], absl::StrCat(numbers[machine][i], ",,m", machine, expected));
    }
  }
  EXPECT_THAT(
      RunCommand({"score", "--offline", "--model=" + Artifact(), "--data=" + mixed, "--entity-column=pump"}).err,
      HasSubstr("column 'pump': not in the header"));
}

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

TEST_F(ServerCommands, StreamAnswersEachRowBeforeTheNextOneComes) {
  const std::string pipe = (running_.models().parent_path() / absl::StrCat(getpid(), "live")).string();
  const std::string verdicts = pipe + ".verdicts";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  ASSERT_EQ(mkfifo(verdicts.c_str(), 0600), 0);
  std::thread command([&] {
    std::ofstream out(verdicts);
    std::ostringstream err;
    const std::string server = absl::StrCat("--server=127.0.0.1:", running_.server().grpc_port());
    const std::string source = "--source=" + pipe;
    const std::array<const char*, 5> argv = {"astray", "stream", "--model=pump", server.c_str(), source.c_str()};
    EXPECT_EQ(RunAstray(argv.size(), argv.data(), out, err, false), 0) << err.str();
  });
  std::ifstream in(verdicts);
  {
    std::ofstream rows(pipe);
    rows << "flow,pressure,temperature\n";
    std::string line;
    for (int row = 1; row <= 3; ++row) {
      rows << "10,20,30\n" << std::flush;
      if (row == 1) std::getline(in, line);  // the header
      ASSERT_TRUE(std::getline(in, line));   // waits for ever where verdicts are held back
      EXPECT_THAT(line, StartsWith(absl::StrCat(row, ",,scored,")));
    }
  }
  command.join();
  unlink(pipe.c_str());
  unlink(verdicts.c_str());
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

TEST_F(ServerCommands, RowsOfAFileAreSelectedAtAFalseDiscoveryRate) {
  const std::string path = WriteRows(1, 3);
  const std::vector<float> rows = TinyRows(500, 3, 5);
  std::ofstream file(path);
  file << "flow,pressure,temperature\n";
  for (size_t i = 0; i < 500; ++i) {
    file << rows[3 * i] << "," << rows[3 * i + 1] + (i % 10 == 0 ? 50 : 0) << "," << rows[3 * i + 2] << "\n";
  }
  file.close();
  const std::vector<std::string> score = {"score", "--model=pump", "--data=" + path};
  const std::vector<std::string> plain = absl::StrSplit(Ok(score), '\n', absl::SkipEmpty());
  auto arguments = score;
  arguments.push_back("--false-discovery-rate=0.1");
  const CommandOutput output = Run(arguments);
  EXPECT_EQ(output.code, 0) << output.err;
  const std::vector<std::string> lines = absl::StrSplit(output.out, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 501u);
  EXPECT_EQ(lines[0], plain[0] + ",selected");
  std::vector<double> p_values;
  const auto p_of = [](const std::string& line) {
    const std::vector<std::string> cells = absl::StrSplit(line, ',');
    return std::stod(cells[6]);
  };
  for (size_t i = 1; i < lines.size(); ++i) p_values.push_back(p_of(lines[i]));
  int selected = 0;
  for (size_t i = 1; i < lines.size(); ++i) {
    bool expected = false;  // by the definition
    for (const double q : p_values) {
      const auto k = std::count_if(p_values.begin(), p_values.end(), [&](double p) { return p <= q; });
      expected = expected || (p_of(lines[i]) <= q && q <= 0.1 * static_cast<double>(k) / 500);
    }
    EXPECT_EQ(lines[i], plain[i] + (expected ? ",1" : ",0"));
    selected += expected ? 1 : 0;
  }
  EXPECT_GE(selected, 50);
  EXPECT_LE(selected, 65);
  EXPECT_THAT(output.err, HasSubstr(absl::StrCat(selected, " rows selected at a false discovery rate of 0.1")));
  arguments.push_back("--anomalies-only");
  const std::string only = Ok(arguments);
  EXPECT_EQ(std::count(only.begin(), only.end(), '\n'), selected + 1);
  arguments.back() = "--false-discovery-rate=1";
  EXPECT_EQ(Run(arguments).code, 64);
}

TEST_F(ServerCommands, AlarmsOnlyArePrintedWhereOneBeginsAndWhereItEnds) {
  const std::string path = WriteRows(1, 3);
  std::ofstream file(path);
  file << "time,flow,pressure,temperature\n";
  for (int i = 0; i < 40; ++i) file << "2026-01-01T00:00:" << 10 + i << "Z,10," << (i / 10 == 2 ? 99 : 20) << ",30\n";
  file.close();
  for (const std::string command : {"score --data=", "stream --source="}) {
    std::vector<std::string> arguments = absl::StrSplit(command + path, ' ');
    arguments.insert(arguments.end(), {"--model=pump", "--alarms-only", "--event-time", "--format=jsonl"});
    const std::vector<std::string> lines = absl::StrSplit(Ok(arguments), '\n', absl::SkipEmpty());
    ASSERT_EQ(lines.size(), 2u);
    EXPECT_THAT(lines[0], AllOf(HasSubstr("\"row\":21,"), HasSubstr("\"state\":\"RAISED\""),
                                HasSubstr("\"start_unix_seconds\":1767225630,")));
    EXPECT_THAT(lines[1], AllOf(HasSubstr("\"row\":31,"), HasSubstr("\"state\":\"ENDED\""),
                                HasSubstr("\"rows\":\"11\""), HasSubstr("\"causes\":[{\"feature\":\"pressure\"")));
    arguments.push_back("--anomalies-only");
    EXPECT_EQ(Run(arguments).code, 64);
  }
}

TEST_F(ServerCommands, ARowWhoseTimeIsNoneEndsATimedStreamAfterTheVerdictsBeforeIt) {
  const std::string path = WriteRows(3, 3);  // their timestamps are t0, t1, t2
  const CommandOutput output = Run({"stream", "--model=pump", "--source=" + path, "--event-time"});
  EXPECT_EQ(output.code, 65);
  EXPECT_THAT(output.err, HasSubstr("row 1: timestamp: expected a date and time or seconds since 1970, got \"t0\""));
}

TEST_F(ServerCommands, StreamEndsWhenTheServerDoesWhileItsSourceWaits) {
  const std::string pipe = (running_.models().parent_path() / absl::StrCat(getpid(), "silent")).string();
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  CommandOutput output;
  std::thread command([&] { output = Run({"stream", "--model=pump", "--source=" + pipe, "--give-up-after=0"}); });
  std::ofstream rows(pipe);
  rows << "flow,pressure,temperature\n10,20,30\n" << std::flush;
  while (running_.Metric("astray_streams_active") != 1) std::this_thread::yield();
  running_.server().Drain();
  command.join();  // though the source is still open
  EXPECT_EQ(output.code, 69) << output.err;
  EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
  unlink(pipe.c_str());
}

TEST_F(ServerCommands, StreamFollowsAFileAcrossItsRotation) {
  const std::string path = (running_.models().parent_path() / absl::StrCat(getpid(), "followed.csv")).string();
  const std::string verdicts = path + ".verdicts";
  ASSERT_EQ(mkfifo(verdicts.c_str(), 0600), 0);
  int code = 0;
  std::thread command([&] {
    std::ofstream out(verdicts);
    std::ostringstream err;
    const std::string server = absl::StrCat("--server=127.0.0.1:", running_.server().grpc_port());
    const std::string source = "--source=" + path;
    const std::array<const char*, 7> argv = {"astray",       "stream",   "--model=pump",     server.c_str(),
                                             source.c_str(), "--follow", "--give-up-after=0"};
    code = RunAstray(argv.size(), argv.data(), out, err, false);
  });
  std::ifstream in(verdicts);
  std::string line;
  for (int row = 1; row <= 3; ++row) {
    std::ofstream(path) << "flow,pressure,temperature\n10,20,30\n";
    if (row == 1) std::getline(in, line);  // the header
    ASSERT_TRUE(std::getline(in, line));
    EXPECT_THAT(line, StartsWith(absl::StrCat(row, ",,scored,")));
    ASSERT_EQ(rename(path.c_str(), (path + ".1").c_str()), 0);
  }
  running_.server().Drain();
  command.join();
  EXPECT_EQ(code, 69);
  unlink(verdicts.c_str());
  unlink((path + ".1").c_str());
}

TEST_F(ServerCommands, ABadRowEndsAStreamAfterTheVerdictsBeforeIt) {
  const std::string path = WriteRows(5, 3);
  std::ofstream(path, std::ios::app) << "t5,1,oops,3\n";
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"score", "--model=pump", "--data=" + path},
                                                    {"stream", "--model=pump", "--source=" + path}}) {
    const CommandOutput output = Run(arguments);
    EXPECT_EQ(output.code, 65);
    EXPECT_EQ(std::count(output.out.begin(), output.out.end(), '\n'), 6);
    EXPECT_THAT(output.err, HasSubstr("column 'pressure' row 6: expected a number, got \"oops\""));
  }
}

TEST_F(ServerCommands, MissingAndExtraColumnsAreHandledByName) {
  const std::string path = WriteRows(1, 3);
  std::ofstream(path) << "pressure,spare,temperature,flow\n20,1,30,10\n";
  EXPECT_THAT(Ok({"score", "--model=pump", "--data=" + path}), HasSubstr("\n1,,scored,"));
  std::ofstream(path) << "pressure,flow\n20,10\n";
  const CommandOutput output = Run({"score", "--model=pump", "--data=" + path});
  EXPECT_EQ(output.code, 65);
  EXPECT_THAT(output.err, HasSubstr("header: expected the columns temperature, got pressure, flow"));
}

TEST_F(ServerCommands, AModelThatIsNotThereIsAFailureAndAServerThatIsNotIs69) {
  const std::string data = "--data=" + WriteRows(5, 3);
  for (const char* command : {"score", "calibrate"}) {
    const CommandOutput output = Run({command, "--model=nosuch", data});
    EXPECT_EQ(output.code, 1);
    EXPECT_THAT(output.err, AllOf(StartsWith("astray: "), HasSubstr("nosuch")));
    const CommandOutput nobody = RunCommand({command, "--model=pump", data, "--server=127.0.0.1:1"});
    EXPECT_EQ(nobody.code, 69);
    EXPECT_THAT(nobody.err, StartsWith("astray: no answer from 127.0.0.1:1: "));
  }
}

TEST_F(ServerCommands, AVersionIsPromotedByWhatItsShadowShowsAndRolledBack) {
  Ok({"models", "promote", "--model=pump", "--version=1"});
  WriteTinyArtifact(running_.models(), {.seed = 2});
  Ok({"models", "load", "--model=pump"});
  EXPECT_THAT(Ok({"models", "list"}), HasSubstr("  *     "));
  EXPECT_THAT(Ok({"models", "describe", "--model=pump"}),
              AllOf(HasSubstr("pump version 1, serving, live"), Not(HasSubstr("shadow"))));
  EXPECT_THAT(Ok({"models", "shadow", "--model=pump", "--version=2"}),
              HasSubstr("version 2 epoch 1 beside version 1 epoch 1"));
  Ok({"score", "--model=pump", "--data=" + WriteRows(500, 9)});
  running_.server().registry().AwaitShadows();
  EXPECT_THAT(Ok({"models", "describe", "--model=pump"}), HasSubstr("500 rows compared, 0 dropped"));
  const std::vector<std::string> promote = {"models", "promote", "--model=pump", "--version=2"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = promote;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  const CommandOutput held = Run(with({"--max-disagreement=1", "--min-rows=501"}));
  EXPECT_EQ(held.code, 1);
  EXPECT_THAT(held.err, HasSubstr("gate: expected a disagreement of at most 1 over at least 501 rows"));
  EXPECT_EQ(Run(with({"--min-rows=3"})).code, 64);
  EXPECT_EQ(Run(with({"--epoch=1"})).code, 64);
  EXPECT_EQ(Run(with({"--max-disagreement=2"})).code, 64);
  EXPECT_EQ(Run({"models", "promote", "--model=pump"}).code, 64);
  EXPECT_EQ(Ok(with({"--max-disagreement=1", "--min-rows=500"})), "pump version 2 is live; before: version 1\n");
  EXPECT_EQ(Ok({"models", "rollback", "--model=pump"}), "pump version 1 is live; before: version 2\n");
  EXPECT_EQ(Ok({"models", "promote", "--model=pump", "--latest"}), "pump version 2 is live; before: version 1\n");
  EXPECT_EQ(Ok({"models", "shadow", "--model=pump", "--off"}), "shadow                   none\n");
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
              AllOf(HasSubstr("false alarms added       5 errors"), HasSubstr("of 52 errors")));
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

TEST_F(ServerCommands, ModelsCanBeLoadedLabelledAndUnloaded) {
  TinyDetectorOptions options;
  options.seed = 2;
  WriteTinyArtifact(running_.models(), options);
  EXPECT_THAT(Ok({"models", "load", "--model=pump"}), HasSubstr("pump                           2  serving"));
  EXPECT_THAT(Ok({"models", "label", "--model=pump", "--label=stable", "--model-version=1"}), HasSubstr("stable"));
  const std::string data = "--data=" + WriteRows(5, 3);
  EXPECT_EQ(Ok({"score", "--model=pump", "--label=stable", data}),
            Ok({"score", "--model=pump", "--model-version=1", data}));
  EXPECT_NE(Ok({"score", "--model=pump", data}), Ok({"score", "--model=pump", "--model-version=1", data}));
  EXPECT_THAT(Ok({"models", "label", "--model=pump", "--label=stable", "--remove"}), Not(HasSubstr("stable")));
  EXPECT_THAT(Ok({"models", "unload", "--model=pump", "--model-version=2"}), HasSubstr("unloaded"));
  EXPECT_EQ(Run({"score", "--model=pump", "--model-version=2", data}).code, 1);
  EXPECT_EQ(Run({"models", "load", "--model=nosuch"}).code, 1);
}

TEST_F(WindowedServerCommands, BenchMeasuresEveryMode) {
  for (const std::string mode : {"unary", "batch", "stream"}) {
    const std::string json =
        Ok({"bench", "--model=pump", "--mode=" + mode, "--duration=50ms", "--concurrency=3", "--json"});
    v1::BenchReport report;
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(json, &report).ok()) << json;
    EXPECT_EQ(report.mode(), mode);
    EXPECT_EQ(report.batch_rows(), mode == "unary" ? 4u : mode == "batch" ? 256u : 1u);
    EXPECT_GT(report.messages(), 0);
    // Every message but a stream's first three has verdicts on all of its rows but the window's first three.
    if (mode != "stream") {
      EXPECT_EQ(report.rows(), report.messages() * (report.batch_rows() - 3));
    }
    EXPECT_GT(report.rows_per_second(), 0);
    EXPECT_LE(report.latency_p50_seconds(), report.latency_p99_seconds());
    EXPECT_LE(report.latency_p99_seconds(), report.latency_max_seconds());
  }
  EXPECT_THAT(Ok({"bench", "--model=pump", "--duration=20ms", "--data=" + WriteRows(50, 3)}), HasSubstr("latency"));
  const CommandOutput few = Run({"bench", "--model=pump", "--mode=batch", "--data=" + WriteRows(50, 3)});
  EXPECT_EQ(few.code, 65);
  EXPECT_THAT(few.err, HasSubstr("expected at least 256 rows, a message's worth, got 50"));
  EXPECT_EQ(Run({"bench", "--model=nosuch"}).code, 1);
}

}  // namespace
}  // namespace astray
