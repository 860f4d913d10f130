#include "server/calibrate_call.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/testing/raw_call.h"
#include "tests/testing/running_server.h"
#include "tests/testing/temporary_folder.h"

namespace astray {
namespace {

// A client's side of a call of Calibrate, its header sent.
struct Calibrating {
  explicit Calibrating(RunningServer& server) : writer(server.detection().Calibrate(&context, &response)) {
    v1::CalibrateRequest request;
    request.mutable_header()->mutable_model()->set_name("pump");
    request.mutable_header()->set_promote(true);
    writer->Write(request);
  }
  bool Write(const std::vector<float>& rows) {
    v1::CalibrateRequest request;
    request.mutable_rows()->mutable_values()->Add(rows.begin(), rows.end());
    return writer->Write(request);
  }
  grpc::Status Finish() {
    writer->WritesDone();
    return writer->Finish();
  }

  grpc::ClientContext context;
  v1::CalibrateResponse response;
  std::unique_ptr<grpc::ClientWriter<v1::CalibrateRequest>> writer;
};

const char kEnded[] = "astray_request_duration_seconds_count{method=\"Calibrate\"}";
const char kRefused[] = "astray_requests_total{code=\"RESOURCE_EXHAUSTED\",method=\"Calibrate\"}";

TEST(CalibrateCall, MoreThanMayRunAreRefusedUntilOneEnds) {
  RunningServer server;
  std::vector<std::unique_ptr<Calibrating>> calls;
  size_t refused = 0;
  for (size_t i = 0; i < DetectionService::kMaxCalibrations + 3; ++i) {
    auto call = std::make_unique<Calibrating>(server);
    if (i < DetectionService::kMaxCalibrations) {
      calls.push_back(std::move(call));
      // Scored through the same connection and lane: the call before it was taken.
      v1::ScoreResponse scored;
      ASSERT_TRUE(server.Score(MakeScoreRequest("pump", TinyRows(1, 3, 1)), &scored).ok());
      continue;
    }
    const grpc::Status status = call->Finish();
    EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED);
    EXPECT_EQ(status.error_message(), "8 calibrations are running; retry later");
    ++refused;
  }
  EXPECT_EQ(server.Metric(kRefused), static_cast<double>(refused));
  for (const std::unique_ptr<Calibrating>& call : calls) {
    EXPECT_TRUE(call->Write(TinyRows(300, 3, 7)));
    EXPECT_TRUE(call->Finish().ok());
    // Its place is free once its reply is here.
    Calibrating next(server);
    EXPECT_TRUE(next.Write(TinyRows(300, 3, 8)));
    const grpc::Status status = next.Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(server.Metric("astray_requests_total{code=\"OK\",method=\"Calibrate\"}"), 16);
  EXPECT_EQ(server.Metric(kEnded), 16. + 3);
}

// The end of a stream whose client is gone looks like that of a stream that is complete.
TEST(CalibrateCall, AClientThatDiesPromotesNothing) {
  RunningServer server;
  for (int i = 0; i < 30; ++i) {
    Calibrating call(server);
    ASSERT_TRUE(call.Write(TinyRows(300, 3, 7)));
    while (server.Metric("astray_queue_duration_seconds_count") < i + 1) {
    }  // its rows are scored
    call.context.TryCancel();
    EXPECT_EQ(call.writer->Finish().error_code(), grpc::CANCELLED);
    while (server.Metric(kEnded) < i + 1) {
    }  // its place is free
  }
  server.server().Drain();
  EXPECT_FALSE(std::filesystem::exists(server.models() / "pump/calibrations"));
}

const char kCalibrate[] = "/astray.v1.DetectionService/Calibrate";

// Messages of a whole calibration that would be promoted.
std::vector<std::string> Messages() {
  v1::CalibrateRequest header, rows;
  header.mutable_header()->mutable_model()->set_name("pump");
  header.mutable_header()->set_promote(true);
  const std::vector<float> values = TinyRows(300, 3, 7);
  rows.mutable_rows()->mutable_values()->Add(values.begin(), values.end());
  return {header.SerializeAsString(), rows.SerializeAsString()};
}

// To gRPC, a message that cannot be parsed is the end of the stream.
TEST(CalibrateCall, AMessageThatIsNoneIsRefusedAndPromotesNothing) {
  RunningServer server;
  const std::vector<std::string> messages = Messages();
  const std::string wrong_type = "\x0a\x02\xff\xff", cut_off = messages[1].substr(0, messages[1].size() - 1);
  const std::string not_utf8 = "\x12\x03\x12\x01\xff";  // rows.entity
  for (const std::string& bytes : {wrong_type, cut_off, not_utf8}) {
    RawCall call(server.channel(), kCalibrate);
    for (const std::string& message : messages) EXPECT_TRUE(call.Write(message));
    call.Write(bytes);
    call.WritesDone();
    const grpc::Status status = call.Finish();
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
    EXPECT_EQ(status.error_message(), absl::StrCat("message: expected one of type astray.v1.CalibrateRequest, got ",
                                                   bytes.size(), " bytes that are none"));
  }
  EXPECT_EQ(server.Metric("astray_requests_total{code=\"INVALID_ARGUMENT\",method=\"Calibrate\"}"), 3);
  EXPECT_FALSE(std::filesystem::exists(server.models() / "pump/calibrations"));
  RawCall whole(server.channel(), kCalibrate);  // the bytes that were written before them are right
  for (const std::string& message : messages) EXPECT_TRUE(whole.Write(message));
  EXPECT_TRUE(whole.WritesDone());
  EXPECT_TRUE(whole.Finish().ok());
  EXPECT_TRUE(std::filesystem::exists(server.models() / "pump/calibrations"));
}

TEST(CalibrateCall, AMessageThatIsTooLongPromotesNothing) {
  const TemporaryFolder temporary;
  const std::filesystem::path& models = temporary.path();
  WriteTinyArtifact(models);
  ServerConfig config = RunningServer::DefaultConfig(models);
  config.max_message_bytes = 4096;
  RunningServer server(config);
  const std::vector<std::string> messages = Messages();
  RawCall call(server.channel(), kCalibrate);
  for (const std::string& message : messages) EXPECT_TRUE(call.Write(message));
  call.Write(std::string(4097, 'x'));
  call.WritesDone();
  EXPECT_EQ(call.Finish().error_code(), grpc::RESOURCE_EXHAUSTED);
  server.server().Drain();
  EXPECT_FALSE(std::filesystem::exists(models / "pump/calibrations"));
}

// A client that speaks HTTP/2 by hand, to break off where gRPC would not.
class HandmadeCall {
 public:
  HandmadeCall(uint16_t port, const std::string& path) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    std::string headers = "\x83\x86";  // POST, http
    for (const auto& [name, value] : {std::pair<std::string, std::string>{":path", path},
                                      {":authority", "localhost"},
                                      {"te", "trailers"},
                                      {"content-type", "application/grpc"},
                                      {"grpc-encoding", "gzip"}}) {
      headers += '\0';  // a literal that is not indexed, RFC 7541 6.2.2
      for (const std::string& text : {name, value}) absl::StrAppend(&headers, std::string(1, Byte(text.size())), text);
    }
    Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettings, 0, 0, "") + Frame(kHeaders, kEndHeaders, 1, headers));
  }
  ~HandmadeCall() { close(fd_); }

  void SendMessage(const std::string& message, bool compressed = false) {
    Send(Frame(kData, 0, 1, Prefixed(message, message.size(), compressed)));
  }
  void SendBeginning(const std::string& message, size_t bytes) {
    Send(Frame(kData, 0, 1, Prefixed(message.substr(0, bytes), message.size(), false)));
  }
  void SendEnd() { Send(Frame(kData, kEndStream, 1, "")); }

 private:
  static constexpr int kData = 0, kHeaders = 1, kSettings = 4, kEndStream = 1, kEndHeaders = 4;

  static char Byte(size_t value) { return static_cast<char>(static_cast<unsigned char>(value)); }
  static std::string BigEndian(size_t value, int bytes) {
    std::string text;
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) text += Byte(value >> shift & 0xff);
    return text;
  }
  static std::string Frame(int type, int flags, uint32_t stream, const std::string& payload) {
    return BigEndian(payload.size(), 3) + BigEndian(static_cast<size_t>(type), 1) +
           BigEndian(static_cast<size_t>(flags), 1) + BigEndian(stream, 4) + payload;
  }
  static std::string Prefixed(const std::string& message, size_t length, bool compressed) {
    return std::string(1, compressed ? '\1' : '\0') + BigEndian(length, 4) + message;
  }
  void Send(const std::string& bytes) {
    EXPECT_EQ(write(fd_, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }

  const int fd_;
};

TEST(CalibrateCall, AStreamThatBreaksOffWithinAMessagePromotesNothing) {
  RunningServer server;
  const std::vector<std::string> messages = Messages();
  const auto begin = [&] {
    auto call = std::make_unique<HandmadeCall>(server.server().grpc_port(), kCalibrate);
    for (const std::string& message : messages) call->SendMessage(message);
    return call;
  };
  const auto ended = [&] { return server.Metric(kEnded); };
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  begin()->SendBeginning(messages[1], 100);  // and the connection closes
  while (!(ended() >= 1) && absl::Now() < deadline) {
  }
  const auto no_gzip = begin();
  no_gzip->SendMessage("\x1f\x8b this is no gzip", /*compressed=*/true);
  no_gzip->SendEnd();
  while (!(ended() >= 2) && absl::Now() < deadline) {
  }
  EXPECT_EQ(ended(), 2);
  EXPECT_FALSE(std::filesystem::exists(server.models() / "pump/calibrations"));
  const auto whole = begin();
  whole->SendEnd();
  while (!(ended() >= 3) && absl::Now() < deadline) {
  }
  EXPECT_TRUE(std::filesystem::exists(server.models() / "pump/calibrations"));
}

TEST(CalibrateCall, ADrainWaitsForItsClientAsLongAsItMay) {
  const TemporaryFolder temporary;
  const std::filesystem::path& models = temporary.path();
  WriteTinyArtifact(models);
  ServerConfig config = RunningServer::DefaultConfig(models);
  config.drain_timeout = absl::Milliseconds(50);
  RunningServer server(config);
  Calibrating call(server);
  ASSERT_TRUE(call.Write(TinyRows(300, 3, 7)));
  v1::ScoreResponse scored;
  ASSERT_TRUE(server.Score(MakeScoreRequest("pump", TinyRows(1, 3, 1)), &scored).ok());  // it is taken
  server.server().Drain();
  EXPECT_FALSE(call.Finish().ok());
  EXPECT_FALSE(std::filesystem::exists(models / "pump/calibrations"));
}

TEST(CalibrateCall, ADrainLetsItFinish) {
  RunningServer server;
  Calibrating call(server);
  ASSERT_TRUE(call.Write(TinyRows(300, 3, 7)));
  v1::ScoreResponse scored;
  ASSERT_TRUE(server.Score(MakeScoreRequest("pump", TinyRows(1, 3, 1)), &scored).ok());  // it is taken
  std::thread drain([&] { server.server().Drain(); });
  grpc::Status refused;
  do {
    refused = server.Score(MakeScoreRequest("pump", TinyRows(1, 3, 1)), &scored);
  } while (refused.ok());
  EXPECT_EQ(refused.error_code(), grpc::UNAVAILABLE);
  EXPECT_TRUE(call.Write(TinyRows(300, 3, 8)));
  const grpc::Status status = call.Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(call.response.promoted());
  drain.join();
}

}  // namespace
}  // namespace astray
