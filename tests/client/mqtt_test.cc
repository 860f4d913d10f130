// MQTT sources and sinks, with a real broker.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <sstream>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/mqtt_address.h"
#include "client/mqtt_connection.h"
#include "client/mqtt_rows.h"
#include "client/mqtt_sink.h"
#include "client/verdict_json.h"
#include "tests/client/command_runner.h"
#include "tests/testing/mosquitto_broker.h"
#include "tests/testing/running_server.h"

namespace astray {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const std::vector<std::string> kFeatures = {"flow", "pressure", "temperature"};

std::string Event(size_t i) {
  return absl::StrCat("{\"ts\": \"t", i, "\", \"flow\": 10, \"pressure\": 20, \"temperature\": 30}");
}

// What somebody else publishes and hears.
class Peer {
 public:
  explicit Peer(const std::string& subscription_url, const MosquittoBroker& broker) {
    MqttConnection::Options options;
    options.address = *ParseMqttSource(subscription_url.empty() ? broker.url("none") : subscription_url);
    if (!subscription_url.empty()) options.subscription = options.address.topic;
    options.keeps_session = !options.address.client_id.empty();
    options.on_message = [this](const std::string& topic, absl::string_view payload) {
      absl::MutexLock lock(&mutex_);
      heard_.push_back(absl::StrCat(topic, " ", payload));
    };
    options.on_acknowledged = [this] { ++acknowledged_; };
    auto connection = MqttConnection::Open(std::move(options));
    EXPECT_TRUE(connection.ok()) << connection.status();
    connection_ = *std::move(connection);
  }
  void Publish(const std::string& topic, const std::string& payload) {
    EXPECT_TRUE(connection_->Publish(topic, payload).ok());
  }
  size_t acknowledged() const { return acknowledged_; }
  std::vector<std::string> heard() {
    absl::MutexLock lock(&mutex_);
    return heard_;
  }
  // The rows' own times, of verdicts heard.
  std::multiset<std::string> times() {
    std::multiset<std::string> times;
    for (const std::string& message : heard()) {
      const size_t begin = message.find("\"timestamp\":\"") + 13;
      times.insert(message.substr(begin, message.find('"', begin) - begin));
    }
    return times;
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::string> heard_;
  std::atomic<size_t> acknowledged_ = 0;
  std::unique_ptr<MqttConnection> connection_;
};

// The broker keeps what comes for the client from now on.
void MakeSession(const MosquittoBroker& broker, const std::string& url) { Peer(url, broker); }

class Mqtt : public testing::Test {
 protected:
  Mqtt() : stop_(eventfd(0, EFD_CLOEXEC)), notes_(&said_) {}
  ~Mqtt() override { close(stop_); }

  std::unique_ptr<MqttRows> OpenRows(const std::string& url, const std::string& entity_member = "") {
    auto rows = MqttRows::Open(*ParseMqttSource(url), kFeatures, entity_member, stop_, &notes_);
    EXPECT_TRUE(rows.ok()) << rows.status();
    return *std::move(rows);
  }

  // `astray stream` from the source to the topic "verdicts"; it ends when the server does.
  std::thread Stream(RunningServer& running, const std::string& source, CommandOutput* output) {
    return std::thread([this, source, output, port = running.server().grpc_port()] {
      *output = RunCommand({"stream", "--model=pump", "--give-up-after=0", "--source=" + source,
                            "--sink=" + broker_.url("verdicts"), absl::StrCat("--server=127.0.0.1:", port)});
    });
  }

  int stop_;
  std::ostringstream said_;
  Notes notes_;
  MosquittoBroker broker_;
};

TEST(MqttAddress, IsAUrlWithItsPartsEncoded) {
  const auto address =
      ParseMqttSource("mqtt://me%40plant:p%3Aw@[::1]:1884/plant/+/%3F#?client-id=w1&group=g&entity=topic");
  EXPECT_FALSE(address.ok());  // # is for whole levels
  const auto full =
      ParseMqttSource("mqtt://me%40plant:p%3Aw@[::1]:1884/plant/+/%3F/#?client-id=w1&group=g&entity=topic");
  ASSERT_TRUE(full.ok()) << full.status();
  EXPECT_EQ(full->user, "me@plant");
  EXPECT_EQ(full->password, "p:w");
  EXPECT_EQ(full->host, "::1");
  EXPECT_EQ(full->port, 1884);
  EXPECT_EQ(full->topic, "plant/+/?/#");
  EXPECT_EQ(full->subscription(), "$share/g/plant/+/?/#");
  EXPECT_EQ(full->client_id, "w1");
  EXPECT_TRUE(full->entity_from_topic);
  EXPECT_EQ(ParseMqttSink("mqtt://broker/verdicts")->place(), "broker:1883");
}

TEST(MqttAddress, AWrongPartIsNamed) {
  const auto error = [](const std::string& url) { return std::string(ParseMqttSource(url).status().message()); };
  EXPECT_EQ(error("mqtt://host:port/t"), "--source: mqtt port: expected a number from 1 to 65535, got \"port\"");
  EXPECT_EQ(error("mqtt://host:70000/t"), "--source: mqtt port: expected a number from 1 to 65535, got \"70000\"");
  EXPECT_EQ(error("mqtt:///t"), "--source: mqtt host: expected a name, got \"none\"");
  EXPECT_EQ(error("mqtt://[::1/t"), "--source: mqtt host: expected a closing bracket, got \"[::1\"");
  EXPECT_THAT(error("mqtt://host"), HasSubstr("mqtt topic: expected one after host and slash"));
  EXPECT_THAT(error("mqtt://host/"), HasSubstr("mqtt topic: expected one that can be subscribed to"));
  EXPECT_THAT(error("mqtt://host/a+b"), HasSubstr("mqtt topic: expected one that can be subscribed to"));
  EXPECT_THAT(error("mqtt://host/a%00b"), HasSubstr("mqtt topic: expected text, got \"a NUL byte\""));
  EXPECT_THAT(error("mqtt://host/a%4"), HasSubstr("expected two hexadecimal digits"));
  EXPECT_THAT(error("mqtt://u:secret%x@host/a"), AllOf(HasSubstr("mqtt password"), Not(HasSubstr("secret"))));
  EXPECT_THAT(error("mqtt://host/t?qos=2"), HasSubstr("mqtt option: expected client-id, group or entity, got \"qos\""));
  EXPECT_THAT(error("mqtt://host/t?group=a/b"), HasSubstr("mqtt group: expected a name"));
  EXPECT_THAT(error("mqtt://host/t?entity=host"), HasSubstr("mqtt entity: expected topic"));
  EXPECT_THAT(ParseMqttSink("mqtt://host/t/#").status().message(),
              HasSubstr("--sink: mqtt topic: expected one without"));
  EXPECT_THAT(ParseMqttSink("mqtt://host/t?group=a").status().message(),
              HasSubstr("expected client-id, got \"group\""));
  for (const std::string flag : {"--source", "--sink"}) {
    EXPECT_EQ(RunCommand({"stream", "--model=pump", flag + "=mqtt://host:0/t"}).code, 64);
  }
  EXPECT_EQ(RunCommand({"stream", "--model=pump", "--sink=file"}).code, 64);
  EXPECT_EQ(RunCommand({"stream", "--model=p", "--entity-column=m", "--source=mqtt://host/t?entity=topic"}).code, 64);
}

TEST_F(Mqtt, RowsComeInAndVerdictsGoOut) {
  RunningServer running(TinyDetectorOptions{});
  const std::string source = broker_.url("plant/+/rows?client-id=w1&entity=topic");
  MakeSession(broker_, source);
  Peer peer(broker_.url("verdicts"), broker_);
  CommandOutput output;
  std::thread command = Stream(running, source, &output);
  for (size_t i = 0; i < 200; ++i) peer.Publish(absl::StrCat("plant/p", i % 2, "/rows"), Event(i));
  EXPECT_TRUE(Eventually([&] { return peer.heard().size() >= 200; }));
  running.server().Drain();
  command.join();
  EXPECT_EQ(output.code, 69) << output.err;
  EXPECT_EQ(output.out, "");
  const std::multiset<std::string> times = peer.times();
  EXPECT_EQ(times.size(), 200u);
  EXPECT_EQ(std::set<std::string>(times.begin(), times.end()).size(), 200u);
  EXPECT_THAT(peer.heard()[1],
              StartsWith("verdicts {\"row\":2,\"timestamp\":\"t1\",\"entity\":\"plant/p1/rows\",\"state\":"
                         "\"SCORED\","));
}

TEST_F(Mqtt, EveryEventHasItsVerdictThoughTheBrokerGoesAwayAndComesBack) {
  constexpr size_t kEvents = 600;
  RunningServer running(TinyDetectorOptions{});
  const std::string source = broker_.url("rows?client-id=w1");
  MakeSession(broker_, source);
  Peer peer(broker_.url("verdicts?client-id=judge"), broker_);
  CommandOutput output;
  std::thread command = Stream(running, source, &output);
  for (size_t i = 0; i < kEvents / 3; ++i) peer.Publish("rows", Event(i));
  EXPECT_TRUE(Eventually([&] { return peer.heard().size() > 20; }));
  broker_.Stop();
  for (size_t i = kEvents / 3; i < 2 * kEvents / 3; ++i) peer.Publish("rows", Event(i));
  broker_.Start();
  for (size_t i = 2 * kEvents / 3; i < kEvents; ++i) peer.Publish("rows", Event(i));
  const auto seen = [&] {
    const std::multiset<std::string> times = peer.times();
    return std::set<std::string>(times.begin(), times.end()).size();
  };
  EXPECT_TRUE(Eventually([&] { return seen() == kEvents; })) << seen() << " of " << kEvents;
  running.server().Drain();
  command.join();
  EXPECT_THAT(output.err, AllOf(HasSubstr("lost the connection"), HasSubstr("connected again")));
}

TEST_F(Mqtt, WorkersOfAGroupSplitATopic) {
  constexpr size_t kEvents = 300;
  absl::Mutex mutex;
  std::vector<std::string> times;
  std::array<std::unique_ptr<MqttRows>, 2> workers;
  std::array<size_t, 2> shares = {0, 0};
  std::vector<std::thread> threads;
  for (size_t w = 0; w < 2; ++w) {
    workers[w] = OpenRows(broker_.url(absl::StrCat("rows?group=workers&client-id=w", w)));
    threads.emplace_back([&, w] {
      for (Row row; workers[w]->Next(&row).ok();) {
        absl::MutexLock lock(&mutex);
        times.push_back(row.timestamp);
        ++shares[w];
      }
    });
  }
  Peer peer("", broker_);
  for (size_t i = 0; i < kEvents; ++i) peer.Publish("rows", Event(i));
  EXPECT_TRUE(Eventually([&] {
    absl::MutexLock lock(&mutex);
    return times.size() >= kEvents;
  }));
  eventfd_write(stop_, 1);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(times.size(), kEvents);
  EXPECT_EQ(std::set<std::string>(times.begin(), times.end()).size(), kEvents);
  EXPECT_GT(std::min(shares[0], shares[1]), 0u);
}

TEST_F(Mqtt, TheBrokerKeepsWhatComesWhileTheWorkerIsAway) {
  const std::string url = broker_.url("rows?client-id=w1");
  Peer peer("", broker_);
  { const auto rows = OpenRows(url); }
  for (size_t i = 0; i < 10; ++i) peer.Publish("rows", Event(i));
  const auto rows = OpenRows(url);
  Row row;
  for (size_t i = 0; i < 10; ++i) {
    ASSERT_TRUE(*rows->Next(&row));
    EXPECT_EQ(row.timestamp, absl::StrCat("t", i));
    EXPECT_EQ(row.number, i + 1);
  }
}

TEST_F(Mqtt, APayloadThatIsNoRowIsPassedOver) {
  const auto rows = OpenRows(broker_.url("rows"), "machine");
  Peer peer("", broker_);
  constexpr size_t kWrong = 1002;
  const std::vector<std::string> first = {"",
                                          "oops",
                                          "[1]",
                                          "{\"flow\": 1}",
                                          std::string(2 << 20, 'x'),
                                          "{\"machine\": \"\xff\"}",
                                          std::string(100000, '[')};
  for (size_t i = 0; i < kWrong; ++i) peer.Publish("rows", i < first.size() ? first[i] : "\x1b[2J");
  peer.Publish("rows", "{\"machine\": 7, \"flow\": 1, \"pressure\": 2, \"temperature\": null}");
  Row row;
  ASSERT_TRUE(*rows->Next(&row));
  EXPECT_EQ(row.entity, "7");
  EXPECT_EQ(row.number, 1u);
  EXPECT_EQ(rows->passed_over(), kWrong);
  const std::string said = said_.str();
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 11) << said;
  EXPECT_THAT(said, StartsWith("note: topic rows: passed over: expected a JSON object, got  ("));
  EXPECT_THAT(said,
              AllOf(HasSubstr("expected a JSON object, got oops"), HasSubstr("at most 1048576 bytes, got 2097152"),
                    HasSubstr("'machine': expected an entity, got no such member"), HasSubstr("(1000 so far)"),
                    Not(HasSubstr("\x1b"))));
}

TEST_F(Mqtt, AFullQueueMakesTheBrokerWaitAndLosesNothing) {
  const auto rows = OpenRows(broker_.url("rows"));
  Peer peer("", broker_);
  constexpr size_t kEvents = 10 * MqttRows::kMaxWaiting;
  for (size_t i = 0; i < kEvents; ++i) peer.Publish("rows", Event(i));
  EXPECT_TRUE(Eventually([&] { return peer.acknowledged() == kEvents; }));
  Row row;
  for (size_t i = 0; i < kEvents; ++i) {
    ASSERT_TRUE(*rows->Next(&row));
    EXPECT_EQ(row.timestamp, absl::StrCat("t", i));
  }
}

TEST_F(Mqtt, ASourceStopsWhileItWaitsAndWithAFullQueue) {
  for (const bool full : {false, true}) {
    const auto rows = OpenRows(broker_.url("rows"));
    Peer peer("", broker_);
    for (size_t i = 0; full && i < 500; ++i) peer.Publish("rows", Event(i));
    EXPECT_TRUE(Eventually([&] { return !full || peer.acknowledged() == 500; }));
    std::thread stopper([&] { eventfd_write(stop_, 1); });
    absl::StatusOr<bool> more = true;
    for (Row row; more.ok();) more = rows->Next(&row);
    EXPECT_TRUE(absl::IsCancelled(more.status()));
    stopper.join();
    eventfd_t count = 0;
    eventfd_read(stop_, &count);
  }
}

TEST_F(Mqtt, ABrokerThatIsNotThereIsUnavailable) {
  RunningServer running(TinyDetectorOptions{});
  const std::string nobody = absl::StrCat("mqtt://127.0.0.1:", FreePort(), "/t");
  const std::string server = absl::StrCat("--server=127.0.0.1:", running.server().grpc_port());
  for (const std::string flag : {"--source=", "--sink="}) {
    const CommandOutput output = RunCommand({"stream", "--model=pump", server, flag + nobody});
    EXPECT_EQ(output.code, 69);
    EXPECT_THAT(output.err,
                AllOf(StartsWith("astray: no answer from the broker 127.0.0.1:"), HasSubstr("Connection refused")));
  }
}

TEST_F(Mqtt, ASinkWaitsAnOutageOutAndForTheLastAcknowledgement) {
  Peer judge(broker_.url("verdicts?client-id=judge"), broker_);
  const auto sink = *MqttSink::Open(*ParseMqttSink(broker_.url("verdicts")), VerdictFilter::kAnomalies, true, &notes_);
  v1::Verdict verdict;
  const auto write = [&](uint64_t number) {
    verdict.set_anomalous(number % 2 == 0);
    EXPECT_TRUE(sink->Write({.number = number, .timestamp = absl::StrCat("t", number), .entity = "m"}, verdict).ok());
  };
  for (uint64_t i = 1; i <= 100; ++i) write(i);
  broker_.Stop();
  std::thread writer([&] {  // more than may be in flight
    for (uint64_t i = 101; i <= 400; ++i) write(i);
    EXPECT_TRUE(sink->Finish().ok());
  });
  broker_.Start();
  writer.join();
  const auto seen = [&] {
    const std::multiset<std::string> times = judge.times();
    return std::set<std::string>(times.begin(), times.end()).size();
  };
  EXPECT_TRUE(Eventually([&] { return seen() == 200; })) << seen();
  verdict.set_anomalous(true);
  const std::vector<std::string> heard = judge.heard();
  EXPECT_EQ(heard[0], "verdicts " + VerdictJson({.number = 2, .timestamp = "t2", .entity = "m"}, verdict, true));
}

}  // namespace
}  // namespace astray
