// A network as ONNX (onnx.ai), for other programs to run: opset 13, float32.
//
// Input "input" [batch x input_size] in scaled units, what the pipeline makes of a row; outputs "reconstruction"
// [batch x reconstruction_size] in the same units and "code" [batch x code_size]. Dropout, which does nothing in use,
// is left out; of counts (ZERO_INFLATED_COUNTS) only the reconstruction is there.
#pragma once

#include <onnx/onnx_pb.h>

#include "engine/nn/network.h"

namespace astray {

inline constexpr int kOnnxOpset = 13;

onnx::ModelProto OnnxModel(const Network& network);

}  // namespace astray
