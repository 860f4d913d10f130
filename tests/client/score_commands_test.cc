// score, stream, encode, reconstruct and impute against a server in this process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/random.h"
#include "tests/client/command_runner.h"
#include "tests/client/server_commands.h"

namespace astray {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

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

// Where all readings move on together the network rebuilds them, and T² decides; where one of them leaves the others,
// the residual does.
TEST_F(ServerCommands, AVerdictSaysWhetherItIsByTheLevelOfTheReadings) {
  const auto write = [&](const std::string& name, int rows, const std::function<double(int)>& load,
                         const std::function<bool(int)>& broken) {
    Random random(static_cast<uint64_t>(rows));
    std::string path = WriteRows(1, 1, name);
    std::ofstream file(path);
    file << "time,flow,pressure,temperature\n";
    for (int i = 0; i < rows; ++i) {
      const double own = broken(i) ? -load(i) : load(i);
      file << i << "," << 20 + 3 * load(i) + 0.15 * random.Normal() << ","
           << 1000 - 50 * load(i) + 2.5 * random.Normal() << "," << 0.5 - 0.2 * own + 0.01 * random.Normal() << "\n";
    }
    return path;
  };
  const auto in_turns = [](int i) { return std::sin(i / 17.0); };
  const std::string normal = write("normal.csv", 800, in_turns, [](int) { return false; });
  const std::string recipe = WriteRows(1, 1, "level.textproto");
  std::ofstream(recipe)
      << "features { window: 4 } network { activation: LINEAR encoder: 2 } score { t_squared_rows: 2 }"
         "training { max_steps: 400 } calibration { false_positive_rate: 0.02 }";
  const CommandOutput trained = RunCommand({"train", "--name=plant", "--data=" + normal, "--recipe=" + recipe,
                                            "--model-base-path=" + running_.models().string()});
  ASSERT_EQ(trained.code, 0) << trained.err;
  Ok({"models", "load", "--model=plant"});

  constexpr int kShifted = 40, kBroken = 70, kLength = 10;
  const auto within = [](int i, int begin) { return i >= begin && i < begin + kLength; };
  const std::string today = write(
      "today.csv", 100, [&](int i) { return within(i, kShifted)  ? 4
                                            : within(i, kBroken) ? 0.9
                                                                 : in_turns(i); },
      [&](int i) { return within(i, kBroken); });
  const std::string artifact = (running_.models() / "plant" / "1").string();
  for (const std::string format : {"csv", "jsonl"}) {
    const std::string offline =
        RunCommand({"score", "--offline", "--model=" + artifact, "--data=" + today, "--format=" + format}).out;
    EXPECT_EQ(Ok({"score", "--model=plant", "--data=" + today, "--format=" + format}), offline);
    EXPECT_EQ(Ok({"stream", "--model=plant", "--source=" + today, "--format=" + format}), offline);
    std::vector<std::string> lines = absl::StrSplit(offline, '\n', absl::SkipEmpty());
    if (format == "csv") {
      EXPECT_TRUE(absl::EndsWith(lines[0], ",by_t_squared"));
      lines.erase(lines.begin());
    }
    ASSERT_EQ(lines.size(), 100u);
    const auto says = [&](int row, bool by_t_squared) {
      const std::string& line = lines[static_cast<size_t>(row)];
      const std::string said = format == "csv" ? absl::StrCat(",", by_t_squared ? 1 : 0)
                                               : absl::StrCat("\"by_t_squared\":", by_t_squared ? "true}" : "false}");
      EXPECT_TRUE(absl::EndsWith(line, said)) << line;
      EXPECT_TRUE(absl::StrContains(line, format == "csv" ? ",scored,1," : "\"anomalous\":true")) << line;
    };
    for (int i = 3; i < kLength; ++i) {  // the window is all of such rows
      says(kShifted + i, true);
      says(kBroken + i, false);
    }
    EXPECT_TRUE(absl::EndsWith(lines[20], format == "csv" ? ",0" : "\"by_t_squared\":false}")) << "normal";
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
    const std::string path = Path(name);
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

TEST_F(ServerCommands, StreamAnswersEachRowBeforeTheNextOneComes) {
  const std::string pipe = Path("live");
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
  const std::string pipe = Path("silent");
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
}

TEST_F(ServerCommands, StreamFollowsAFileAcrossItsRotation) {
  const std::string path = Path("followed.csv");
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

}  // namespace
}  // namespace astray
