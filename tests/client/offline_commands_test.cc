// simulate, train, evaluate, inspect and score --offline, and every kind of bad input that reaches them.
#include "tests/client/offline_commands.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "astray/v1/evaluation.pb.h"
#include "astray/v1/report.pb.h"
#include "engine/base/file.h"
#include "tests/testing/tiny_detector.h"

namespace astray {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// One folder's files, by name.
std::map<std::string, std::string> FilesOf(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    files[entry.path().filename().string()] = ReadFile(entry.path(), 1 << 24).value();
  }
  return files;
}

// Build folders lie on a disk; a temporary folder may lie in memory.
std::string ScratchFlag() { return "--scratch-dir=" + std::filesystem::current_path().string(); }

TEST_F(OfflineCommands, RowsInScratchFilesTrainTheSameModel) {
  // Rows that are shuffled; rows with missing values in windows, of two machines, with a pause; and with labels.
  std::string timed = "time,machine,flow,last,label\n";
  for (size_t i = 0; i < 900; ++i) {
    absl::StrAppend(&timed, i + (i > 500 ? 1000 : 0), ",m", i % 3 == 0 ? 1 : 2, ",", i * 37 % 101, ".5,",
                    i % 10 == 0 ? "" : absl::StrCat(i % 17), ",", i % 100 == 7 ? 1 : 0, "\n");
  }
  const std::string paused = Write("paused.textproto",
                                   "features { window: 3 }\nnetwork { encoder: 8 encoder: 4 }\n"
                                   "training { max_steps: 20 steps_per_validation: 10 }\n"
                                   "calibration { false_positive_rate: 0.05 }\nstream { max_gap_seconds: 60 }\n");
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases = {
      {Rows(600, "7"), {}}, {timed, {"--entity-column=machine", "--recipe=" + paused}}};
  for (const auto& [csv, flags] : cases) {
    std::vector<std::map<std::string, std::string>> models;
    for (const std::string memory : {"--data-memory=128", "--data-memory=0"}) {
      std::vector<std::string> arguments = {"train",       "--data=" + Write("data.csv", csv),   "--name=m", memory,
                                            ScratchFlag(), "--model-base-path=" + Path("models")};
      if (flags.empty()) arguments.push_back("--recipe=" + QuickRecipe());
      arguments.insert(arguments.end(), flags.begin(), flags.end());
      const CommandOutput trained = RunCommand(arguments);
      ASSERT_EQ(trained.code, 0) << trained.err;
      models.push_back(FilesOf(folder_ / "models" / "m" / "1"));
      std::filesystem::remove_all(folder_ / "models");
    }
    EXPECT_GT(models[0].size(), 5u);
    EXPECT_TRUE(models[0] == models[1]);
  }
}

TEST_F(OfflineCommands, WithoutAPlaceForScratchFilesTrainingSaysSo) {
  EXPECT_THAT(Refusal(Train(Rows(200, "7"), {"--data-memory=0", "--scratch-dir=" + Path("nowhere")}), 1),
              HasSubstr("nowhere': cannot be made: No such file or directory; --scratch-dir names another folder"));
  EXPECT_THAT(Refusal(Train(Rows(200, "7"), {"--data-memory=0", "--scratch-dir=/dev/shm"}), 1),
              HasSubstr("expected a folder on a disk, that one is in memory"));
}

TEST_F(OfflineCommands, SimulateWritesANormalAndAFaultyRunThatRepeat) {
  const std::vector<std::string> arguments = {"simulate", "--plant=pump", "--rows=500",
                                              "--faults=seal_leak,bearing_wear", "--out-dir=" + Path("a/b")};
  const CommandOutput output = RunCommand(arguments);
  ASSERT_EQ(output.code, 0) << output.err;
  const auto normal = ReadFile(folder_ / "a/b/normal.csv", 1 << 20),
             faulty = ReadFile(folder_ / "a/b/faulty.csv", 1 << 20);
  ASSERT_TRUE(normal.ok() && faulty.ok());
  EXPECT_EQ(std::count(normal->begin(), normal->end(), '\n'), 501);
  EXPECT_THAT(*normal, Not(HasSubstr("label")));
  EXPECT_THAT(*faulty, HasSubstr(",label,culprits\n"));
  EXPECT_THAT(output.out, HasSubstr("faulty.csv: 500 rows, 8 sensors, seal_leak, bearing_wear\n"));
  ASSERT_EQ(RunCommand(arguments).code, 0);
  EXPECT_EQ(*ReadFile(folder_ / "a/b/faulty.csv", 1 << 20), *faulty);
}

TEST_F(OfflineCommands, SimulateListsItsPlants) {
  EXPECT_THAT(RunCommand({"simulate", "--list"}).out, HasSubstr("pump: seal_leak, "));
}

TEST_F(OfflineCommands, TrainInspectAndEvaluateAgree) {
  ASSERT_EQ(RunCommand({"simulate", "--rows=1000", "--faults=seal_leak", "--out-dir=" + Path("d")}).code, 0);
  // The faulty rows have other loads than these few normal ones: a row must be judged alone to tell more.
  const std::string recipe = Write("recipe.textproto",
                                   "features { window: 1 }\nnetwork { encoder: 32 encoder: 8 }\n"
                                   "training { max_steps: 1000 steps_per_validation: 10 }\n"
                                   "calibration { false_positive_rate: 0.05 }\n");
  const std::vector<std::string> train = {"train",
                                          "--data=" + Path("d/normal.csv"),
                                          "--name=pump",
                                          "--recipe=" + recipe,
                                          "--model-base-path=" + Path("models"),
                                          "--threads=2",
                                          "--json"};
  const CommandOutput trained = RunCommand(train);
  ASSERT_EQ(trained.code, 0) << trained.err;
  v1::TrainingReport report;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(trained.out, &report).ok()) << trained.out;
  EXPECT_EQ(report.rows(), 1000u);
  EXPECT_DOUBLE_EQ(report.false_positive_rate(), 0.05);

  const CommandOutput inspected = RunCommand({"inspect", Path("models/pump/1")});
  EXPECT_EQ(inspected.code, 0) << inspected.err;
  EXPECT_THAT(inspected.out, AllOf(HasSubstr("pump version 1"), HasSubstr("verified"), HasSubstr("seal_leak_rate"),
                                   HasSubstr("weights.bin"), HasSubstr("max_steps: 1000"), HasSubstr("code")));
  const CommandOutput json = RunCommand({"inspect", Path("models/pump/1"), "--json"});
  EXPECT_THAT(json.out, AllOf(StartsWith("{\"manifest\":{"), HasSubstr("\"recipe\":{"), HasSubstr("\"report\":{")));

  const CommandOutput evaluated = RunCommand({"evaluate", "--model=" + Path("models/pump/1"),
                                              "--data=" + Path("d/faulty.csv"), "--label-column=label", "--json"});
  ASSERT_EQ(evaluated.code, 0) << evaluated.err;
  v1::Evaluation evaluation;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(evaluated.out, &evaluation).ok()) << evaluated.out;
  EXPECT_EQ(evaluation.rows(), 1000u);
  EXPECT_EQ(evaluation.anomalous_rows(), 50u);
  EXPECT_GT(evaluation.auroc(), 0.9);
  EXPECT_DOUBLE_EQ(evaluation.threshold(), report.threshold());
  EXPECT_GT(evaluation.rows_per_second(), 0);
  EXPECT_GE(evaluation.culprit_top3_rate(), evaluation.culprit_top1_rate());
  EXPECT_GT(evaluation.counterfactual_top1_rate(), 0.5);
  EXPECT_TRUE(evaluation.time_ordered());
  EXPECT_EQ(evaluation.ranges(), 1u);

  const CommandOutput printed = RunCommand({"evaluate", "--model=" + Path("models/pump/1"),
                                            "--data=" + Path("d/faulty.csv"), "--report=" + Path("report.html")});
  ASSERT_EQ(printed.code, 0) << printed.err;
  EXPECT_THAT(printed.out,
              AllOf(HasSubstr(absl::StrFormat("VUS-PR                   %.4f (window of %d rows)", evaluation.vus_pr(),
                                              evaluation.vus_pr_window())),
                    HasSubstr(absl::StrFormat("anomalous ranges found   %d of 1", evaluation.ranges_detected()))));
  EXPECT_THAT(printed.err, HasSubstr("report: " + Path("report.html")));
  EXPECT_THAT(*ReadFile(Path("report.html"), 1 << 22),
              AllOf(StartsWith("<!doctype html>"), HasSubstr("\"faulty.csv\"")));
  const CommandOutput refused = RunCommand({"evaluate", "--model=" + Path("models/pump/1"),
                                            "--data=" + Path("d/faulty.csv"), "--report=" + Path("none/report.html")});
  EXPECT_NE(refused.code, 0);
  EXPECT_EQ(refused.out, "");
  EXPECT_THAT(refused.err, AllOf(HasSubstr(Path("none/")), HasSubstr("report.html"), HasSubstr("No such file")));

  EXPECT_EQ(RunCommand(train).code, 0);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "models/pump/2")) << "the next version beside the first";
}

TEST_F(OfflineCommands, TrainShowsWhatItPickedAndWarns) {
  const CommandOutput output = Train(Rows(300, "7"));
  ASSERT_EQ(output.code, 0) << output.err;
  EXPECT_THAT(output.out, AllOf(HasSubstr("scaling: STANDARD"), HasSubstr("threshold"), HasSubstr("artifact"),
                                HasSubstr("PCA"), HasSubstr("warning: ")));
  EXPECT_THAT(output.out, HasSubstr("'last'")) << "a constant column trains, and is told";
}

TEST_F(OfflineCommands, TrainLeavesLabelledAnomaliesOutAndSaysSo) {
  std::string csv = "a,b,label\n";
  for (int i = 0; i < 300; ++i) absl::StrAppend(&csv, i % 7, ",", i % 11, ",", i % 3 == 0 ? 1 : 0, "\n");
  const CommandOutput output = Train(csv);
  EXPECT_EQ(output.code, 0) << output.err;
  EXPECT_THAT(output.err, HasSubstr("note: 100 rows labelled as anomalies are left out\n"));
  EXPECT_THAT(output.out, HasSubstr("200 rows"));
}

TEST_F(OfflineCommands, ProgressIsForTerminalsOnly) {
  const std::string data = Write("rows.csv", Rows(300, "7"));
  const std::vector<std::string> arguments = {"train", "--data=" + data, "--name=m", "--recipe=" + QuickRecipe(),
                                              "--model-base-path=" + Path("models")};
  EXPECT_EQ(RunCommand(arguments).err, "");
  EXPECT_THAT(RunCommand(arguments, /*terminal=*/true).err, HasSubstr("step 20/20"));
}

TEST_F(OfflineCommands, TuneDrawsItsTableAndWritesTheWinnersRecipe) {
  const std::string data = "--data=" + Write("data.csv", Rows(400, "1"));
  const std::vector<std::string> arguments = {"tune", data, "--recipe=" + QuickRecipe(), "--levels=0.1,1",
                                              "--widths=2,3"};
  auto with = arguments;
  with.insert(with.end(), {"--plot=" + Path("tune.svg"), "--best-recipe=" + Path("best.textproto")});
  const CommandOutput table = RunCommand(with);
  ASSERT_EQ(table.code, 0) << table.err;
  EXPECT_THAT(table.out, AllOf(HasSubstr("AUROC on injected anomalies, by corruption level"), HasSubstr("\n0.1 "),
                               HasSubstr("* the sweet spot: level ")));
  EXPECT_THAT(*ReadFile(Path("tune.svg"), 1 << 20), StartsWith("<svg "));
  const CommandOutput json = RunCommand([&] {
    auto as_json = arguments;
    as_json.push_back("--json");
    return as_json;
  }());
  v1::TuningReport report;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(json.out, &report).ok());
  ASSERT_EQ(report.points_size(), 4);
  const auto& best = report.points(static_cast<int>(report.best()));
  EXPECT_THAT(*ReadFile(Path("best.textproto"), 1 << 20),
              AllOf(HasSubstr(absl::StrCat("encoder: ", best.code_units(), "\n")),
                    HasSubstr(absl::StrCat("max_sigma: ", best.level(), "\n"))));
  // The winner's recipe trains.
  EXPECT_EQ(
      RunCommand({"train", data, "--recipe=" + Path("best.textproto"), "--model-base-path=" + Path("models")}).code, 0);
  EXPECT_THAT(RunCommand({"tune", data, "--test=" + Path("data.csv")}).err, HasSubstr("expected a column of labels"));
}

TEST_F(OfflineCommands, SequencesAreTrainedOnScoredAndEvaluatedAsTheyCome) {
  std::string normal, reads;
  for (int i = 0; i < 120; ++i) {
    std::string sequence;
    for (int k = 0; k < 60; ++k) sequence += "ACGT"[(k * (1 + i % 3) + i / 40) % 4];
    absl::StrAppend(&normal, ">n", i, "\n", sequence, "\n");
    if (i < 20) absl::StrAppend(&reads, ">r", i, " label=0\n", sequence, "\n");
  }
  for (int i = 0; i < 5; ++i)
    absl::StrAppend(&reads, ">x", i, " kind=odd label=1\n", std::string(60, "AC"[i % 2]), "\n");
  const std::string recipe = "--recipe=" + Write("r.textproto",
                                                 "name: 'genes' training { max_steps: 200 } calibration { "
                                                 "false_positive_rate: 0.1 }\n");
  const CommandOutput trained =
      RunCommand({"train", "--data=" + Write("clean.fasta", normal), recipe, "--model-base-path=" + Path("models")});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_THAT(trained.out, AllOf(HasSubstr("kmer_letters: 4"), HasSubstr("window: 1")));
  const std::string model = "--model=" + Path("models/genes/1");
  const CommandOutput scored = RunCommand({"score", "--offline", model, "--data=" + Write("reads.fasta", reads)});
  ASSERT_EQ(scored.code, 0) << scored.err;
  EXPECT_THAT(scored.out, AllOf(HasSubstr("\n1,r0,scored,"), HasSubstr("\n25,x4,scored,1,")));
  const CommandOutput evaluated = RunCommand({"evaluate", model, "--data=" + Path("reads.fasta"), "--json"});
  v1::Evaluation evaluation;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(evaluated.out, &evaluation).ok()) << evaluated.err;
  EXPECT_EQ(evaluation.anomalous_rows(), 5u);
  EXPECT_EQ(evaluation.auroc(), 1);
  // Bad letters, and a model that knows no sequences.
  EXPECT_THAT(RunCommand({"score", "--offline", model, "--data=" + Write("bad.fasta", ">a\nAC7\n")}).err,
              HasSubstr("bad.fasta: line 2: expected letters of a sequence, got \"AC7\""));
  ASSERT_EQ(Train(Rows(400, "1")).code, 0);
  const CommandOutput other =
      RunCommand({"score", "--offline", "--model=" + Path("models/m/1"), "--data=" + Path("reads.fasta")});
  EXPECT_EQ(other.code, 65);
  EXPECT_THAT(other.err, HasSubstr("got sequences: it was not trained on any"));
}

TEST_F(OfflineCommands, TemplatesNumbersTheTemplatesOfEveryLine) {
  const std::string log =
      Write("x.log", "conn from 10.0.0.1 closed\n\nconn from 10.0.0.2 closed\n\"quoted\" \xff\x1b, all\n");
  const CommandOutput found = RunCommand({"templates", "--data=" + log, "--out=" + Path("lines.csv")});
  ASSERT_EQ(found.code, 0) << found.err;
  EXPECT_EQ(found.out, "template,lines,text\n0,2,conn from <*> closed\n1,1,\n2,1,\"\\\"\"quoted\\\"\" <*> all\"\n");
  EXPECT_EQ(*ReadFile(Path("lines.csv"), 1 << 20), "line,template\n1,0\n2,1\n3,0\n4,2\n");
  // A line of ten megabytes is one line.
  const std::string endless = Write("endless.log", std::string(10 << 20, 'x') + "\nlast\n");
  EXPECT_EQ(RunCommand({"templates", "--data=" + endless, "--out=" + Path("lines.csv")}).code, 0);
  EXPECT_EQ(*ReadFile(Path("lines.csv"), 1 << 20), "line,template\n1,0\n2,1\n");
  EXPECT_EQ(RunCommand({"templates", "--data=" + Path("none.log")}).code, 65);
}

TEST_F(OfflineCommands, TrainKeepsACheckpointOnlyWhileItTrains) {
  const CommandOutput trained = Train(Rows(400, "1"), {"--checkpoint=" + Path("state")});
  EXPECT_EQ(trained.code, 0) << trained.err;
  EXPECT_FALSE(std::filesystem::exists(Path("state")));
  const CommandOutput nowhere = Train(Rows(400, "1"), {"--checkpoint=" + Path("no/state")});
  EXPECT_EQ(nowhere.code, 65) << nowhere.err;
  EXPECT_THAT(nowhere.err, HasSubstr("cannot create: No such file or directory"));
}

TEST_F(OfflineCommands, TrainRefusesBadDataInOneLineThatSaysWhere) {
  EXPECT_EQ(Refusal(RunCommand({"train", "--data=" + Path("none.csv"), "--name=m"})),
            "none.csv: cannot open: No such file or directory");
  EXPECT_EQ(
      Refusal(RunCommand({"train", "--data=" + folder_.string(), "--name=m"})).find("expected a file, got a folder") !=
          std::string::npos,
      true);
  EXPECT_EQ(Refusal(Train("")), "data.csv: expected a header line, got an empty file");
  EXPECT_EQ(Refusal(Train("flow,last\n")), "data.csv: expected rows, got a header alone");
  EXPECT_EQ(Refusal(Train(Rows(8, "1") + "1,n/a\n")), "data.csv: column 'last' row 9: expected a number, got \"n/a\"");
  EXPECT_EQ(Refusal(Train(Rows(8, "1") + "1,2,3\n")), "data.csv: row 9: expected 2 columns, got 3");
  EXPECT_EQ(Refusal(Train(Rows(8, "1") + "1,inf\n")), "data.csv: column 'last' row 9: expected a number, got \"inf\"");
  EXPECT_THAT(Refusal(Train("flow,last\n1,2\n")), AllOf(HasSubstr("expected at least 40 rows"), HasSubstr("got 1")));
  EXPECT_THAT(Refusal(Train(Rows(300, ""))), AllOf(HasSubstr("'last'"), HasSubstr("expected")));
}

TEST_F(OfflineCommands, TrainRefusesABadRecipeWithFileAndLine) {
  const std::string data = Write("rows.csv", Rows(300, "7"));
  const auto with = [&](const std::string& recipe) {
    return Refusal(RunCommand({"train", "--data=" + data, "--name=m", "--recipe=" + Write("r.textproto", recipe),
                               "--model-base-path=" + Path("models")}));
  };
  EXPECT_THAT(with("seed: 1\nnosuch: 2\n"), AllOf(HasSubstr("r.textproto:2:"), HasSubstr("nosuch")));
  EXPECT_THAT(with("network { output_activation: SIGMOID }\nfeatures { scaling: STANDARD }\n"), HasSubstr("SIGMOID"));
  EXPECT_THAT(with("training { max_steps: 0 }"), HasSubstr("training.max_steps"));
}

TEST_F(OfflineCommands, TrainRefusesANameThatIsNoFolder) {
  const std::string data = Write("rows.csv", Rows(300, "7"));
  for (const char* name : {"../m", "M", "a b", ""}) {
    const CommandOutput output =
        RunCommand({"train", "--data=" + data, absl::StrCat("--name=", name), "--model-base-path=" + Path("models")});
    EXPECT_THAT(output.code, testing::AnyOf(64, 65)) << output.err;
    EXPECT_THAT(output.err, HasSubstr("name"));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "models"));
}

TEST_F(OfflineCommands, DamagedArtifactsAreNamed) {
  const auto path = WriteTinyArtifact(folder_ / "models");
  const auto refusal = [&](const std::filesystem::path& artifact) {
    const CommandOutput output = RunCommand({"inspect", artifact.string()});
    EXPECT_EQ(output.code, 65);
    EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
    return output.err;
  };
  EXPECT_EQ(RunCommand({"inspect", path.string()}).code, 0);
  EXPECT_THAT(refusal(folder_ / "none"), HasSubstr("none/manifest.textproto: cannot open: No such file or directory"));
  const std::string weights = *ReadFile(path / "weights.bin", 1 << 20);
  std::filesystem::resize_file(path / "weights.bin", weights.size() - 1);
  EXPECT_THAT(refusal(path), HasSubstr("weights.bin: expected "));
  std::string flipped = weights;
  flipped[10] = static_cast<char>(flipped[10] ^ 1);
  std::ofstream(path / "weights.bin", std::ios::binary) << flipped;
  EXPECT_THAT(refusal(path), AllOf(HasSubstr("weights.bin"), HasSubstr("SHA-256")));
}

TEST_F(OfflineCommands, EvaluateNeedsLabelsAndTheModelsFeatures) {
  const std::string model = "--model=" + WriteTinyArtifact(folder_ / "models").string();
  const auto refusal = [&](const std::string& csv) {
    const CommandOutput output = RunCommand({"evaluate", model, "--data=" + Write("t.csv", csv)});
    EXPECT_EQ(output.code, 65);
    return output.err;
  };
  EXPECT_THAT(refusal("flow,pressure,temperature\n1,2,3\n"),
              HasSubstr("t.csv: column 'label': not in the header, which has flow, pressure, temperature"));
  EXPECT_THAT(refusal("flow,pressure,label\n1,2,0\n"), HasSubstr("expected the columns temperature, got "));
  EXPECT_THAT(refusal("flow,pressure,temperature,label\n1,2,3,maybe\n"),
              HasSubstr("column 'label' row 1: expected a label"));
}

TEST_F(OfflineCommands, OfflineScoresAreInTheOrderAndFormAskedFor) {
  TinyDetectorOptions options;
  options.window = 3;
  const std::string model = "--model=" + WriteTinyArtifact(folder_ / "models", options).string();
  const std::string data = Write("t.csv",
                                 "time,temperature,extra,flow,pressure\n"
                                 "t1,30,x,10,20\nt2,30,x,10,20\nt3,30,x,10,20\nt4,9000,x,10,20\nt5,,x,10,20\n");
  const CommandOutput csv = RunCommand({"score", "--offline", model, "--data=" + data});
  ASSERT_EQ(csv.code, 0) << csv.err;
  const std::vector<std::string> lines = absl::StrSplit(csv.out, '\n');
  ASSERT_EQ(lines.size(), 7u) << csv.out;
  EXPECT_EQ(lines[0], "row,timestamp,state,anomalous,score,error,p_value,contributors,alarm,by_t_squared");
  EXPECT_EQ(lines[1], "1,t1,warming_up,0,,,,,,0");
  EXPECT_EQ(lines[2], "2,t2,warming_up,0,,,,,,0");
  EXPECT_THAT(lines[3], StartsWith("3,t3,scored,0,"));
  EXPECT_THAT(lines[4], AllOf(StartsWith("4,t4,scored,1,"), HasSubstr(",temperature=")));
  EXPECT_THAT(csv.err, HasSubstr("5 rows, "));

  const CommandOutput json =
      RunCommand({"score", "--offline", model, "--data=" + data, "--format=jsonl", "--anomalies-only", "--top=1"});
  const std::string first = json.out.substr(0, json.out.find('\n'));
  EXPECT_THAT(first, StartsWith("{\"row\":4,\"timestamp\":\"t4\",\"state\":\"SCORED\",\"anomalous\":true,\"score\":"));
  EXPECT_THAT(first, HasSubstr("\"contributions\":[{\"feature\":\"temperature\""));
}

TEST_F(OfflineCommands, JsonLinesScoreLikeTheSameCsv) {
  const std::string model = "--model=" + WriteTinyArtifact(folder_ / "models").string();
  const std::string csv = Write("t.csv", "time,flow,pressure,temperature\nt1,10,20,30\nt2,10.5,,31\n");
  const std::string lines = Write("t.jsonl",
                                  "{\"time\": \"t1\", \"flow\": 10, \"pressure\": 20, \"temperature\": 30}\n"
                                  "{\"time\": \"t2\", \"temperature\": 31, \"flow\": 10.5, \"pressure\": null}\n");
  const CommandOutput expected = RunCommand({"score", "--offline", model, "--data=" + csv});
  const CommandOutput got = RunCommand({"score", "--offline", model, "--data=" + lines});
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_EQ(got.out, expected.out);
}

TEST_F(OfflineCommands, AnErrorInTheMiddleKeepsTheVerdictsBeforeIt) {
  const std::string model = "--model=" + WriteTinyArtifact(folder_ / "models").string();
  const std::string data = Write("t.csv", "flow,pressure,temperature\n10,20,30\n10,20,30\n10,oops,30\n");
  const CommandOutput output = RunCommand({"score", "--offline", model, "--data=" + data});
  EXPECT_EQ(output.code, 65);
  EXPECT_EQ(std::count(output.out.begin(), output.out.end(), '\n'), 3);
  EXPECT_THAT(output.err, HasSubstr("column 'pressure' row 3: expected a number, got \"oops\""));
}

}  // namespace
}  // namespace astray
