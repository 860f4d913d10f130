#include "server/lane_call.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "tests/testing/lane_server.h"

namespace astray {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

class LaneCallTest : public testing::Test {
 protected:
  // Ends at once, but for a tag that the test sends.
  class WatchCall final : public LaneCall {
   public:
    explicit WatchCall(LaneCallTest* test) : LaneCall(test->server_.lane()), test_(test), writer_(context()) {
      ++test_->alive_;
      test_->service_.RequestWatch(context(), &request_, &writer_, lane()->queue(), lane()->queue(), arrived_tag());
    }
    ~WatchCall() override { --test_->alive_; }

   private:
    void PostNext() override { new WatchCall(test_); }
    void Begin() override {
      test_->late_ = Open(&late_tag_);
      writer_.Finish(grpc::Status::OK, Open(&finished_tag_));
    }
    void Gone(bool /*ok*/) override { test_->gone_.Notify(); }
    void Finished(bool ok) { test_->finished_ = ok; }
    void Late(bool /*ok*/) {
      EXPECT_EQ(test_->alive_, 2) << "this one and the next, which waits";
      test_->late_came_.Notify();
    }

    LaneCallTest* const test_;
    HealthCheckRequest request_;
    grpc::ServerAsyncWriter<HealthCheckResponse> writer_;
    Tag<WatchCall, &WatchCall::Finished> finished_tag_{this};
    Tag<WatchCall, &WatchCall::Late> late_tag_{this};
  };

  LaneCallTest() {
    new WatchCall(this);
    server_.lane()->Start();
  }
  ~LaneCallTest() override { Shutdown(); }

  void Shutdown() {
    server_.Cancel();
    server_.lane()->Shutdown();
  }

  Health::AsyncService service_;
  LaneServer server_{&service_};
  std::atomic<int> alive_ = 0;
  LaneTag* late_ = nullptr;  // of the call that began
  absl::Notification gone_, late_came_;
  bool finished_ = false;
};

TEST_F(LaneCallTest, GoesWithItsLastTag) {
  const auto stub = Health::NewStub(server_.Connect());
  grpc::ClientContext context;
  EXPECT_TRUE(stub->Watch(&context, {})->Finish().ok());
  EXPECT_TRUE(gone_.WaitForNotificationWithTimeout(absl::Seconds(30)));
  server_.lane()->Send(late_);
  EXPECT_TRUE(late_came_.WaitForNotificationWithTimeout(absl::Seconds(30)));
  Shutdown();  // waits for the call
  EXPECT_TRUE(finished_);
  EXPECT_EQ(alive_, 0);
}

TEST_F(LaneCallTest, OneThatNeverArrivesGoesWithTheServer) {
  EXPECT_EQ(alive_, 1);
  Shutdown();
  EXPECT_EQ(alive_, 0);
}

}  // namespace
}  // namespace astray
