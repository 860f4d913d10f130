#include "server/reflection_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/descriptor_database.h"
#include "grpcpp/grpcpp.h"
#include "tests/testing/lane_server.h"
#include "tests/testing/raw_call.h"

namespace astray {
namespace {

using google::protobuf::FileDescriptorProto;
using grpc::reflection::v1alpha::ServerReflection;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;
using testing::ElementsAre;
using testing::IsEmpty;

const ReflectionService& Service() {
  static const auto& service = *new ReflectionService({"plant.Pumps", "plant.Valves"});
  return service;
}

std::vector<std::string> FileNames(const ServerReflectionResponse& response) {
  std::vector<std::string> names;
  for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
    FileDescriptorProto file;
    EXPECT_TRUE(file.ParseFromString(bytes));
    names.push_back(file.name());
  }
  return names;
}

ServerReflectionResponse FileOfSymbol(const std::string& symbol) {
  ServerReflectionRequest request;
  request.set_file_containing_symbol(symbol);
  return Service().Answer(request);
}

ServerReflectionResponse FileOfExtension(const std::string& type, int number) {
  ServerReflectionRequest request;
  request.mutable_file_containing_extension()->set_containing_type(type);
  request.mutable_file_containing_extension()->set_extension_number(number);
  return Service().Answer(request);
}

TEST(ReflectionService, ListsTheServices) {
  ServerReflectionRequest request;
  request.set_host("any");
  request.set_list_services("");
  const ServerReflectionResponse response = Service().Answer(request);
  ASSERT_EQ(response.list_services_response().service_size(), 2);
  EXPECT_EQ(response.list_services_response().service(0).name(), "plant.Pumps");
  EXPECT_EQ(response.list_services_response().service(1).name(), "plant.Valves");
  EXPECT_EQ(response.valid_host(), "any");
  EXPECT_EQ(response.original_request().SerializeAsString(), request.SerializeAsString());
}

// Whoever has the reply can build the definitions from it, with nothing else.
TEST(ReflectionService, AFileComesFirstAndWithAllThatItNeeds) {
  ServerReflectionRequest request;
  request.set_file_by_filename("astray/v1/service.proto");
  const ServerReflectionResponse response = Service().Answer(request);
  const std::vector<std::string> names = FileNames(response);
  EXPECT_EQ(names.front(), "astray/v1/service.proto");
  EXPECT_THAT(names, testing::IsSupersetOf({"astray/v1/recipe.proto", "astray/v1/pipeline.proto"}));
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());  // each once

  google::protobuf::SimpleDescriptorDatabase database;
  for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
    FileDescriptorProto file;
    ASSERT_TRUE(file.ParseFromString(bytes));
    database.Add(file);
  }
  google::protobuf::DescriptorPool pool(&database);
  const auto* service = pool.FindServiceByName("astray.v1.DetectionService");
  ASSERT_NE(service, nullptr);
  EXPECT_TRUE(service->FindMethodByName("ScoreStream")->client_streaming());
}

TEST(ReflectionService, FindsTheFileOfEachKindOfSymbol) {
  for (const char* symbol : {"astray.v1.DetectionService", "astray.v1.DetectionService.Score", "astray.v1.ScoreRequest",
                             "astray.v1.ScoreRequest.model", "astray.v1.VersionSummary.State"}) {
    const ServerReflectionResponse response = FileOfSymbol(symbol);
    ASSERT_FALSE(response.has_error_response()) << symbol;
    EXPECT_EQ(FileNames(response).front(), "astray/v1/service.proto") << symbol;
  }
  // Names that tools know.
  EXPECT_THAT(FileNames(FileOfSymbol("grpc.health.v1.Health")), ElementsAre("grpc/health/v1/health.proto"));
  EXPECT_THAT(FileNames(FileOfSymbol("grpc.reflection.v1alpha.ServerReflection")),
              ElementsAre("grpc/reflection/v1alpha/reflection.proto"));
}

TEST(ReflectionService, FindsTheFileOfAnExtension) {
  EXPECT_THAT(FileNames(FileOfExtension("astray.test.Extended", 101)), ElementsAre("extensions.proto"));
  EXPECT_THAT(FileNames(FileOfExtension("astray.test.Extended", 150)), ElementsAre("extensions.proto"));
}

TEST(ReflectionService, ListsTheNumbersOfExtensions) {
  ServerReflectionRequest request;
  request.set_all_extension_numbers_of_type("astray.test.Extended");
  const ServerReflectionResponse response = Service().Answer(request);
  EXPECT_EQ(response.all_extension_numbers_response().base_type_name(), "astray.test.Extended");
  EXPECT_THAT(response.all_extension_numbers_response().extension_number(), ElementsAre(101, 120, 150));

  request.set_all_extension_numbers_of_type("astray.v1.ScoreRequest");
  const ServerReflectionResponse none = Service().Answer(request);
  EXPECT_TRUE(none.has_all_extension_numbers_response());
  EXPECT_THAT(none.all_extension_numbers_response().extension_number(), IsEmpty());
}

TEST(ReflectionService, WhatIsUnknownIsNotFound) {
  ServerReflectionRequest file, type;
  file.set_file_by_filename("astray/v1/nothing.proto");
  type.set_all_extension_numbers_of_type("astray.v1.Nothing");
  for (const ServerReflectionResponse& response :
       {Service().Answer(file), Service().Answer(type), FileOfSymbol("astray.v1.Nothing"), FileOfSymbol(""),
        FileOfExtension("astray.test.Extended", 102), FileOfExtension("astray.v1.ScoreRequest", 101),
        FileOfExtension("astray.test.Nothing", 101)}) {
    ASSERT_TRUE(response.has_error_response()) << response.ShortDebugString();
    EXPECT_EQ(response.error_response().error_code(), grpc::NOT_FOUND);
    EXPECT_NE(response.error_response().error_message(), "");
  }
  EXPECT_EQ(Service().Answer(file).error_response().error_message(),
            "file_by_filename: there is no file 'astray/v1/nothing.proto'");
}

TEST(ReflectionService, ARequestForNothingIsAnInvalidArgument) {
  const ServerReflectionResponse response = Service().Answer({});
  EXPECT_EQ(response.error_response().error_code(), grpc::INVALID_ARGUMENT);
}

// Looked up, it would take minutes.
TEST(ReflectionService, ANameOfManyPartsIsRefused) {
  std::string name;
  for (int i = 0; i < 500'000; ++i) name += "a.";
  const ServerReflectionResponse response = FileOfSymbol(name);
  EXPECT_EQ(response.error_response().error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(response.error_response().error_message(), "message_request: expected at most 1024 bytes, got 1000004");
}

class ReflectionCallTest : public testing::Test {
 protected:
  ReflectionCallTest() {
    service_.Post(server_.lane());
    server_.lane()->Start();
    stub_ = ServerReflection::NewStub(server_.Connect());
  }
  ~ReflectionCallTest() override { Shutdown(); }
  void Shutdown() {
    server_.Cancel();
    server_.lane()->Shutdown();
  }

  ReflectionService service_{{"plant.Pumps"}};
  LaneServer server_{&service_};
  std::unique_ptr<ServerReflection::Stub> stub_;
};

TEST_F(ReflectionCallTest, RequestsAreAnsweredInOrderUntilTheClientEnds) {
  grpc::ClientContext context, beside;
  const auto other = stub_->ServerReflectionInfo(&beside);  // open all the while
  const auto stream = stub_->ServerReflectionInfo(&context);
  constexpr int kRequests = 100;
  for (int i = 0; i < kRequests; ++i) {
    ServerReflectionRequest request;
    if (i % 2 == 0) {
      request.set_file_containing_symbol(absl::StrCat("plant.Unknown", i));
    } else {
      request.set_file_by_filename("astray/v1/service.proto");
    }
    ASSERT_TRUE(stream->Write(request));
  }
  stream->WritesDone();
  ServerReflectionResponse response;
  for (int i = 0; i < kRequests; ++i) {
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.has_error_response(), i % 2 == 0);
    if (i % 2 == 0) {
      EXPECT_EQ(response.original_request().file_containing_symbol(), absl::StrCat("plant.Unknown", i));
    }
  }
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
  other->WritesDone();
  EXPECT_TRUE(other->Finish().ok());
}

TEST_F(ReflectionCallTest, ACancelledCallLeavesTheServiceUp) {
  {
    grpc::ClientContext context;
    const auto stream = stub_->ServerReflectionInfo(&context);
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::CANCELLED);
  }
  grpc::ClientContext context;
  const auto stream = stub_->ServerReflectionInfo(&context);
  ServerReflectionRequest request;
  request.set_list_services("");
  ServerReflectionResponse response;
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.list_services_response().service(0).name(), "plant.Pumps");
  Shutdown();  // returns although a call is open
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_FALSE(stream->Finish().ok());
}

TEST_F(ReflectionCallTest, MoreThanMayBeOpenAreRefusedUntilOneEnds) {
  using Stream = grpc::ClientReaderWriter<ServerReflectionRequest, ServerReflectionResponse>;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  const auto open = [&] {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    contexts.back()->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    return stub_->ServerReflectionInfo(contexts.back().get());
  };
  const auto answered = [](Stream* stream) {
    ServerReflectionRequest request;
    request.set_list_services("");
    ServerReflectionResponse response;
    return stream->Write(request) && stream->Read(&response);
  };
  std::vector<std::unique_ptr<Stream>> streams;
  for (size_t i = 0; i < ReflectionService::kMaxCalls; ++i) {
    streams.push_back(open());
    ASSERT_TRUE(answered(streams.back().get())) << i;
  }
  for (int i = 0; i < 3; ++i) {
    const grpc::Status status = open()->Finish();
    EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED);
    EXPECT_EQ(status.error_message(), "64 reflection calls are open already; retry later");
  }
  EXPECT_TRUE(answered(streams[1].get()));
  streams[0]->WritesDone();
  EXPECT_TRUE(streams[0]->Finish().ok());
  streams[0] = open();
  EXPECT_TRUE(answered(streams[0].get()));
  EXPECT_EQ(open()->Finish().error_code(), grpc::RESOURCE_EXHAUSTED);
  Shutdown();
  for (const auto& stream : streams) EXPECT_FALSE(stream->Finish().ok());
}

TEST_F(ReflectionCallTest, AMessageThatIsNoneIsAnInvalidArgument) {
  RawCall call(server_.Connect(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
  call.Write("\x0a\x02\xff\xff");
  const grpc::Status status = call.Finish();
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(),
            "message: expected one of type grpc.reflection.v1alpha.ServerReflectionRequest, got 4 bytes that are none");
}

}  // namespace
}  // namespace astray
