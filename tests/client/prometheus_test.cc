// Prometheus as a source, with a fake one that misbehaves; integration/prometheus_test.py has a real one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <sstream>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/prometheus_range.h"
#include "client/prometheus_response.h"
#include "client/prometheus_rows.h"
#include "tests/client/command_runner.h"
#include "tests/testing/child_process.h"
#include "tests/testing/fake_http_server.h"

namespace astray {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

double Number(const std::string& text) {
  double number = 0;
  EXPECT_TRUE(absl::SimpleAtod(text, &number)) << text;
  return number;
}

std::string Success(const std::string& type, const std::string& result) {
  return absl::StrCat(R"({"status":"success","data":{"resultType":")", type, R"(","result":)", result, "}}");
}

// What Prometheus says of `up`, whose value is the step's number modulo 1000, and of a `spare` that comes first.
FakeHttpServer::Reply Answer(const std::string& path) {
  const auto value = [&](double time, double step) { return std::fmod(std::round(time / step), 1000); };
  const std::string metric = R"("metric":{"__name__":"up","job":"node","instance":"a\"b"})";
  const std::string spare = R"({"metric":{"__name__":"spare"},)";
  const std::string time = PathParameter(path, "time");
  if (!time.empty()) {
    EXPECT_THAT(path, StartsWith("/api/v1/query?query="));
    return {.body = Success("vector", absl::StrCat("[", spare, R"("value":[)", time, R"(,"7"]},{)", metric,
                                                   R"(,"value":[)", time, ",\"", value(Number(time), 0.05), "\"]}]"))};
  }
  EXPECT_THAT(path, StartsWith("/api/v1/query_range?query="));
  const double start = Number(PathParameter(path, "start")), end = Number(PathParameter(path, "end"));
  const double step = Number(PathParameter(path, "step"));
  std::string points;
  int count = 0;
  for (double t = start; t <= end + step / 2; t += step) {
    absl::StrAppendFormat(&points, "%s[%.3f,\"%g\"]", points.empty() ? "" : ",", t, value(t, step));
    ++count;
  }
  EXPECT_LE(count, 10'000);
  return {.body = Success("matrix", absl::StrCat("[", spare, R"("values":[[)", PathParameter(path, "start"),
                                                 R"(,"+Inf"]]},{)", metric, R"(,"values":[)", points, "]}]"))};
}

std::string Source(uint16_t port) { return absl::StrCat("prometheus:http://127.0.0.1:", port); }

const char kUp[] = R"(up{instance="a\"b",job="node"})";

class Prometheus : public testing::Test {
 protected:
  Prometheus() : stop_(eventfd(0, EFD_CLOEXEC)), notes_(&said_) {}
  ~Prometheus() override { close(stop_); }
  std::unique_ptr<PrometheusRows> Poll(uint16_t port, const std::vector<std::string>& features = {kUp, "absent"}) {
    PrometheusFlags flags;
    flags.queries = {"up"};
    flags.step = "50ms";
    return std::make_unique<PrometheusRows>(*PrometheusClient::Make(Source(port), flags, stop_), features, stop_,
                                            &notes_);
  }
  int stop_;
  std::ostringstream said_;
  Notes notes_;
};

TEST(PrometheusResponse, SeriesHaveLabelsAndPoints) {
  const auto all = ParsePrometheusResponse(Success(
      "matrix",
      R"([{"metric":{"a":"1"},"values":[[1.5,"2"],[3,"NaN"],[4,"-Inf"],[5,"1e300"]]},{"metric":{},"values":[]}])"));
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ((*all)[0].labels.at("a"), "1");
  EXPECT_EQ((*all)[0].points[0], (std::pair<double, float>(1.5, 2)));
  for (size_t i = 1; i < 4; ++i) EXPECT_TRUE(std::isnan((*all)[0].points[i].second));
  EXPECT_EQ(ParsePrometheusResponse(Success("scalar", R"([1,"2"])"))->front().points[0].second, 2);
}

TEST(PrometheusResponse, WhatIsWrongIsNamed) {
  const auto error = [](const std::string& body) {
    const absl::Status status = ParsePrometheusResponse(body).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    return std::string(status.message());
  };
  EXPECT_EQ(error("<html>\n"), "expected a JSON object, got <html>\\n");
  EXPECT_THAT(error(std::string(100000, '[')), HasSubstr("expected a JSON object"));
  EXPECT_EQ(error(R"({"status":"error","error":"parse error"})"),
            "status: expected success, got \"error\": parse error");
  EXPECT_EQ(error(R"({"status":"success"})"), "data: expected an object");
  EXPECT_EQ(error(Success("string", "[]")), "data.resultType: expected vector, matrix or scalar, got \"string\"");
  EXPECT_EQ(error(Success("vector", "{}")), "data.result: expected a list");
  EXPECT_EQ(error(Success("vector", "[7]")), "data.result 1: metric: expected an object");
  EXPECT_EQ(error(Success("vector", R"([{"metric":{"a":1},"value":[1,"2"]}])")),
            "data.result 1: metric: expected labels that are strings");
  EXPECT_THAT(error(Success("vector", R"([{"metric":{},"histogram":[]}])")), HasSubstr("expected a value, got none"));
  EXPECT_EQ(error(Success("matrix", R"([{"metric":{},"values":7}])")), "data.result 1: values: expected a list");
  for (const std::string point : {"7", "[1]", R"(["1","2"])", "[1,2]", R"([1,"x"])"}) {
    EXPECT_EQ(error(Success("scalar", point)),
              point == "7" ? "data.result: expected a list" : "data.result: expected [time, \"number\"]");
  }
}

TEST(PrometheusSeriesName, HasTheLabelsThatPrometheusPrints) {
  EXPECT_EQ(*PrometheusSeriesName("q", {{"__name__", "up"}, {"job", "x"}, {"cpu", "a\"b\\\n"}}, {}),
            R"(up{cpu="a\"b\\\n",job="x"})");
  EXPECT_EQ(*PrometheusSeriesName("rate(x[1m])", {{"job", "x"}, {"cpu", "0"}}, {"cpu"}), R"(rate(x[1m]){cpu="0"})");
  EXPECT_EQ(*PrometheusSeriesName("sum(x)", {}, {}), "sum(x)");
  EXPECT_THAT(PrometheusSeriesName("q", {{"job", std::string(300, 'x')}}, {}).status().message(),
              HasSubstr("expected a name of at most 256 bytes, got 309"));
}

TEST_F(Prometheus, AnOutageLosesNothingAndIsToldOnce) {
  std::atomic<int> asked = 0;
  const FakeHttpServer server([&](const std::string& path) -> FakeHttpServer::Reply {
    switch (++asked) {
      case 3:
        return {.status = 503, .body = "busy"};
      case 4:
        return {.body = "{\"status\":"};
      case 5:
        return {.body = std::string(1 << 20, ' '), .repeated = 100};
      case 6:
        return {.status = 200, .body = Success("vector", R"([{"metric":{},"value":[1,"1"]}])")};  // of another time
      default:
        return Answer(path);
    }
  });
  const auto rows = Poll(server.port());
  Row row;
  absl::Time before;
  double value = -1;
  for (uint64_t number = 1; number <= 20; ++number) {
    const auto more = rows->Next(&row);
    ASSERT_TRUE(more.ok() && *more) << more.status();
    EXPECT_EQ(row.number, number);
    absl::Time time;
    ASSERT_TRUE(absl::ParseTime(absl::RFC3339_full, row.timestamp, &time, nullptr)) << row.timestamp;
    if (number > 1) {
      EXPECT_EQ(time - before, absl::Milliseconds(50));
      EXPECT_EQ(row.values[0], std::fmod(value + 1, 1000));
    }
    EXPECT_TRUE(std::isnan(row.values[1]));
    before = time;
    value = row.values[0];
  }
  EXPECT_GT(asked, 6);
  const std::string said = said_.str();
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 3) << said;
  EXPECT_THAT(said, AllOf(HasSubstr("passed over: 1 series that the model does not know, such as spare"),
                          HasSubstr("query up: HTTP status 503; trying again"), HasSubstr("answers again")));
}

TEST_F(Prometheus, SomebodyWhoIsNotThereIsWaitedFor) {
  const uint16_t port = FreePort();
  const auto rows = Poll(port);
  std::unique_ptr<FakeHttpServer> server;
  std::thread starter([&] { server = std::make_unique<FakeHttpServer>(Answer, port); });
  Row row;
  EXPECT_TRUE(*rows->Next(&row));
  starter.join();
  server.reset();
  eventfd_write(stop_, 1);
  EXPECT_TRUE(absl::IsCancelled(rows->Next(&row).status()));
}

TEST_F(Prometheus, AStopEndsARequestThatHangs) {
  const int answered = eventfd(0, EFD_CLOEXEC);
  const FakeHttpServer server([&](const std::string& path) {
    eventfd_write(stop_, 1);
    eventfd_t count = 0;
    eventfd_read(answered, &count);  // until the client has gone
    return Answer(path);
  });
  const auto rows = Poll(server.port());
  Row row;
  EXPECT_TRUE(absl::IsCancelled(rows->Next(&row).status()));
  eventfd_write(answered, 1);
}

TEST_F(Prometheus, AWrongQueryAndNamesThatAreTheSameEndIt) {
  std::string body = R"({"status":"error","errorType":"bad_data","error":"1:5: parse error"})";
  int status = 400;
  const FakeHttpServer server([&](const std::string&) { return FakeHttpServer::Reply{status, body}; });
  Row row;
  EXPECT_EQ(Poll(server.port())->Next(&row).status(),
            absl::InvalidArgumentError(
                absl::StrCat("http://127.0.0.1:", server.port(),
                             ": query up: status: expected success, got \"error\": 1:5: parse error")));
  status = 200;
  PrometheusFlags flags;
  flags.queries = {"1", "1"};
  const auto client = *PrometheusClient::Make(Source(server.port()), flags, -1);
  const int64_t k = client.StepAt(absl::FromUnixSeconds(100));
  body = Success("scalar", absl::StrCat("[", k * 15, ",\"1\"]"));
  EXPECT_THAT(client.Ask(k, k).status().message(), HasSubstr("series '1': expected one of this name, got two"));
}

TEST_F(Prometheus, ARangeIsATableOfStepsInChunks) {
  std::atomic<int> asked = 0;
  const FakeHttpServer server([&](const std::string& path) {
    ++asked;
    return Answer(path);
  });
  PrometheusFlags flags;
  flags.queries = {"up"};
  flags.step = "1s";
  const auto data = ReadPrometheusRange(Source(server.port()) + "/", flags, {.range = "25000s", .end = "1700000000.5"});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(asked, 3);
  EXPECT_THAT(data->feature_names, ElementsAre("spare", kUp));
  ASSERT_EQ(data->rows(), 25000u);
  EXPECT_EQ(data->timestamps.back(), "2023-11-14T22:13:20Z");
  EXPECT_EQ(data->timestamps.front(), "2023-11-14T15:16:41Z");
  for (size_t i = 0; i < data->rows(); ++i) {
    EXPECT_TRUE(std::isnan(data->row(i)[0]));
    EXPECT_EQ(data->row(i)[1], static_cast<float>((1'700'000'000 - 24'999 + i) % 1000));
  }
  EXPECT_EQ(ReadPrometheusRange(Source(server.port()), flags, {.range = "100s", .end = "2023-11-14T22:13:20Z"})->rows(),
            100u);
}

TEST_F(Prometheus, ARangeWithoutReadingsAndOneThatIsTooLargeAreRefused) {
  bool large = false;
  const FakeHttpServer server([&](const std::string&) {
    if (large) return FakeHttpServer::Reply{200, std::string(1 << 20, ' '), 100};
    return FakeHttpServer::Reply{200, Success("matrix", "[]")};
  });
  PrometheusFlags flags;
  flags.queries = {"up"};
  EXPECT_THAT(
      ReadPrometheusRange(Source(server.port()), flags, {.range = "1m", .end = "1700000000"}).status().message(),
      HasSubstr("expected readings from 2023-11-14T22:12:30Z to 2023-11-14T22:13:15Z, got none"));
  large = true;
  const absl::Status status = ReadPrometheusRange(Source(server.port()), flags, {.range = "1m"}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(status.message(), HasSubstr("expected at most 67108864 bytes in a reply"));
}

TEST(PrometheusFlags, WrongOnesAreUsageErrors) {
  const std::string source = "--source=prometheus:http://127.0.0.1:1";
  const std::string data = "--data=prometheus:http://127.0.0.1:1";
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"stream", "--model=p", source}, "--query: expected at least one"},
      {{"stream", "--model=p", source, "--query="}, "--query"},
      {{"stream", "--model=p", source, "--query=up", "--step=0s"}, "--step: expected a time from 1ms to 24h"},
      {{"stream", "--model=p", source, "--query=up", "--step=soon"}, "--step: expected a time"},
      {{"stream", "--model=p", source, "--query=up", "--entity-column=m"}, "--entity-column"},
      {{"stream", "--model=p", "--source=prometheus:localhost", "--query=up"}, "begins with http://"},
      {{"stream", "--model=p", "--source=x.csv", "--query=up"}, "--query: expected --source=prometheus:"},
      {{"train", "--name=p", data, "--query=up"}, "--range: expected a time of at least two steps"},
      {{"train", "--name=p", data, "--query=up", "--range=1s"}, "--range: expected a time of at least two steps"},
      {{"train", "--name=p", data, "--query=up", "--range=1h", "--end=now"}, "--end: expected RFC 3339"},
      {{"train", "--name=p", data, "--query=up", "--range=10000h", "--step=1ms"}, "--range: expected at most"}};
  for (const auto& [arguments, expected] : cases) {
    const CommandOutput output = RunCommand(arguments);
    EXPECT_EQ(output.code, 64) << output.err;
    EXPECT_THAT(output.err, HasSubstr(expected));
  }
  const CommandOutput nobody = RunCommand({"train", "--name=p", data, "--query=up", "--range=1h"});
  EXPECT_EQ(nobody.code, 69);
  EXPECT_THAT(nobody.err, StartsWith("astray: http://127.0.0.1:1: query up: "));
}

TEST(PrometheusFlags, AreOfferedAgainForStreaming) {
  PrometheusFlags flags;
  flags.queries = {"a{b='c'}", "d"};
  flags.by = {"cpu", "mode"};
  EXPECT_EQ(PrometheusStreamArguments("prometheus:http://h:1", flags),
            R"(--source='prometheus:http://h:1' --query='a{b='\''c'\''}' --query='d' --step=15s --by='cpu,mode')");
}

}  // namespace
}  // namespace astray
