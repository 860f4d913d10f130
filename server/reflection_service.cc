#include "server/reflection_service.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "grpcpp/support/async_stream.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/lane_call.h"
#include "server/message_bytes.h"
#include "server/status.h"

namespace astray {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1alpha::ExtensionRequest;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;

// What protobuf does to find a name grows with the square of its dots, and a lane waits for it.
constexpr size_t kMostRequestBytes = 1024;

const DescriptorPool& Pool() { return *DescriptorPool::generated_pool(); }

void SetError(grpc::StatusCode code, const std::string& message, ServerReflectionResponse* response) {
  response->mutable_error_response()->set_error_code(code);
  response->mutable_error_response()->set_error_message(message);
}

// The file and all it imports, itself or through others, each once; where there is none, `missing`.
void SetFiles(const FileDescriptor* asked, const std::string& missing, ServerReflectionResponse* response) {
  if (asked == nullptr) return SetError(grpc::NOT_FOUND, missing, response);
  std::vector<const FileDescriptor*> files = {asked};
  std::set<const FileDescriptor*> seen = {asked};
  for (size_t i = 0; i < files.size(); ++i) {
    google::protobuf::FileDescriptorProto file;
    files[i]->CopyTo(&file);
    file.SerializeToString(response->mutable_file_descriptor_response()->add_file_descriptor_proto());
    for (int j = 0; j < files[i]->dependency_count(); ++j) {
      const FileDescriptor* dependency = files[i]->dependency(j);
      if (seen.insert(dependency).second) files.push_back(dependency);
    }
  }
}

void FindFile(const std::string& name, ServerReflectionResponse* response) {
  SetFiles(Pool().FindFileByName(name), absl::StrCat("file_by_filename: there is no file '", name, "'"), response);
}

void FindSymbol(const std::string& symbol, ServerReflectionResponse* response) {
  SetFiles(Pool().FindFileContainingSymbol(symbol),
           absl::StrCat("file_containing_symbol: there is no symbol '", symbol, "'"), response);
}

void FindExtension(const ExtensionRequest& request, ServerReflectionResponse* response) {
  const google::protobuf::Descriptor* type = Pool().FindMessageTypeByName(request.containing_type());
  const FieldDescriptor* extension =
      type == nullptr ? nullptr : Pool().FindExtensionByNumber(type, request.extension_number());
  SetFiles(extension == nullptr ? nullptr : extension->file(),
           absl::StrCat("file_containing_extension: '", request.containing_type(), "' has no extension ",
                        request.extension_number()),
           response);
}

void ListExtensions(const std::string& name, ServerReflectionResponse* response) {
  const google::protobuf::Descriptor* type = Pool().FindMessageTypeByName(name);
  if (type == nullptr) {
    SetError(grpc::NOT_FOUND, absl::StrCat("all_extension_numbers_of_type: there is no message '", name, "'"),
             response);
    return;
  }
  std::vector<const FieldDescriptor*> extensions;
  Pool().FindAllExtensions(type, &extensions);
  std::ranges::sort(extensions, {}, &FieldDescriptor::number);
  auto* numbers = response->mutable_all_extension_numbers_response();
  numbers->set_base_type_name(type->full_name());
  for (const FieldDescriptor* extension : extensions) numbers->add_extension_number(extension->number());
}

}  // namespace

// One call: reads, answers, reads on, until the client ends it.
class ReflectionService::Call final : public LaneCall {
 public:
  // Waits for a call; each that comes has another one wait.
  static void Post(ReflectionService* service, Lane* lane) { new Call(service, lane); }

 private:
  Call(ReflectionService* service, Lane* lane) : LaneCall(lane), service_(service), stream_(context()) {
    service_->RequestServerReflectionInfo(context(), &stream_, lane->queue(), lane->queue(), arrived_tag());
  }

  void PostNext() override { Post(service_, lane()); }
  void Begin() override {
    ++service_->calls_;
    if (service_->calls_ > kMaxCalls) {
      Finish(absl::ResourceExhaustedError(absl::StrCat(kMaxCalls, " reflection calls are open already; retry later")));
    } else {
      stream_.Read(&bytes_, Open(&read_tag_));
    }
  }
  void Read(bool ok) {
    if (!ok) return Finish(absl::OkStatus());
    ServerReflectionRequest request;  // a call that waits keeps nothing
    if (const absl::Status status = ParseMessage(&bytes_, &request); !status.ok()) return Finish(status);
    stream_.Write(SerializeMessage(service_->Answer(request)), Open(&wrote_tag_));
  }
  void Wrote(bool ok) {
    if (!ok) return Finish(absl::CancelledError("the client is gone"));
    stream_.Read(&bytes_, Open(&read_tag_));
  }
  void Finish(const absl::Status& status) {
    --service_->calls_;
    stream_.Finish(ToGrpcStatus(status), Open(&finished_tag_));
  }
  void Finished(bool /*ok*/) {}

  ReflectionService* const service_;
  grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer> stream_;
  grpc::ByteBuffer bytes_;
  Tag<Call, &Call::Read> read_tag_{this};
  Tag<Call, &Call::Wrote> wrote_tag_{this};
  Tag<Call, &Call::Finished> finished_tag_{this};
};

void ReflectionService::Post(Lane* lane) { Call::Post(this, lane); }

ServerReflectionResponse ReflectionService::Answer(const ServerReflectionRequest& request) const {
  ServerReflectionResponse response;
  if (const size_t bytes = request.ByteSizeLong(); bytes > kMostRequestBytes) {
    SetError(grpc::INVALID_ARGUMENT,
             absl::StrCat("message_request: expected at most ", kMostRequestBytes, " bytes, got ", bytes), &response);
    return response;
  }
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kFileByFilename:
      FindFile(request.file_by_filename(), &response);
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      FindSymbol(request.file_containing_symbol(), &response);
      break;
    case ServerReflectionRequest::kFileContainingExtension:
      FindExtension(request.file_containing_extension(), &response);
      break;
    case ServerReflectionRequest::kAllExtensionNumbersOfType:
      ListExtensions(request.all_extension_numbers_of_type(), &response);
      break;
    case ServerReflectionRequest::kListServices:
      for (const std::string& service : services_) {
        response.mutable_list_services_response()->add_service()->set_name(service);
      }
      break;
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      SetError(grpc::INVALID_ARGUMENT, "message_request: expected one of the protocol's, got none that is known",
               &response);
      break;
  }
  return response;
}

}  // namespace astray
