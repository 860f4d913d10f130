#include "engine/nn/onednn.h"

#include <omp.h>

#include <algorithm>
#include <dnnl.hpp>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/nn/activation.h"
#include "engine/nn/aligned_buffer.h"

namespace astray::onednn {
namespace {

using dnnl::algorithm;
using dnnl::memory;
using dnnl::prop_kind;
using Tag = dnnl::memory::format_tag;

memory::desc Plain(std::initializer_list<size_t> dims, Tag tag) {
  return memory::desc(memory::dims(dims.begin(), dims.end()), memory::data_type::f32, tag);
}

size_t FloatsOf(const memory::desc& desc) { return (desc.get_size() + sizeof(float) - 1) / sizeof(float); }

dnnl::engine& CpuEngine() {
  static auto* engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

// Runs `body` and turns oneDNN's exceptions into a status.
template <typename Body>
absl::Status Guard(const std::string& layer, Body body) {
  try {
    body();
    return absl::OkStatus();
  } catch (const dnnl::error& error) {
    return absl::InternalError(absl::StrCat("oneDNN: layer '", layer, "': ", error.what()));
  }
}

dnnl::primitive_attr UserScratchpad() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

// The description of a primitive from the arguments of its operation. oneDNN 2 describes the operation first; oneDNN 3
// goes straight to the primitive.
#if DNNL_VERSION_MAJOR >= 3
template <typename Primitive, typename... Arguments>
typename Primitive::primitive_desc Describe(const dnnl::primitive_attr& attr, const Arguments&... arguments) {
  return {CpuEngine(), arguments..., attr};
}
template <typename Primitive, typename Forward, typename... Arguments>
typename Primitive::primitive_desc DescribeBackward(const Forward& forward, const Arguments&... arguments) {
  return {CpuEngine(), arguments..., forward, UserScratchpad()};
}
void AppendActivation(dnnl::post_ops& ops, algorithm kind, float alpha = 0) { ops.append_eltwise(kind, alpha, 0.0f); }
#else
template <typename Primitive, typename... Arguments>
typename Primitive::primitive_desc Describe(const dnnl::primitive_attr& attr, const Arguments&... arguments) {
  return {typename Primitive::desc(arguments...), attr, CpuEngine()};
}
template <typename Primitive, typename Forward, typename... Arguments>
typename Primitive::primitive_desc DescribeBackward(const Forward& forward, const Arguments&... arguments) {
  return {typename Primitive::desc(arguments...), UserScratchpad(), CpuEngine(), forward};
}
void AppendActivation(dnnl::post_ops& ops, algorithm kind, float alpha = 0) {
  ops.append_eltwise(1.0f, kind, alpha, 0.0f);
}
#endif

// Height, width of a kernel and how it moves.
struct Window {
  memory::dims size, stride, padding;
};

dnnl::pooling_forward::primitive_desc DescribePooling(prop_kind kind, const memory::desc& x, const memory::desc& y,
                                                      const Window& window) {
#if DNNL_VERSION_MAJOR >= 3
  return Describe<dnnl::pooling_forward>(UserScratchpad(), kind, algorithm::pooling_max, x, y, window.stride,
                                         window.size, memory::dims{0, 0}, window.padding, window.padding);
#else
  return Describe<dnnl::pooling_forward>(UserScratchpad(), kind, algorithm::pooling_max, x, y, window.stride,
                                         window.size, window.padding, window.padding);
#endif
}

dnnl::pooling_backward::primitive_desc DescribePoolingBackward(const dnnl::pooling_forward::primitive_desc& forward,
                                                               const memory::desc& dx, const memory::desc& dy,
                                                               const Window& window) {
#if DNNL_VERSION_MAJOR >= 3
  return DescribeBackward<dnnl::pooling_backward>(forward, algorithm::pooling_max, dx, dy, window.stride, window.size,
                                                  memory::dims{0, 0}, window.padding, window.padding);
#else
  return DescribeBackward<dnnl::pooling_backward>(forward, algorithm::pooling_max, dx, dy, window.stride, window.size,
                                                  window.padding, window.padding);
#endif
}

// A primitive with the memory objects it runs on; Bind and Run allocate nothing.
class Execution {
 public:
  template <typename PrimitiveDesc>
  void Init(const PrimitiveDesc& desc, dnnl::primitive primitive) {
    primitive_ = std::move(primitive);
    const memory::desc scratchpad = desc.scratchpad_desc();
    scratchpad_ = AlignedBuffer(FloatsOf(scratchpad));
    arguments_.insert_or_assign(DNNL_ARG_SCRATCHPAD, memory(scratchpad, CpuEngine(), scratchpad_.data()));
  }
  void Declare(int argument, const memory::desc& desc) {
    arguments_.insert_or_assign(argument, memory(desc, CpuEngine(), nullptr));
  }
  void Bind(int argument, const float* data) { arguments_.at(argument).set_data_handle(const_cast<float*>(data)); }
  void Run() {
    primitive_.execute(stream_, arguments_);
    stream_.wait();
  }

 private:
  dnnl::primitive primitive_;
  dnnl::stream stream_{CpuEngine()};
  AlignedBuffer scratchpad_;
  std::unordered_map<int, memory> arguments_;
};

// `plain` in another order.
void Reorder(const memory::desc& from, const float* plain, const memory::desc& to, float* packed) {
  memory source(from, CpuEngine(), const_cast<float*>(plain)), target(to, CpuEngine(), packed);
  dnnl::stream stream(CpuEngine());
  dnnl::reorder(source, target).execute(stream, source, target);
  stream.wait();
}

// Weights that change at every step, between the order of network.proto and the one that a kernel asked for.
class Packing {
 public:
  void Init(const memory::desc& plain, const memory::desc& packed) {
    if (plain == packed) return;
    buffer_ = AlignedBuffer(FloatsOf(packed));
    InitReorder(plain, packed, pack_);
    pack_.Bind(DNNL_ARG_TO, buffer_.data());
    InitReorder(packed, plain, unpack_);
    unpack_.Bind(DNNL_ARG_FROM, buffer_.data());
  }
  // `plain`, where and as the kernel wants it.
  const float* Pack(const float* plain) {
    if (buffer_.size() == 0) return plain;
    pack_.Bind(DNNL_ARG_FROM, plain);
    pack_.Run();
    return buffer_.data();
  }
  // Where the kernel writes what Unpack then brings to `plain`.
  float* Target(float* plain) { return buffer_.size() == 0 ? plain : buffer_.data(); }
  void Unpack(float* plain) {
    if (buffer_.size() == 0) return;
    unpack_.Bind(DNNL_ARG_TO, plain);
    unpack_.Run();
  }

 private:
  static void InitReorder(const memory::desc& from, const memory::desc& to, Execution& execution) {
    const dnnl::reorder::primitive_desc desc(CpuEngine(), from, CpuEngine(), to, UserScratchpad());
    execution.Init(desc, dnnl::reorder(desc));
    execution.Declare(DNNL_ARG_FROM, from);
    execution.Declare(DNNL_ARG_TO, to);
  }

  Execution pack_, unpack_;
  AlignedBuffer buffer_;  // empty where the kernel takes the plain order
};

dnnl::primitive_attr WithActivation(v1::Activation activation) {
  dnnl::post_ops ops;
  switch (activation) {
    case v1::RELU:
      AppendActivation(ops, algorithm::eltwise_relu);
      break;
    case v1::LEAKY_RELU:
      AppendActivation(ops, algorithm::eltwise_relu, kLeakyReluSlope);
      break;
    case v1::TANH:
      AppendActivation(ops, algorithm::eltwise_tanh);
      break;
    case v1::SIGMOID:
      AppendActivation(ops, algorithm::eltwise_logistic);
      break;
    default:
      break;
  }
  dnnl::primitive_attr attr = UserScratchpad();
  attr.set_post_ops(ops);
  return attr;
}

template <typename Kernel>
Window WindowOf(const Kernel& layer) {
  return {{layer.kernel().height(), layer.kernel().width()},
          {layer.stride().height(), layer.stride().width()},
          {layer.padding().height(), layer.padding().width()}};
}

Window WindowOf(const v1::MaxPoolLayer& pool) {
  const memory::dims size = {pool.size().height(), pool.size().width()};
  return {size, size, {0, 0}};
}

// Tensors as images, channels last in memory though dimensions name them first.
memory::desc ImageOf(size_t rows, const TensorShape& shape) {
  return Plain({rows, shape.channels, shape.height, shape.width}, Tag::nhwc);
}

memory::desc WeightsOf(const LayerShape& shape, const Window& window, Tag tag) {
  return Plain({shape.output.channels, shape.input.channels, static_cast<size_t>(window.size[0]),
                static_cast<size_t>(window.size[1])},
               tag);
}

}  // namespace

void UseCallingThreadOnly() {
  thread_local const bool done = [] {
    omp_set_num_threads(1);
    return true;
  }();
  (void)done;
}

bool MayUseTiles() {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto tiles = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_amx);
  return (isa & tiles) == tiles;
}

struct PackedLayer::Impl {
  std::string name;
  Execution execution;
  AlignedBuffer weights, bias;

  // Primitive: dnnl's convolution_forward or deconvolution_forward.
  template <typename Primitive>
  void InitKernel(const memory::desc& x, const memory::desc& y, const memory::desc& plain_weights,
                  const memory::desc& any_weights, const Window& window, v1::Activation activation,
                  const float* plain_values, std::span<const float> bias_values, algorithm kind) {
    const memory::desc b = Plain({bias_values.size()}, Tag::x);
    const auto desc = Describe<Primitive>(WithActivation(activation), prop_kind::forward_inference, kind, x,
                                          any_weights, b, y, window.stride, window.padding, window.padding);
    weights = AlignedBuffer(FloatsOf(desc.weights_desc()));
    Reorder(plain_weights, plain_values, desc.weights_desc(), weights.data());
    bias = AlignedBuffer(bias_values.size());
    std::ranges::copy(bias_values, bias.data());
    execution.Init(desc, Primitive(desc));
    execution.Declare(DNNL_ARG_SRC, x);
    execution.Declare(DNNL_ARG_DST, y);
    execution.Declare(DNNL_ARG_WEIGHTS, desc.weights_desc());
    execution.Declare(DNNL_ARG_BIAS, b);
    execution.Bind(DNNL_ARG_WEIGHTS, weights.data());
    execution.Bind(DNNL_ARG_BIAS, bias.data());
  }

  void InitMaxPool(const memory::desc& x, const memory::desc& y, const Window& window) {
    const auto desc = DescribePooling(prop_kind::forward_inference, x, y, window);
    execution.Init(desc, dnnl::pooling_forward(desc));
    execution.Declare(DNNL_ARG_SRC, x);
    execution.Declare(DNNL_ARG_DST, y);
  }
};

PackedLayer::PackedLayer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PackedLayer::~PackedLayer() = default;

absl::StatusOr<std::unique_ptr<PackedLayer>> PackedLayer::Create(const Network& network, size_t index, size_t rows) {
  UseCallingThreadOnly();
  const v1::Layer& layer = network.spec().layers(static_cast<int>(index));
  const LayerShape& shape = network.shape(index);
  const float* weights = network.parameters().data() + network.offsets(index).weights;
  const std::span<const float> bias = network.parameters().subspan(network.offsets(index).bias, shape.biases);
  auto impl = std::make_unique<Impl>();
  impl->name = layer.name();
  RETURN_IF_ERROR(Guard(layer.name(), [&] {
    const memory::desc x = ImageOf(rows, shape.input), y = ImageOf(rows, shape.output);
    if (layer.has_max_pool()) return impl->InitMaxPool(x, y, WindowOf(layer.max_pool()));
    if (layer.has_convolution()) {
      const Window window = WindowOf(layer.convolution());
      return impl->InitKernel<dnnl::convolution_forward>(x, y, WeightsOf(shape, window, Tag::oihw),
                                                         WeightsOf(shape, window, Tag::any), window, shape.activation,
                                                         weights, bias, algorithm::convolution_direct);
    }
    const Window window = WindowOf(layer.transposed_convolution());
    impl->InitKernel<dnnl::deconvolution_forward>(x, y, WeightsOf(shape, window, Tag::iohw),
                                                  WeightsOf(shape, window, Tag::any), window, shape.activation, weights,
                                                  bias, algorithm::deconvolution_direct);
  }));
  return std::unique_ptr<PackedLayer>(new PackedLayer(std::move(impl)));
}

absl::Status PackedLayer::Run(const float* x, float* y) {
  return Guard(impl_->name, [&] {
    impl_->execution.Bind(DNNL_ARG_SRC, x);
    impl_->execution.Bind(DNNL_ARG_DST, y);
    impl_->execution.Run();
  });
}

absl::Status Multiply(size_t m, size_t n, size_t k, const Operand& a, const Operand& b, float* c, size_t c_stride,
                      bool add) {
  UseCallingThreadOnly();
  const auto size = [](size_t value) { return static_cast<dnnl_dim_t>(value); };
  const dnnl_status_t status =
      dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', size(m), size(n), size(k), 1, a.data,
                 size(a.stride), b.data, size(b.stride), add ? 1 : 0, c, size(c_stride));
  if (status == dnnl_success) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("oneDNN: product of ", m, " x ", k, " and ", k, " x ", n, ": status ", static_cast<int>(status)));
}

struct TrainableLayer::Impl {
  std::string name;
  bool has_parameters = true;
  Execution forward, backward_data, backward_weights;
  Packing forward_weights, backward_data_weights, weight_gradient;
  AlignedBuffer workspace;  // which value of a patch was the largest

  template <typename Forward, typename BackwardData, typename BackwardWeights>
  void InitExecutions(const Forward& f, const dnnl::primitive& forward_primitive, const BackwardData& d,
                      const dnnl::primitive& data_primitive, const BackwardWeights& w,
                      const dnnl::primitive& weights_primitive, const memory::desc& x, const memory::desc& weights,
                      const memory::desc& y) {
    const memory::desc b = Plain({static_cast<size_t>(weights.dims()[0])}, Tag::x);
    forward.Init(f, forward_primitive);
    forward.Declare(DNNL_ARG_SRC, x);
    forward.Declare(DNNL_ARG_WEIGHTS, f.weights_desc());
    forward.Declare(DNNL_ARG_BIAS, b);
    forward.Declare(DNNL_ARG_DST, y);
    forward_weights.Init(weights, f.weights_desc());

    backward_data.Init(d, data_primitive);
    backward_data.Declare(DNNL_ARG_DIFF_DST, y);
    backward_data.Declare(DNNL_ARG_WEIGHTS, d.weights_desc());
    backward_data.Declare(DNNL_ARG_DIFF_SRC, x);
    backward_data_weights.Init(weights, d.weights_desc());

    backward_weights.Init(w, weights_primitive);
    backward_weights.Declare(DNNL_ARG_DIFF_DST, y);
    backward_weights.Declare(DNNL_ARG_SRC, x);
    backward_weights.Declare(DNNL_ARG_DIFF_WEIGHTS, w.diff_weights_desc());
    backward_weights.Declare(DNNL_ARG_DIFF_BIAS, b);
    weight_gradient.Init(weights, w.diff_weights_desc());
  }

  // The three primitives of a convolution, or of a deconvolution.
  template <typename Forward, typename BackwardData, typename BackwardWeights>
  void InitKernel(const LayerShape& shape, size_t rows, const Window& window, Tag order, algorithm kind) {
    const memory::desc x = ImageOf(rows, shape.input), y = ImageOf(rows, shape.output);
    const memory::desc any = WeightsOf(shape, window, Tag::any), b = Plain({shape.biases}, Tag::x);
    const auto f = Describe<Forward>(UserScratchpad(), prop_kind::forward_training, kind, x, any, b, y, window.stride,
                                     window.padding, window.padding);
    const auto d = DescribeBackward<BackwardData>(f, kind, x, any, y, window.stride, window.padding, window.padding);
    const auto g =
        DescribeBackward<BackwardWeights>(f, kind, x, any, b, y, window.stride, window.padding, window.padding);
    InitExecutions(f, Forward(f), d, BackwardData(d), g, BackwardWeights(g), x, WeightsOf(shape, window, order), y);
  }

  void InitMaxPool(const LayerShape& shape, size_t rows, const Window& window) {
    has_parameters = false;
    const memory::desc x = ImageOf(rows, shape.input), y = ImageOf(rows, shape.output);
    const auto f = DescribePooling(prop_kind::forward_training, x, y, window);
    const auto b = DescribePoolingBackward(f, x, y, window);
    workspace = AlignedBuffer(FloatsOf(f.workspace_desc()));
    forward.Init(f, dnnl::pooling_forward(f));
    forward.Declare(DNNL_ARG_SRC, x);
    forward.Declare(DNNL_ARG_DST, y);
    forward.Declare(DNNL_ARG_WORKSPACE, f.workspace_desc());
    forward.Bind(DNNL_ARG_WORKSPACE, workspace.data());
    backward_data.Init(b, dnnl::pooling_backward(b));
    backward_data.Declare(DNNL_ARG_DIFF_DST, y);
    backward_data.Declare(DNNL_ARG_DIFF_SRC, x);
    backward_data.Declare(DNNL_ARG_WORKSPACE, f.workspace_desc());
    backward_data.Bind(DNNL_ARG_WORKSPACE, workspace.data());
  }
};

TrainableLayer::TrainableLayer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TrainableLayer::~TrainableLayer() = default;

absl::StatusOr<std::unique_ptr<TrainableLayer>> TrainableLayer::Create(const Network& network, size_t index,
                                                                       size_t rows) {
  UseCallingThreadOnly();
  const v1::Layer& layer = network.spec().layers(static_cast<int>(index));
  const LayerShape& shape = network.shape(index);
  auto impl = std::make_unique<Impl>();
  impl->name = layer.name();
  RETURN_IF_ERROR(Guard(layer.name(), [&] {
    if (layer.has_max_pool()) return impl->InitMaxPool(shape, rows, WindowOf(layer.max_pool()));
    if (layer.has_convolution()) {
      return impl
          ->InitKernel<dnnl::convolution_forward, dnnl::convolution_backward_data, dnnl::convolution_backward_weights>(
              shape, rows, WindowOf(layer.convolution()), Tag::oihw, algorithm::convolution_direct);
    }
    return impl->InitKernel<dnnl::deconvolution_forward, dnnl::deconvolution_backward_data,
                            dnnl::deconvolution_backward_weights>(shape, rows, WindowOf(layer.transposed_convolution()),
                                                                  Tag::iohw, algorithm::deconvolution_direct);
  }));
  return std::unique_ptr<TrainableLayer>(new TrainableLayer(std::move(impl)));
}

absl::Status TrainableLayer::Forward(const float* x, const float* weights, const float* bias, float* y) {
  UseCallingThreadOnly();
  return Guard(impl_->name, [&] {
    impl_->forward.Bind(DNNL_ARG_SRC, x);
    if (impl_->has_parameters) {
      impl_->forward.Bind(DNNL_ARG_WEIGHTS, impl_->forward_weights.Pack(weights));
      impl_->forward.Bind(DNNL_ARG_BIAS, bias);
    }
    impl_->forward.Bind(DNNL_ARG_DST, y);
    impl_->forward.Run();
  });
}

absl::Status TrainableLayer::BackwardData(const float* dy, const float* weights, float* dx) {
  UseCallingThreadOnly();
  return Guard(impl_->name, [&] {
    impl_->backward_data.Bind(DNNL_ARG_DIFF_DST, dy);
    if (impl_->has_parameters) {
      impl_->backward_data.Bind(DNNL_ARG_WEIGHTS, impl_->backward_data_weights.Pack(weights));
    }
    impl_->backward_data.Bind(DNNL_ARG_DIFF_SRC, dx);
    impl_->backward_data.Run();
  });
}

absl::Status TrainableLayer::BackwardWeights(const float* dy, const float* x, float* dweights, float* dbias) {
  UseCallingThreadOnly();
  return Guard(impl_->name, [&] {
    impl_->backward_weights.Bind(DNNL_ARG_DIFF_DST, dy);
    impl_->backward_weights.Bind(DNNL_ARG_SRC, x);
    impl_->backward_weights.Bind(DNNL_ARG_DIFF_WEIGHTS, impl_->weight_gradient.Target(dweights));
    impl_->backward_weights.Bind(DNNL_ARG_DIFF_BIAS, dbias);
    impl_->backward_weights.Run();
    impl_->weight_gradient.Unpack(dweights);
  });
}

}  // namespace astray::onednn
