// The rare unary methods on a lane of the test's, whose executor waits until the test lets it go on.
#include "server/unary_method.h"

#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "grpcpp/grpcpp.h"
#include "server/model_service.h"
#include "tests/testing/lane_server.h"
#include "tests/testing/many_calls.h"
#include "tests/testing/temporary_folder.h"
#include "tests/testing/tiny_detector.h"

namespace astray {
namespace {

class UnaryMethodTest : public testing::Test {
 protected:
  UnaryMethodTest() {
    WriteTinyArtifact(models_);
    EXPECT_TRUE(registry_.Poll().ok());
    executor_.Add([this] { go_on_.WaitForNotification(); });
    service_.Post(server_.lane());
    server_.lane()->Start();
    stub_ = v1::ModelService::NewStub(server_.Connect());
  }
  ~UnaryMethodTest() override {
    GoOn();
    gate_.Close();
    EXPECT_TRUE(gate_.AwaitEmpty(absl::Seconds(30)));
    server_.Shutdown();
    executor_.Shutdown();
    server_.lane()->Shutdown();
  }
  void GoOn() {
    if (!go_on_.HasBeenNotified()) go_on_.Notify();
  }
  grpc::Status Describe(const std::string& name, v1::ModelDescription* description) {
    grpc::ClientContext context;
    v1::DescribeModelRequest request;
    request.mutable_model()->set_name(name);
    return stub_->DescribeModel(&context, request, description);
  }
  grpc::Status SetLabel(grpc::ClientContext* context, const std::string& label) {
    v1::SetLabelRequest request;
    request.set_name("pump");
    request.set_label(label);
    request.set_version(1);
    v1::SetLabelResponse response;
    return stub_->SetLabel(context, request, &response);
  }
  v1::ListModelsResponse List() {
    grpc::ClientContext context;
    v1::ListModelsResponse list;
    EXPECT_TRUE(stub_->ListModels(&context, {}, &list).ok());
    return list;
  }

  const TemporaryFolder folder_;
  const std::filesystem::path models_ = folder_.path();
  Metrics metrics_;
  DetectorRegistry registry_{models_, &metrics_};
  FeedbackStore feedback_{models_, {}};
  absl::Notification go_on_;
  SerialExecutor executor_;
  CallGate gate_;
  ModelService service_{&registry_, &feedback_, &executor_, &gate_, &metrics_};
  LaneServer server_{&service_};
  std::unique_ptr<v1::ModelService::Stub> stub_;
};

// More calls than slots are posted wait for the executor; the lane goes on answering.
TEST_F(UnaryMethodTest, WorkThatWaitsDoesNotHoldUpTheLane) {
  std::vector<std::thread> clients;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back([this, i] {
      v1::ModelDescription description;
      const grpc::Status status = Describe(i % 2 == 0 ? "pump" : "valve", &description);
      EXPECT_EQ(status.error_code(), i % 2 == 0 ? grpc::OK : grpc::NOT_FOUND);
      EXPECT_EQ(description.name(), i % 2 == 0 ? "pump" : "");
    });
  }
  for (int i = 0; i < 20; ++i) EXPECT_EQ(List().models_size(), 1);
  GoOn();
  for (std::thread& client : clients) client.join();
  const std::string scrape = metrics_.Serialize();
  for (const char* series : {"astray_requests_total{code=\"OK\",method=\"DescribeModel\"} 10\n",
                             "astray_requests_total{code=\"NOT_FOUND\",method=\"DescribeModel\"} 10\n",
                             "astray_requests_total{code=\"OK\",method=\"ListModels\"} 20\n",
                             "astray_request_duration_seconds_count{method=\"DescribeModel\"} 20\n"}) {
    EXPECT_NE(scrape.find(series), std::string::npos) << series;
  }
}

TEST_F(UnaryMethodTest, ACallerThatIsGoneWantsNoChange) {
  grpc::ClientContext hasty;
  hasty.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(50)));
  EXPECT_EQ(SetLabel(&hasty, "hasty").error_code(), grpc::DEADLINE_EXCEEDED);
  grpc::ClientContext gone;
  std::thread client([&] { EXPECT_EQ(SetLabel(&gone, "gone").error_code(), grpc::CANCELLED); });
  gone.TryCancel();
  client.join();
  List();  // by now the lane knows
  GoOn();
  grpc::ClientContext patient;
  EXPECT_TRUE(SetLabel(&patient, "patient").ok());
  const v1::ListModelsResponse list = List();
  EXPECT_EQ(list.models(0).labels_size(), 1);
  EXPECT_EQ(list.models(0).labels().count("patient"), 1u);
}

using Describe = UnaryMethod<v1::DescribeModelRequest, v1::ModelDescription>;

TEST_F(UnaryMethodTest, MoreCallsThanMayWaitAreRefusedUntilTheyAreAnswered) {
  v1::DescribeModelRequest request;
  request.mutable_model()->set_name("pump");
  ManyCalls<v1::ModelDescription> calls(Describe::kMaxCalls + 3, [&](auto* context, auto* queue) {
    return stub_->AsyncDescribeModel(context, request, queue);
  });
  for (int i = 0; i < 3; ++i) {
    const grpc::Status status = calls.NextStatus();
    EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED);
    EXPECT_EQ(status.error_message(), "1024 calls of this method wait already; retry later");
  }
  EXPECT_EQ(List().models_size(), 1);  // another method
  EXPECT_NE(
      metrics_.Serialize().find("astray_requests_total{code=\"RESOURCE_EXHAUSTED\",method=\"DescribeModel\"} 3\n"),
      std::string::npos);
  GoOn();
  for (size_t i = 0; i < Describe::kMaxCalls; ++i) {
    const grpc::Status status = calls.NextStatus();
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  // Their places are free, but for those of the last replies perhaps.
  ManyCalls<v1::ModelDescription> more(Describe::kMaxCalls / 4, [&](auto* context, auto* queue) {
    return stub_->AsyncDescribeModel(context, request, queue);
  });
  for (size_t i = 0; i < Describe::kMaxCalls / 4; ++i) EXPECT_TRUE(more.NextStatus().ok());
}

TEST_F(UnaryMethodTest, LargeRequestsThatWaitAreBoundedTogether) {
  constexpr size_t kBytes = size_t{3} << 20, kFit = Describe::kMaxRequestBytes / kBytes;
  v1::DescribeModelRequest request;
  request.mutable_model()->set_name(std::string(kBytes, 'x'));
  ManyCalls<v1::ModelDescription> calls(
      kFit + 2, [&](auto* context, auto* queue) { return stub_->AsyncDescribeModel(context, request, queue); });
  for (int i = 0; i < 2; ++i) {
    const grpc::Status status = calls.NextStatus();
    EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED);
    EXPECT_EQ(status.error_message(),
              absl::StrCat("the calls of this method that wait have ", kFit * request.ByteSizeLong(),
                           " of 67108864 bytes, this one has ", request.ByteSizeLong(), "; retry later"));
  }
  GoOn();
  for (size_t i = 0; i < kFit; ++i) EXPECT_EQ(calls.NextStatus().error_code(), grpc::NOT_FOUND);
}

TEST_F(UnaryMethodTest, AClosedGateIsUnavailable) {
  gate_.Close();
  v1::ModelDescription description;
  EXPECT_EQ(Describe("pump", &description).error_code(), grpc::UNAVAILABLE);
  grpc::ClientContext context;
  v1::ListModelsResponse list;
  const grpc::Status status = stub_->ListModels(&context, {}, &list);
  EXPECT_EQ(status.error_code(), grpc::UNAVAILABLE);
  EXPECT_EQ(status.error_message(), "the server is shutting down");
  EXPECT_NE(metrics_.Serialize().find("astray_requests_total{code=\"UNAVAILABLE\",method=\"DescribeModel\"} 1\n"),
            std::string::npos);
}

}  // namespace
}  // namespace astray
