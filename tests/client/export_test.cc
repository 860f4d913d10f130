// `astray export`: what it writes passes ONNX's own checker and computes what the network computes.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <onnx/checker.h>
#include <onnx/shape_inference/implementation.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "client/onnx_model.h"
#include "engine/base/file.h"
#include "engine/nn/executor.h"
#include "tests/bench/onnx_runtime.h"
#include "tests/client/command_runner.h"
#include "tests/testing/onnx_evaluator.h"
#include "tests/testing/reference_network.h"
#include "tests/testing/temporary_folder.h"
#include "tests/testing/tiny_detector.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

v1::NetworkSpec Parse(const char* text) {
  v1::NetworkSpec spec;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &spec));
  return spec;
}

// Every kind of layer, activation and place of the code.
std::vector<v1::NetworkSpec> Specs() {
  return {testing::DenseSpec({38, 64, 16, 64, 38}, v1::RELU, v1::LINEAR),
          testing::DenseSpec({9, 12, 3, 12, 9}, v1::TANH, v1::SIGMOID),
          testing::DenseSpec({6, 4}, v1::LEAKY_RELU, v1::LEAKY_RELU),  // the code is the reconstruction
          Parse(R"(layers { name: "c1" convolution { input { height: 8 width: 8 channels: 1 } channels: 6
                     kernel { height: 3 width: 3 } padding { height: 1 width: 1 } activation: RELU } }
                   layers { name: "p1" max_pool { size { height: 2 width: 2 } } }
                   layers { name: "c2" convolution { channels: 5 kernel { height: 3 width: 2 }
                     stride { height: 1 width: 2 } padding { height: 1 width: 0 } activation: LEAKY_RELU } }
                   layers { name: "d" dense { outputs: 16 activation: RELU } }
                   layers { name: "t1" transposed_convolution { input { height: 4 width: 4 channels: 1 } channels: 3
                     kernel { height: 2 width: 2 } stride { height: 2 width: 2 } activation: SIGMOID } }
                   code_layer: 2)"),
          Parse(R"(layers { name: "c1" convolution { input { height: 1 width: 20 channels: 8 } channels: 12
                     kernel { width: 5 } padding { width: 2 } activation: TANH } }
                   layers { name: "p1" max_pool { size { width: 2 } } }
                   layers { name: "drop" dropout { rate: 0.5 } }
                   layers { name: "t1" transposed_convolution { channels: 8 kernel { width: 4 } stride { width: 2 }
                     padding { width: 1 } activation: LINEAR } } code_layer: 2)"),
          Parse(R"(layers { name: "a" dense { inputs: 30 outputs: 12 activation: RELU } }
                   layers { name: "b" dense { outputs: 5 activation: LINEAR } }
                   layers { name: "c" dense { outputs: 12 activation: RELU tied_to: "b" } }
                   layers { name: "d" dense { outputs: 30 activation: LINEAR tied_to: "a" } } code_layer: 1)"),
          Parse(R"(layers { name: "a" dense { inputs: 7 outputs: 20 activation: RELU } }
                   layers { name: "b" dense { outputs: 21 activation: ZERO_INFLATED_COUNTS } })")};
}

Network RandomNetwork(const v1::NetworkSpec& spec) {
  Network network = *Network::Create(spec);
  Random random(5);
  network.Initialise(random);
  for (size_t i = 0; i < network.layers(); ++i) {
    random.FillNormal(network.parameters().subspan(network.offsets(i).bias, network.shape(i).biases));
  }
  return network;
}

struct Forward {
  explicit Forward(const Network& network)
      : input(kRows * network.input_size()),
        reconstruction(kRows * network.reconstruction_size()),
        code(kRows * network.code_size()) {
    Random(2).FillNormal(input);
    const auto executor = *Executor::Create(network);
    std::vector<float> output(kRows * network.output_size());
    EXPECT_TRUE(executor->Forward(kRows, input, output, code).ok());
    EXPECT_TRUE(executor->Reconstruct(kRows, input, reconstruction).ok());
  }
  static constexpr size_t kRows = 3;
  std::vector<float> input, reconstruction, code;
};

template <typename Values>
void ExpectEqual(const std::vector<float>& ours, const Values& theirs, const std::string& what) {
  ASSERT_EQ(ours.size(), theirs.size()) << what;
  for (size_t i = 0; i < ours.size(); ++i) {
    ASSERT_NEAR(ours[i], theirs[i], 2e-5 * (1 + std::abs(ours[i]))) << what << " " << i;
  }
}

TEST(OnnxModel, PassesTheCheckerOfOnnx) {
  for (const v1::NetworkSpec& spec : Specs()) {
    onnx::ModelProto model = OnnxModel(RandomNetwork(spec));
    EXPECT_NO_THROW(onnx::checker::check_model(model)) << spec.ShortDebugString();
    onnx::ShapeInferenceOptions strict(true, 1, false);
    EXPECT_NO_THROW(onnx::shape_inference::InferShapes(model, onnx::OpSchemaRegistry::Instance(), strict))
        << spec.ShortDebugString();
  }
}

TEST(OnnxModel, ComputesWhatTheNetworkComputes) {
  for (const v1::NetworkSpec& spec : Specs()) {
    const Network network = RandomNetwork(spec);
    const Forward ours(network);
    const onnx::ModelProto model = OnnxModel(network);
    testing::OnnxEvaluator theirs(model.graph());
    theirs.Run({{Forward::kRows, static_cast<int64_t>(network.input_size())},
                std::vector<double>(ours.input.begin(), ours.input.end())});
    ExpectEqual(ours.reconstruction, theirs["reconstruction"].values, "reconstruction");
    ExpectEqual(ours.code, theirs["code"].values, "code");
  }
}

TEST(OnnxModel, ComputesTheSameInOnnxRuntime) {
  if (std::getenv("ASTRAY_ONNX_RUNTIME") == nullptr) GTEST_SKIP() << "ASTRAY_ONNX_RUNTIME names no libonnxruntime";
  for (const v1::NetworkSpec& spec : Specs()) {
    const Network network = RandomNetwork(spec);
    Forward ours(network);
    const auto theirs = bench::OnnxRuntime::Create(OnnxModel(network).SerializeAsString());
    ASSERT_TRUE(theirs.ok()) << theirs.status();
    for (const auto& [name, values] : {std::pair{"reconstruction", &ours.reconstruction}, {"code", &ours.code}}) {
      std::vector<float> output(values->size());
      ASSERT_TRUE((*theirs)->Bind(Forward::kRows, ours.input, name, output).ok());
      const absl::Status status = (*theirs)->Run();
      ASSERT_TRUE(status.ok()) << status;
      ExpectEqual(*values, output, name);
    }
  }
}

class ExportCommand : public ::testing::Test {
 protected:
  const TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
};

TEST_F(ExportCommand, WritesTheModelAndWhereItIsFrom) {
  TinyDetectorOptions options;
  options.features = {"flow", "a \"quoted\", name"};
  const auto artifact = WriteTinyArtifact(folder_, options);
  const std::string out = folder_ / "pump.onnx";
  std::ofstream(out) << "what was there before";
  const CommandOutput output = RunCommand({"export", "--model=" + artifact.string(), "--out=" + out});
  ASSERT_EQ(output.code, 0) << output.err;
  EXPECT_EQ(output.out, "");
  EXPECT_THAT(output.err, HasSubstr("pump.onnx"));
  onnx::ModelProto model;
  ASSERT_TRUE(model.ParseFromString(*ReadFile(out, 1 << 20)));
  EXPECT_NO_THROW(onnx::checker::check_model(model));
  std::map<std::string, std::string> metadata;
  for (const auto& entry : model.metadata_props()) metadata[entry.key()] = entry.value();
  EXPECT_EQ(metadata["model"], "pump");
  EXPECT_EQ(metadata["version"], "1");
  EXPECT_EQ(metadata["features"], R"(["flow","a \"quoted\", name"])");
  EXPECT_GT(std::stod(metadata["threshold"]), 0);
  EXPECT_EQ(metadata["artifact_sha256"].size(), 64);
  EXPECT_EQ(model.graph().input(0).name(), "input");
  EXPECT_EQ(model.graph().input(0).type().tensor_type().shape().dim(1).dim_value(), 2);
}

TEST_F(ExportCommand, RefusesWhatIsNoArtifactAndLeavesNoFile) {
  const std::string out = folder_ / "pump.onnx";
  EXPECT_EQ(RunCommand({"export", "--model=" + (folder_ / "none").string(), "--out=" + out}).code, 65);
  EXPECT_FALSE(std::filesystem::exists(out));
  const auto artifact = WriteTinyArtifact(folder_);
  EXPECT_EQ(RunCommand({"export", "--model=" + artifact.string()}).code, 64);
  EXPECT_EQ(RunCommand({"export", "--model=" + artifact.string(), "--format=h5", "--out=" + out}).code, 64);
  const CommandOutput nowhere =
      RunCommand({"export", "--model=" + artifact.string(), "--out=" + (folder_ / "no" / "folder.onnx").string()});
  EXPECT_EQ(nowhere.code, 65);
  EXPECT_THAT(nowhere.err, HasSubstr("folder.onnx"));
}

}  // namespace
}  // namespace astray
