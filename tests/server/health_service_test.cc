#include "server/health_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "tests/testing/lane_server.h"

namespace astray {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

class HealthServiceTest : public testing::Test {
 protected:
  HealthServiceTest() {
    health_.Post(server_.lane());
    server_.lane()->Start();
    stub_ = Health::NewStub(server_.Connect());
  }
  ~HealthServiceTest() override { Shutdown(); }

  void Shutdown() {
    server_.Cancel();
    server_.lane()->Shutdown();
  }
  grpc::Status Check(const std::string& service, HealthCheckResponse* response) {
    grpc::ClientContext context;
    HealthCheckRequest request;
    request.set_service(service);
    return stub_->Check(&context, request, response);
  }
  // Its name, or the error's code.
  std::string Check(const std::string& service) {
    HealthCheckResponse response;
    const grpc::Status status = Check(service, &response);
    return status.ok() ? HealthCheckResponse::ServingStatus_Name(response.status())
                       : absl::StrCat("error ", status.error_code());
  }

  // A call of Watch.
  class Watcher {
   public:
    Watcher(HealthServiceTest* test, const std::string& service) {
      HealthCheckRequest request;
      request.set_service(service);
      context_.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(20)));
      reader_ = test->stub_->Watch(&context_, request);
    }
    ~Watcher() {
      Cancel();
      Finish();
    }
    // The next status, or "end".
    std::string Next() {
      HealthCheckResponse response;
      return reader_->Read(&response) ? HealthCheckResponse::ServingStatus_Name(response.status()) : "end";
    }
    void Cancel() { context_.TryCancel(); }
    grpc::Status Finish() {
      if (!status_.has_value()) status_ = reader_->Finish();
      return *status_;
    }

   private:
    grpc::ClientContext context_;
    std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> reader_;
    std::optional<grpc::Status> status_;
  };

  HealthService health_{{"plant.Pumps", "plant.Valves"}};
  LaneServer server_{&health_};
  std::unique_ptr<Health::Stub> stub_;
};

TEST_F(HealthServiceTest, CheckTellsTheStatusOfTheServerAndItsServices) {
  for (const char* service : {"", "plant.Pumps", "plant.Valves"}) {
    health_.SetServing(false);
    EXPECT_EQ(Check(service), "NOT_SERVING") << service;
    health_.SetServing(true);
    EXPECT_EQ(Check(service), "SERVING") << service;
  }
}

TEST_F(HealthServiceTest, NothingServesAtFirst) {
  EXPECT_EQ(Check(""), "NOT_SERVING");
  EXPECT_EQ(Check("plant.Pumps"), "NOT_SERVING");
}

TEST_F(HealthServiceTest, AnUnknownServiceIsNotFound) {
  health_.SetServing(true);
  for (const std::string& service : {std::string("plant"), std::string("plant.Pumps "), std::string(100'000, 'x')}) {
    HealthCheckResponse response;
    EXPECT_EQ(Check(service, &response).error_code(), grpc::NOT_FOUND) << service.substr(0, 20);
  }
  EXPECT_EQ(Check("plant.Pumps"), "SERVING");
}

TEST_F(HealthServiceTest, AWatcherHearsTheStatusAtOnceAndEachChange) {
  Watcher watcher(this, "plant.Pumps"), of_server(this, "");
  EXPECT_EQ(watcher.Next(), "NOT_SERVING");
  EXPECT_EQ(of_server.Next(), "NOT_SERVING");
  health_.SetServing(true);
  EXPECT_EQ(watcher.Next(), "SERVING");
  EXPECT_EQ(of_server.Next(), "SERVING");
  health_.SetServing(true);  // no change
  Watcher later(this, "plant.Valves");
  EXPECT_EQ(later.Next(), "SERVING");
  health_.SetServing(false);
  EXPECT_EQ(watcher.Next(), "NOT_SERVING");
  EXPECT_EQ(of_server.Next(), "NOT_SERVING");
  EXPECT_EQ(later.Next(), "NOT_SERVING");
}

TEST_F(HealthServiceTest, AWatcherOfAnUnknownServiceIsToldSoOnceAndStays) {
  Watcher watcher(this, "plant.Nothing"), known(this, "");
  EXPECT_EQ(watcher.Next(), "SERVICE_UNKNOWN");
  EXPECT_EQ(known.Next(), "NOT_SERVING");
  health_.SetServing(true);
  EXPECT_EQ(known.Next(), "SERVING");
  Shutdown();
  EXPECT_EQ(watcher.Next(), "end");
}

TEST_F(HealthServiceTest, AWatcherThatGoesLeavesTheOthers) {
  Watcher stays(this, "");
  EXPECT_EQ(stays.Next(), "NOT_SERVING");
  {
    Watcher goes(this, "");
    EXPECT_EQ(goes.Next(), "NOT_SERVING");
    goes.Cancel();
    EXPECT_EQ(goes.Finish().error_code(), grpc::CANCELLED);
  }
  health_.SetServing(true);
  EXPECT_EQ(stays.Next(), "SERVING");
}

TEST_F(HealthServiceTest, WatchersEndWithTheServer) {
  std::vector<std::unique_ptr<Watcher>> watchers;
  for (int i = 0; i < 20; ++i) {
    watchers.push_back(std::make_unique<Watcher>(this, ""));
    EXPECT_EQ(watchers.back()->Next(), "NOT_SERVING");
  }
  Shutdown();  // returns although they watch
  for (const auto& watcher : watchers) {
    EXPECT_EQ(watcher->Next(), "end");
    EXPECT_FALSE(watcher->Finish().ok());
  }
}

TEST_F(HealthServiceTest, MoreWatchersThanMayBeAreRefusedUntilOneGoes) {
  std::vector<std::unique_ptr<Watcher>> watchers;
  for (size_t i = 0; i < HealthService::kMaxWatches; ++i) {
    // What they watch, or that it is unknown, makes no difference.
    watchers.push_back(std::make_unique<Watcher>(this, i % 2 == 0 ? "" : std::string(1000, 'x')));
    ASSERT_EQ(watchers.back()->Next(), i % 2 == 0 ? "NOT_SERVING" : "SERVICE_UNKNOWN") << i;
  }
  for (int i = 0; i < 3; ++i) {
    Watcher refused(this, "");
    EXPECT_EQ(refused.Next(), "end");
    EXPECT_EQ(refused.Finish().error_code(), grpc::RESOURCE_EXHAUSTED);
    EXPECT_EQ(refused.Finish().error_message(), "4096 Watch calls are open already; retry later");
  }
  EXPECT_EQ(Check(""), "NOT_SERVING");
  watchers[1].reset();
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  do {  // until the server knows that it is gone
    watchers[1] = std::make_unique<Watcher>(this, "");
  } while (watchers[1]->Next() == "end" && absl::Now() < deadline);
  EXPECT_EQ(Watcher(this, "").Next(), "end");
  health_.SetServing(true);
  for (const size_t i : {0, 1, 2}) EXPECT_EQ(watchers[i]->Next(), "SERVING") << i;
  Shutdown();
}

// Changes from several threads while watchers come and go: who stays hears the last one.
TEST_F(HealthServiceTest, TheLastChangeOfManyArrives) {
  Watcher stays(this, "plant.Pumps");
  absl::Mutex mutex;
  std::string last;
  std::thread listener([&] {
    for (std::string next = stays.Next(); next != "end"; next = stays.Next()) {
      absl::MutexLock lock(&mutex);
      EXPECT_NE(next, last);
      last = next;
    }
  });
  std::atomic<int> changing{2};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      for (int change = 0; change < 500; ++change) health_.SetServing(change % 2 == 0);
      --changing;
    });
    threads.emplace_back([&] {
      while (changing > 0) {
        EXPECT_THAT(Watcher(this, "").Next(), testing::EndsWith("SERVING"));
        EXPECT_THAT(Check(""), testing::EndsWith("SERVING"));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  health_.SetServing(true);
  const auto serving = [&] { return last == "SERVING"; };
  {
    absl::MutexLock lock(&mutex);
    EXPECT_TRUE(mutex.AwaitWithTimeout(absl::Condition(&serving), absl::Seconds(30)));
  }
  stays.Cancel();
  listener.join();
}

}  // namespace
}  // namespace astray
