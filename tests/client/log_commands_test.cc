// train, tune, evaluate, inspect, score and stream on raw log lines.
#include "tests/client/log_commands.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "astray/v1/evaluation.pb.h"
#include "astray/v1/report.pb.h"
#include "engine/detect/artifact.h"
#include "tests/engine/data/gzip.h"
#include "tests/testing/running_server.h"

namespace astray {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

v1::ScoreLogsRequest LinesOf(const std::string& log) {
  v1::ScoreLogsRequest request;
  request.mutable_model()->set_name("m");
  for (const absl::string_view line : absl::StrSplit(absl::StripSuffix(log, "\n"), '\n')) {
    request.add_lines(line.data(), line.size());
  }
  return request;
}

TEST_F(LogCommands, SessionsWithWhatWasNeverSeenAreFlagged) {
  const auto trained = Train(Write("train.log", Requests(400)), {"--recipe=" + Recipe()});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_THAT(trained.err, HasSubstr("note: 400 sessions of 1599 lines, 3 templates"));
  const std::set<int> odd = {7, 50, 93};
  const auto evaluated =
      RunCommand({"evaluate", "--model=" + Path("models/m/1"), "--data=" + Write("test.log", Requests(100, odd)),
                  "--labels=" + Write("labels.csv", Labels(98, odd) + "req-5000,,1\n"), "--json"});
  ASSERT_EQ(evaluated.code, 0) << evaluated.err;
  EXPECT_THAT(evaluated.err, AllOf(HasSubstr("note: 2 sessions have no label and count as normal"),
                                   HasSubstr("note: 1 labels are of sessions that never occur"),
                                   Not(HasSubstr("belong to no session"))));
  v1::Evaluation evaluation;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(evaluated.out, &evaluation).ok());
  EXPECT_EQ(evaluation.rows(), 100u);
  EXPECT_EQ(evaluation.anomalous_rows(), 3u);
  EXPECT_EQ(evaluation.recall_at_threshold(), 1);
  EXPECT_EQ(evaluation.auroc(), 1);
}

TEST_F(LogCommands, InspectNamesTheTemplates) {
  ASSERT_EQ(Train(Write("train.log", Requests(400)), {"--recipe=" + Recipe()}).code, 0);
  const auto shown = RunCommand({"inspect", Path("models/m/1")});
  EXPECT_THAT(shown.out,
              AllOf(HasSubstr("lines in which 'req-[0-9]+' finds the same, complete after 300 s without one"),
                    HasSubstr("<*> INFO <*> accepted from <*>"), HasSubstr("session_pattern: \"req-[0-9]+\"")));
  const auto json = RunCommand({"inspect", Path("models/m/1"), "--json"});
  const std::string wildcard = "\\u003c*\\u003e";
  EXPECT_THAT(json.out, HasSubstr("\"templates\":[{\"id\":0,\"lines\":400,\"sessions\":400,\"text\":\"" + wildcard +
                                  " INFO " + wildcard + " accepted from " + wildcard +
                                  "\",\"example\":\"2024-05-01 10:00:00 INFO req-0 accepted from 10.0.0.0\"}"));
}

TEST_F(LogCommands, TheSameLogGivesTheSameArtifact) {
  const std::string log = Requests(400);
  ASSERT_EQ(Train(Write("train.log", log), {"--recipe=" + Recipe()}).code, 0);
  ASSERT_EQ(Train(Write("train.log.gz", Gzip(log)), {"--recipe=" + Recipe()}).code, 0) << "gzip, too";
  EXPECT_EQ((*ReadArtifact(Path("models/m/1")))->model().artifact_sha256,
            (*ReadArtifact(Path("models/m/2")))->model().artifact_sha256);
}

TEST_F(LogCommands, FlagsAreShortForTheRecipesFields) {
  const std::string log = Write("lines", "nobody's line\n" + Requests(400));
  const auto trained =
      Train(log, {"--input-format=log", "--session-pattern=req-[0-9]+", "--recipe=" + Recipe("depth: 4")});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_THAT(trained.err, HasSubstr("note: 1 lines belong to no session"));
  EXPECT_THAT(trained.out, AllOf(HasSubstr("depth: 4"), HasSubstr("scaling: LOG1P"), HasSubstr("window: 1")));
  const auto windows = Train(log, {"--input-format=log", "--window-seconds=1", "--recipe=" + Recipe()});
  ASSERT_EQ(windows.code, 0) << windows.err;
  EXPECT_THAT(windows.err, HasSubstr("note: 100 sessions"));
  EXPECT_EQ(Train(log, {"--session-pattern=a", "--window-seconds=1"}).code, 64);
}

TEST_F(LogCommands, SessionsLabelledAnomalousTeachNothing) {
  const std::set<int> odd = {8, 9, 10};
  const auto trained = Train(Write("train.log", Requests(400, odd)),
                             {"--recipe=" + Recipe(), "--labels=" + Write("labels.csv", Labels(400, odd))});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_THAT(trained.err, HasSubstr("note: 3 sessions labelled as anomalies are left out"));
  const auto detector = *ReadArtifact(Path("models/m/1"));
  const LogTransform& log = *detector->model().pipeline.log();
  EXPECT_EQ(log.Event("2024-05-01 10:00:00 INFO req-1 lost connection to the store"), std::nullopt);
  EXPECT_TRUE(log.Event("2024-05-01 10:00:00 INFO req-1 answered in 5 ms"));
}

TEST_F(LogCommands, BadLinesNeverFailATraining) {
  std::string log = Requests(400);
  log += std::string("req-1 \0\xff\xfe\x1b[2J\n", 14) + "req-2 " + std::string(10'000'000, 'x') + "\n\n\r\n" + "req-3";
  const auto trained = Train(Write("train.log", log), {"--recipe=" + Recipe()});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_EQ(RunCommand({"inspect", Path("models/m/1"), "--json"}).code, 0);
}

// Many messages, one, a line at a time, and no server: the same sessions with the same verdicts.
TEST_F(LogCommands, TuneJudgesCandidatesOnLabelledSessions) {
  const std::set<int> odd = {17, 40, 63};
  const std::string data = "--data=" + Write("train.log", Requests(400, {201, 302}));
  const std::string test = Write("test.log", Requests(100, odd));
  const std::string labels = "--labels=" + Write("labels.csv", Labels(100, odd)), recipe = "--recipe=" + Recipe();
  const std::vector<std::string> tune = {"tune", data, recipe, "--levels=0.1,2", "--widths=2"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = tune;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunCommand(arguments);
  };
  const CommandOutput tuned =
      with({"--test=" + test, labels, "--json", "--best-recipe=" + Path("best.textproto"), "--plot=" + Path("t.svg")});
  ASSERT_EQ(tuned.code, 0) << tuned.err;
  v1::TuningReport report;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(tuned.out, &report).ok());
  ASSERT_EQ(report.points_size(), 2);
  EXPECT_EQ(report.judged_rows(), 100u);
  EXPECT_TRUE(report.labelled());
  // The winner's recipe trains the candidate that was judged.
  ASSERT_EQ(RunCommand({"train", data, labels, "--recipe=" + Path("best.textproto"), "--name=m",
                        "--model-base-path=" + Path("models")})
                .code,
            0);
  const CommandOutput evaluated =
      RunCommand({"evaluate", "--model=" + Path("models/m/1"), "--data=" + test, labels, "--json"});
  v1::Evaluation evaluation;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(evaluated.out, &evaluation).ok());
  EXPECT_NEAR(report.points(static_cast<int>(report.best())).auroc(), evaluation.auroc(), 1e-9);

  const CommandOutput alone = with({});
  EXPECT_EQ(alone.code, 65);
  EXPECT_THAT(alone.err, HasSubstr("expected labelled sessions to judge on, got a log alone"));
  const CommandOutput unlabelled = with({"--test=" + test});
  EXPECT_EQ(unlabelled.code, 64);
  EXPECT_THAT(unlabelled.err, HasSubstr("--labels: expected a CSV"));
}

TEST_F(LogCommands, ScoreAndStreamGiveTheSameVerdictsAsNoServer) {
  ASSERT_EQ(Train(Write("train.log", Requests(400)), {"--recipe=" + Recipe()}).code, 0);
  RunningServer& server = Serve();
  const std::string data = Write("test.log", Requests(2000, {3, 400, 1999}));
  const std::string offline = RunCommand({"score", "--offline", "--model=" + Path("models/m/1"), "--data=" + data}).out;
  EXPECT_EQ(std::count(offline.begin(), offline.end(), '\n'), 2001);
  const CommandOutput scored = Run({"score", "--model=m", "--data=" + data});
  EXPECT_EQ(scored.code, 0) << scored.err;
  EXPECT_EQ(scored.out, offline);
  EXPECT_THAT(scored.err, HasSubstr("2000 sessions, "));
  EXPECT_EQ(Run({"stream", "--model=m", "--source=" + data}).out, offline);

  v1::ScoreLogsResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(server.detection().ScoreLogs(&context, LinesOf(Requests(2000, {3, 400, 1999})), &response).ok());
  EXPECT_EQ(response.sessions_size(), 2000);
  EXPECT_EQ(response.provenance().model(), "m");
  EXPECT_EQ(server.Metric("astray_log_sessions"), 0) << "streams that ended hold none";
  EXPECT_EQ(server.Metric("astray_log_unseen_lines_total{model=\"m\",version=\"1\"}"), 9);
}

TEST_F(LogCommands, CalibrateTakesALogAndHasTheErrorsOfItsSessions) {
  ASSERT_EQ(Train(Write("train.log", Requests(400)), {"--recipe=" + Recipe()}).code, 0);
  Serve();
  const std::string fresh = Write("fresh.log", Requests(1000));
  const CommandOutput calibrated =
      Run({"calibrate", "--model=m", "--data=" + fresh, "--false-positive-rate=0.01", "--promote", "--json"});
  ASSERT_EQ(calibrated.code, 0) << calibrated.err;
  v1::CalibrateResponse reply;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(calibrated.out, &reply).ok());
  EXPECT_EQ(reply.calibration().samples(), 1000u);
  // The threshold of 1,000 errors for a rate of .01 is the 991st smallest: as many sessions are at most as large.
  const CommandOutput scored = Run({"score", "--model=m", "--data=" + fresh});
  ASSERT_EQ(scored.code, 0) << scored.err;
  size_t at_most = 0;
  const std::vector<std::string> lines = absl::StrSplit(scored.out, '\n', absl::SkipEmpty());
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::vector<std::string> cells = absl::StrSplit(lines[i], ',');
    at_most += std::stod(cells[7]) <= reply.calibration().threshold() * (1 + 1e-6) ? 1 : 0;
  }
  EXPECT_GE(at_most, 991u);
  WriteTinyArtifact(Path("models"));
  ASSERT_EQ(Run({"models", "load", "--model=pump"}).code, 0);
  const CommandOutput refused = Run({"calibrate", "--model=pump", "--data=" + fresh});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("model 'pump' version 1 was not trained on a log: it takes rows"));
}

TEST_F(LogCommands, AVerdictNamesTheTemplatesAndAnExampleOfWhatWasNeverSeen) {
  ASSERT_EQ(Train(Write("train.log", Requests(400)), {"--recipe=" + Recipe()}).code, 0);
  RunningServer& server = Serve();
  v1::ScoreLogsRequest request = LinesOf(Requests(8, {5}));
  request.set_id("one");
  v1::ScoreLogsResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(server.detection().ScoreLogs(&context, request, &response).ok());
  EXPECT_EQ(response.id(), "one");
  const auto odd = std::ranges::find_if(response.sessions(), [](const auto& s) { return s.session() == "req-5"; });
  ASSERT_NE(odd, response.sessions().end());
  EXPECT_TRUE(odd->verdict().anomalous());
  EXPECT_EQ(odd->unseen_lines(), 1u);
  EXPECT_GT(odd->first_line(), 1u);
  EXPECT_EQ(odd->first_unix_seconds(), 1714557601);  // 2024-05-01 10:00:01, as `date` has it
  float share = 0;
  bool unseen = false, known = false;
  for (const v1::TemplateShare& part : odd->templates()) {
    share += part.share();
    if (part.template_id() == -1) {
      unseen = true;
      EXPECT_THAT(part.example(), HasSubstr("req-5 lost connection to the store"));
    } else {
      known = true;
      EXPECT_THAT(part.text(),
                  testing::AnyOf(HasSubstr("accepted from"), HasSubstr("looked up key"), HasSubstr("answered in")));
      EXPECT_THAT(part.example(), HasSubstr("INFO req-"));
    }
  }
  EXPECT_TRUE(unseen);
  EXPECT_TRUE(known) << "that the answer is missing";
  float shares = 0;
  for (const v1::Contribution& contribution : odd->verdict().contributions()) shares += contribution.share();
  EXPECT_NEAR(share, shares, 1e-6) << "nothing is lost on the way from counts to templates";
}

TEST_F(LogCommands, AStreamAnswersEachRequestWithTheSessionsThatItCompletes) {
  ASSERT_EQ(
      Train(Write("train.log", Requests(400)), {"--recipe=" + Recipe("session_pattern: 'req-[0-9]+' idle_seconds: 60")})
          .code,
      0);
  RunningServer& server = Serve();
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreLogStream(&context);
  v1::ScoreLogsRequest request;
  request.mutable_model()->set_name("m");
  request.set_id("first");
  request.add_lines("2024-05-01 10:00:00 INFO req-1 accepted from 10.0.0.1");
  v1::ScoreLogsResponse response;
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.id(), "first");
  EXPECT_EQ(response.sessions_size(), 0);
  EXPECT_EQ(server.Metric("astray_log_sessions"), 1);
  request.set_id("later");
  request.set_lines(0, "2024-05-01 10:02:00 INFO req-2 accepted from 10.0.0.1");
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.id(), "later");
  ASSERT_EQ(response.sessions_size(), 1) << "req-1 was idle for two minutes";
  EXPECT_EQ(response.sessions(0).session(), "req-1");
  stream->WritesDone();
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.id(), "");
  ASSERT_EQ(response.sessions_size(), 1) << "what is open at the end";
  EXPECT_EQ(response.sessions(0).first_line(), 2u);
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(LogCommands, AStreamThatIsSilentCompletesItsSessions) {
  ASSERT_EQ(Train(Write("train.log", Requests(400)),
                  {"--recipe=" + Recipe("session_pattern: 'req-[0-9]+' idle_seconds: 0.05")})
                .code,
            0);
  RunningServer& server = Serve();
  grpc::ClientContext context;
  const auto stream = server.detection().ScoreLogStream(&context);
  v1::ScoreLogsRequest request;
  request.mutable_model()->set_name("m");
  request.set_id("only");
  request.add_lines("INFO req-1 accepted from 10.0.0.1");
  ASSERT_TRUE(stream->Write(request));
  v1::ScoreLogsResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.id(), "only");
  ASSERT_TRUE(stream->Read(&response)) << "without another line";
  ASSERT_EQ(response.sessions_size(), 1);
  EXPECT_EQ(response.sessions(0).session(), "req-1");
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(LogCommands, AnyBytesAreLinesToAServer) {
  ASSERT_EQ(Train(Write("train.log", Requests(400)), {"--recipe=" + Recipe()}).code, 0);
  RunningServer& server = Serve();
  v1::ScoreLogsRequest request;
  request.mutable_model()->set_name("m");
  request.add_lines(std::string("req-1 \0\xff\xfe\x1b[2J", 13));
  request.add_lines("req-2 " + std::string(10'000'000, 'x'));
  request.add_lines("req-3 " + std::string(2'000'000, ' ') + "x");
  request.add_lines("");
  request.add_lines("req-\xc3\x28 [[[[((((");
  for (int i = 0; i < 50'000; ++i) request.add_lines("req-4 ]");
  v1::ScoreLogsResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(server.detection().ScoreLogs(&context, request, &response).ok());
  EXPECT_EQ(response.sessions_size(), 4);
  for (const v1::SessionVerdict& session : response.sessions()) {
    EXPECT_EQ(session.unseen_lines(), session.lines());
    EXPECT_LE(session.ByteSizeLong(), 5000u) << "examples are cut";
  }
  // An endless line, as a command reads it: cut where it is too long.
  const CommandOutput streamed =
      Run({"stream", "--model=m", "--source=" + Write("endless.log", "req-9 " + std::string(30'000'000, 'y'))});
  EXPECT_EQ(streamed.code, 0) << streamed.err;
  EXPECT_THAT(streamed.out, HasSubstr("\nreq-9,1,1,,scored,1,"));
}

TEST_F(LogCommands, RowsAndLogsAreNotMistakenForEachOther) {
  ASSERT_EQ(Train(Write("train.log", Requests(400)), {"--recipe=" + Recipe()}).code, 0);
  WriteTinyArtifact(Path("models"));
  RunningServer& server = Serve();
  v1::ScoreLogsRequest request = LinesOf(Requests(4));
  request.mutable_model()->set_name("pump");
  v1::ScoreLogsResponse response;
  grpc::ClientContext context;
  const grpc::Status status = server.detection().ScoreLogs(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::FAILED_PRECONDITION);
  EXPECT_EQ(status.error_message(), "model 'pump' version 1 was not trained on a log: it scores rows, by Score");
  const std::string log = Write("x.log", Requests(4));
  EXPECT_EQ(Run({"stream", "--model=pump", "--source=" + log}).code, 1);
  EXPECT_EQ(Run({"score", "--model=m", "--data=" + log, "--entity-column=host"}).code, 64);
  EXPECT_EQ(Run({"stream", "--model=m", "--source=" + log, "--sink=mqtt://localhost/x"}).code, 64);
  const CommandOutput offline = RunCommand({"score", "--offline", "--model=" + Path("models/pump/1"), "--data=" + log});
  EXPECT_THAT(offline.err, HasSubstr("was not trained on a log"));
}

TEST_F(LogCommands, RefusalsSayWhatWasExpected) {
  const std::string log = Write("train.log", Requests(400));
  const auto refusal = [&](const std::string& data, const std::vector<std::string>& more, int code = 65) {
    const CommandOutput output = Train(data, more, "refused");
    EXPECT_EQ(output.code, code) << output.err;
    EXPECT_FALSE(std::filesystem::exists(Path("models/refused/1")));
    return output.err;
  };
  EXPECT_THAT(refusal("-", {"--input-format=log"}), HasSubstr("a log is read twice, standard input only once"));
  EXPECT_THAT(refusal(log, {"--session-pattern=("}), HasSubstr("features.log.session_pattern: expected a regular"));
  EXPECT_THAT(refusal(log, {"--session-pattern=nowhere[0-9]+"}), HasSubstr("expected lines that belong to sessions"));
  EXPECT_THAT(refusal(Write("empty.log", ""), {}), HasSubstr("expected lines that belong to sessions"));
  EXPECT_THAT(refusal(Write("rows.csv", "a\n1\n"), {"--labels=x.csv"}, 64), HasSubstr("expected a log"));
  EXPECT_THAT(refusal(log, {"--labels=" + Write("l.csv", "session,why\na,b\n")}), HasSubstr("a column 'label'"));
  EXPECT_THAT(refusal(log, {"--labels=" + Write("l.csv", "session,label\na,maybe\n")}),
              HasSubstr("line 2: label: expected 0, 1, normal or anomaly, got \"maybe\""));
  EXPECT_THAT(refusal(log, {"--recipe=" + Write("r.textproto", "features { window: 2 log {} }")}),
              HasSubstr("features.window: expected 1"));
  std::string rows = "a,b\n";
  for (int i = 0; i < 100; ++i) absl::StrAppend(&rows, i, ",", i * 3 % 7, "\n");
  EXPECT_THAT(refusal(Write("rows.csv", rows), {"--recipe=" + Recipe()}), HasSubstr("features.log: is for log lines"));

  ASSERT_EQ(Train(log, {"--recipe=" + Recipe()}).code, 0);
  const auto unlabelled = RunCommand({"evaluate", "--model=" + Path("models/m/1"), "--data=" + log});
  EXPECT_EQ(unlabelled.code, 64);
  EXPECT_THAT(unlabelled.err, HasSubstr("--labels: expected a CSV"));

  Serve();
  const auto offline =
      RunCommand({"score", "--offline", "--model=" + Path("models/m/1"), "--data=" + log, "--counterfactual"});
  const auto online = Run({"score", "--model=m", "--data=" + log, "--counterfactual"});
  EXPECT_EQ(offline.code, 65);
  EXPECT_EQ(online.code, 1);
  for (const std::string& error : {offline.err, online.err}) {
    EXPECT_THAT(error, HasSubstr("counterfactual: expected a model of rows, got 'm' of a log"));
  }
}

TEST_F(LogCommands, FeedbackOnASessionsLinesJoinsCalibrationsOrStaysOutOfThem) {
  ASSERT_EQ(Train(Write("train.log", Requests(400)), {"--recipe=" + Recipe()}).code, 0);
  RunningServer& server = Serve();
  const std::string fresh = Requests(100, {41});
  const std::string fresh_data = "--data=" + Write("fresh.log", fresh);
  std::string session;
  for (const absl::string_view line : absl::StrSplit(fresh, '\n')) {
    if (absl::StrContains(line, "req-41 ")) absl::StrAppend(&session, line, "\n");
  }
  const std::string data = "--data=" + Write("session.log", session);
  const auto feedback = [&](const std::string& kind) {
    v1::FeedbackResponse reply;
    const CommandOutput output = Run({"feedback", "--model=m", data, "--kind=" + kind, "--json"});
    EXPECT_EQ(output.code, 0) << output.err;
    EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(output.out, &reply).ok());
    return reply;
  };
  const auto calibrate = [&] {
    v1::CalibrateResponse reply;
    const CommandOutput output = Run({"calibrate", "--model=m", fresh_data, "--include-false-alarms", "--json"});
    EXPECT_EQ(output.code, 0) << output.err;
    EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(output.out, &reply).ok());
    return reply;
  };
  EXPECT_EQ(calibrate().calibration().samples(), 100u);
  EXPECT_TRUE(feedback("confirmed").verdict().anomalous());
  const v1::CalibrateResponse left_out = calibrate();
  EXPECT_EQ(left_out.confirmed_left_out(), 1u);
  EXPECT_EQ(left_out.calibration().samples(), 99u);
  // Taken back.
  EXPECT_EQ(feedback("false-alarm").kept().confirmed_anomalies(), 0u);
  const v1::CalibrateResponse added = calibrate();
  EXPECT_EQ(added.confirmed_left_out(), 0u);
  EXPECT_EQ(added.false_alarms_added(), 1u);
  EXPECT_EQ(added.calibration().samples(), 101u);
  EXPECT_THAT(Run({"feedback", "--model=m", fresh_data, "--kind=confirmed"}).err,
              HasSubstr("lines: expected those of one session, got 100 sessions"));

  // Sessions are compared in shadow like rows.
  EXPECT_EQ(Run({"models", "shadow", "--model=m", "--epoch=2"}).code, 0);
  EXPECT_EQ(Run({"score", "--model=m", fresh_data}).code, 0);
  server.server().registry().AwaitShadows();
  EXPECT_THAT(Run({"models", "describe", "--model=m"}).out, HasSubstr("  100 rows compared, 0 dropped"));
}

}  // namespace
}  // namespace astray
