// ONNX Runtime on one thread, to compare with. Loaded at run time, from the path in ASTRAY_ONNX_RUNTIME (scripts/bench
// sets it), through the function table of its C API, whose order never changes (onnxruntime.ai/docs/api/c).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace astray::bench {

class OnnxRuntime {
 public:
  // FailedPrecondition where ASTRAY_ONNX_RUNTIME is not set. `model`: a serialized onnx::ModelProto.
  static absl::StatusOr<std::unique_ptr<OnnxRuntime>> Create(const std::string& model);
  ~OnnxRuntime();

  // Where "input" [rows x inputs] is read and one of the model's outputs [rows x outputs] is written by each Run that
  // follows; both stay the caller's.
  absl::Status Bind(size_t rows, std::span<float> input, const char* output_name, std::span<float> output);
  absl::Status Run();

 private:
  struct Impl;
  explicit OnnxRuntime(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace astray::bench
