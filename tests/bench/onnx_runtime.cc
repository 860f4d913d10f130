#include "tests/bench/onnx_runtime.h"

#include <dlfcn.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace astray::bench {
namespace {

struct Status;  // null is success
struct Env;
struct SessionOptions;
struct Session;
struct MemoryInfo;
struct Value;

// Places in the table.
enum : size_t {
  kGetErrorMessage = 2,
  kCreateEnv = 3,
  kCreateSessionFromArray = 8,
  kRun = 9,
  kCreateSessionOptions = 10,
  kSetIntraOpNumThreads = 24,
  kSetInterOpNumThreads = 25,
  kCreateTensorWithData = 49,
  kCreateCpuMemoryInfo = 69,
  kReleaseEnv = 92,
  kReleaseStatus = 93,
  kReleaseMemoryInfo = 94,
  kReleaseSession = 95,
  kReleaseValue = 96,
  kReleaseSessionOptions = 100,
};

constexpr uint32_t kApiVersion = 14;  // what these places have long been in
constexpr int kWarnings = 2, kArena = 1, kDefaultMemory = 0, kFloat = 1;

struct ApiBase {
  void* const* (*get_api)(uint32_t version);
  const char* (*get_version)();
};

}  // namespace

struct OnnxRuntime::Impl {
  void* const* api = nullptr;
  Env* env = nullptr;
  SessionOptions* options = nullptr;
  Session* session = nullptr;
  MemoryInfo* memory = nullptr;
  Value* input = nullptr;
  Value* output = nullptr;
  std::string output_name;

  template <typename... Arguments>
  absl::Status Call(size_t place, Arguments... arguments) const {
    Status* status = reinterpret_cast<Status* (*)(Arguments...)>(api[place])(arguments...);
    if (status == nullptr) return absl::OkStatus();
    const std::string text = reinterpret_cast<const char* (*)(const Status*)>(api[kGetErrorMessage])(status);
    Release(kReleaseStatus, status);
    return absl::InternalError(absl::StrCat("ONNX Runtime: ", text));
  }
  template <typename T>
  void Release(size_t place, T* object) const {
    reinterpret_cast<void (*)(T*)>(api[place])(object);
  }
  absl::StatusOr<Value*> Tensor(size_t rows, std::span<float> values) const {
    const std::array<int64_t, 2> shape = {static_cast<int64_t>(rows), static_cast<int64_t>(values.size() / rows)};
    Value* value = nullptr;
    RETURN_IF_ERROR(Call(kCreateTensorWithData, static_cast<const MemoryInfo*>(memory),
                         static_cast<void*>(values.data()), values.size_bytes(), shape.data(), shape.size(), kFloat,
                         &value));
    return value;
  }
};

OnnxRuntime::OnnxRuntime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

OnnxRuntime::~OnnxRuntime() {
  impl_->Release(kReleaseValue, impl_->input);
  impl_->Release(kReleaseValue, impl_->output);
  impl_->Release(kReleaseSession, impl_->session);
  impl_->Release(kReleaseSessionOptions, impl_->options);
  impl_->Release(kReleaseMemoryInfo, impl_->memory);
  impl_->Release(kReleaseEnv, impl_->env);
}

absl::StatusOr<std::unique_ptr<OnnxRuntime>> OnnxRuntime::Create(const std::string& model) {
  const char* path = std::getenv("ASTRAY_ONNX_RUNTIME");
  if (path == nullptr) return absl::FailedPreconditionError("ASTRAY_ONNX_RUNTIME is not set");
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return absl::InternalError(absl::StrCat(path, ": ", dlerror()));
  const auto get_base = reinterpret_cast<const ApiBase* (*)()>(dlsym(library, "OrtGetApiBase"));
  if (get_base == nullptr) return absl::InternalError(absl::StrCat(path, ": has no OrtGetApiBase"));
  auto impl = std::make_unique<Impl>();
  impl->api = get_base()->get_api(kApiVersion);
  if (impl->api == nullptr) return absl::InternalError(absl::StrCat(path, ": has no API ", kApiVersion));
  RETURN_IF_ERROR(impl->Call(kCreateEnv, kWarnings, "astray", &impl->env));
  RETURN_IF_ERROR(impl->Call(kCreateSessionOptions, &impl->options));
  RETURN_IF_ERROR(impl->Call(kSetIntraOpNumThreads, impl->options, 1));
  RETURN_IF_ERROR(impl->Call(kSetInterOpNumThreads, impl->options, 1));
  RETURN_IF_ERROR(impl->Call(kCreateSessionFromArray, static_cast<const Env*>(impl->env),
                             static_cast<const void*>(model.data()), model.size(),
                             static_cast<const SessionOptions*>(impl->options), &impl->session));
  RETURN_IF_ERROR(impl->Call(kCreateCpuMemoryInfo, kArena, kDefaultMemory, &impl->memory));
  return std::unique_ptr<OnnxRuntime>(new OnnxRuntime(std::move(impl)));
}

absl::Status OnnxRuntime::Bind(size_t rows, std::span<float> input, const char* output_name, std::span<float> output) {
  impl_->Release(kReleaseValue, std::exchange(impl_->input, nullptr));
  impl_->Release(kReleaseValue, std::exchange(impl_->output, nullptr));
  impl_->output_name = output_name;
  ASSIGN_OR_RETURN(impl_->input, impl_->Tensor(rows, input));
  ASSIGN_OR_RETURN(impl_->output, impl_->Tensor(rows, output));
  return absl::OkStatus();
}

absl::Status OnnxRuntime::Run() {
  const char* const input_name = "input";
  const char* const output_name = impl_->output_name.c_str();
  const Value* const input = impl_->input;
  return impl_->Call(kRun, impl_->session, static_cast<const void*>(nullptr), &input_name, &input, size_t{1},
                     &output_name, size_t{1}, &impl_->output);
}

}  // namespace astray::bench
