#include "engine/nn/onednn.h"

#include <omp.h>

#include <dnnl.hpp>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/nn/aligned_buffer.h"

namespace astray::onednn {
namespace {

using dnnl::algorithm;
using dnnl::memory;
using Tag = dnnl::memory::format_tag;

memory::desc Plain(std::initializer_list<size_t> dims, Tag tag) {
  return memory::desc(memory::dims(dims.begin(), dims.end()), memory::data_type::f32, tag);
}

dnnl::engine& CpuEngine() {
  static auto* engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

// Runs `body` and turns oneDNN's exceptions into a status.
template <typename Body>
absl::Status Guard(DenseShape shape, Body body) {
  try {
    body();
    return absl::OkStatus();
  } catch (const dnnl::error& error) {
    return absl::InternalError(absl::StrCat("oneDNN: dense layer of ", shape.rows, " rows, ", shape.inputs, " inputs, ",
                                            shape.outputs, " outputs: ", error.what()));
  }
}

dnnl::primitive_attr UserScratchpad() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

// oneDNN 2 describes an operation first; oneDNN 3 goes straight to the primitive descriptor.
#if DNNL_VERSION_MAJOR >= 3
using dnnl::convolution_forward;
using dnnl::inner_product_backward_data;
using dnnl::inner_product_backward_weights;
using dnnl::inner_product_forward;

convolution_forward::primitive_desc ConvolutionForward(const memory::desc& x, const memory::desc& w,
                                                       const memory::desc& b, const memory::desc& y,
                                                       const dnnl::primitive_attr& attr) {
  return {CpuEngine(),
          dnnl::prop_kind::forward_inference,
          algorithm::convolution_direct,
          x,
          w,
          b,
          y,
          {1, 1},
          {0, 0},
          {0, 0},
          attr};
}

void AppendActivation(dnnl::post_ops& ops, algorithm kind, float alpha = 0) { ops.append_eltwise(kind, alpha, 0.0f); }

inner_product_forward::primitive_desc InnerProductForward(const memory::desc& x, const memory::desc& w,
                                                          const memory::desc& b, const memory::desc& y) {
  return {CpuEngine(), dnnl::prop_kind::forward_training, x, w, b, y, UserScratchpad()};
}

inner_product_backward_data::primitive_desc InnerProductBackwardData(
    const memory::desc& dx, const memory::desc& w, const memory::desc& dy,
    const inner_product_forward::primitive_desc& forward) {
  return {CpuEngine(), dx, w, dy, forward, UserScratchpad()};
}

inner_product_backward_weights::primitive_desc InnerProductBackwardWeights(
    const memory::desc& x, const memory::desc& dw, const memory::desc& db, const memory::desc& dy,
    const inner_product_forward::primitive_desc& forward) {
  return {CpuEngine(), x, dw, db, dy, forward, UserScratchpad()};
}
#else
using dnnl::convolution_forward;
using dnnl::inner_product_backward_data;
using dnnl::inner_product_backward_weights;
using dnnl::inner_product_forward;

convolution_forward::primitive_desc ConvolutionForward(const memory::desc& x, const memory::desc& w,
                                                       const memory::desc& b, const memory::desc& y,
                                                       const dnnl::primitive_attr& attr) {
  const convolution_forward::desc operation(dnnl::prop_kind::forward_inference, algorithm::convolution_direct, x, w, b,
                                            y, {1, 1}, {0, 0}, {0, 0});
  return {operation, attr, CpuEngine()};
}

void AppendActivation(dnnl::post_ops& ops, algorithm kind, float alpha = 0) {
  ops.append_eltwise(1.0f, kind, alpha, 0.0f);
}

inner_product_forward::primitive_desc InnerProductForward(const memory::desc& x, const memory::desc& w,
                                                          const memory::desc& b, const memory::desc& y) {
  return {inner_product_forward::desc(dnnl::prop_kind::forward_training, x, w, b, y), UserScratchpad(), CpuEngine()};
}

inner_product_backward_data::primitive_desc InnerProductBackwardData(
    const memory::desc& dx, const memory::desc& w, const memory::desc& dy,
    const inner_product_forward::primitive_desc& forward) {
  return {inner_product_backward_data::desc(dx, w, dy), UserScratchpad(), CpuEngine(), forward};
}

inner_product_backward_weights::primitive_desc InnerProductBackwardWeights(
    const memory::desc& x, const memory::desc& dw, const memory::desc& db, const memory::desc& dy,
    const inner_product_forward::primitive_desc& forward) {
  return {inner_product_backward_weights::desc(x, dw, db, dy), UserScratchpad(), CpuEngine(), forward};
}
#endif

// A primitive with the memory objects it runs on; Bind and Run allocate nothing.
class Execution {
 public:
  template <typename PrimitiveDesc>
  void Init(const PrimitiveDesc& desc, dnnl::primitive primitive) {
    primitive_ = std::move(primitive);
    const memory::desc scratchpad = desc.scratchpad_desc();
    scratchpad_ = AlignedBuffer((scratchpad.get_size() + sizeof(float) - 1) / sizeof(float));
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

}  // namespace

void UseCallingThreadOnly() {
  thread_local const bool done = [] {
    omp_set_num_threads(1);
    return true;
  }();
  (void)done;
}

struct PackedDense::Impl {
  DenseShape shape;
  Execution execution;
  AlignedBuffer weights, bias;
};

PackedDense::PackedDense(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PackedDense::~PackedDense() = default;

// A dense layer as a 1x1 convolution over `rows` pixels: oneDNN has blocked kernels for that one, and only a plain
// gemm for inner products.
absl::StatusOr<std::unique_ptr<PackedDense>> PackedDense::Create(DenseShape shape, v1::Activation activation,
                                                                 const float* weights, const float* bias) {
  UseCallingThreadOnly();
  auto impl = std::make_unique<Impl>();
  impl->shape = shape;
  const absl::Status status = Guard(shape, [&] {
    const auto& [rows, inputs, outputs] = shape;
    const memory::desc x = Plain({1, inputs, 1, rows}, Tag::nhwc), y = Plain({1, outputs, 1, rows}, Tag::nhwc);
    const memory::desc b = Plain({outputs}, Tag::x), plain_w = Plain({outputs, inputs, 1, 1}, Tag::oihw);
    dnnl::primitive_attr attr = UserScratchpad();
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
    attr.set_post_ops(ops);
    const auto desc = ConvolutionForward(x, Plain({outputs, inputs, 1, 1}, Tag::any), b, y, attr);

    impl->weights = AlignedBuffer((desc.weights_desc().get_size() + sizeof(float) - 1) / sizeof(float));
    impl->bias = AlignedBuffer(outputs);
    std::copy(bias, bias + outputs, impl->bias.data());
    memory from(plain_w, CpuEngine(), const_cast<float*>(weights));
    memory to(desc.weights_desc(), CpuEngine(), impl->weights.data());
    dnnl::stream stream(CpuEngine());
    dnnl::reorder(from, to).execute(stream, from, to);
    stream.wait();

    impl->execution.Init(desc, convolution_forward(desc));
    impl->execution.Declare(DNNL_ARG_SRC, x);
    impl->execution.Declare(DNNL_ARG_DST, y);
    impl->execution.Declare(DNNL_ARG_WEIGHTS, desc.weights_desc());
    impl->execution.Declare(DNNL_ARG_BIAS, b);
    impl->execution.Bind(DNNL_ARG_WEIGHTS, impl->weights.data());
    impl->execution.Bind(DNNL_ARG_BIAS, impl->bias.data());
  });
  if (!status.ok()) return status;
  return std::unique_ptr<PackedDense>(new PackedDense(std::move(impl)));
}

absl::Status PackedDense::Run(const float* x, float* y) {
  return Guard(impl_->shape, [&] {
    impl_->execution.Bind(DNNL_ARG_SRC, x);
    impl_->execution.Bind(DNNL_ARG_DST, y);
    impl_->execution.Run();
  });
}

struct TrainableDense::Impl {
  DenseShape shape;
  Execution forward, backward_data, backward_weights;
};

TrainableDense::TrainableDense(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TrainableDense::~TrainableDense() = default;

absl::StatusOr<std::unique_ptr<TrainableDense>> TrainableDense::Create(DenseShape shape) {
  UseCallingThreadOnly();
  auto impl = std::make_unique<Impl>();
  impl->shape = shape;
  const absl::Status status = Guard(shape, [&] {
    const auto& [rows, inputs, outputs] = shape;
    const memory::desc x = Plain({rows, inputs}, Tag::nc), y = Plain({rows, outputs}, Tag::nc);
    const memory::desc w = Plain({outputs, inputs}, Tag::oi), b = Plain({outputs}, Tag::x);

    const auto forward = InnerProductForward(x, w, b, y);
    impl->forward.Init(forward, inner_product_forward(forward));
    impl->forward.Declare(DNNL_ARG_SRC, x);
    impl->forward.Declare(DNNL_ARG_WEIGHTS, w);
    impl->forward.Declare(DNNL_ARG_BIAS, b);
    impl->forward.Declare(DNNL_ARG_DST, y);

    const auto data = InnerProductBackwardData(x, w, y, forward);
    impl->backward_data.Init(data, inner_product_backward_data(data));
    impl->backward_data.Declare(DNNL_ARG_DIFF_DST, y);
    impl->backward_data.Declare(DNNL_ARG_WEIGHTS, w);
    impl->backward_data.Declare(DNNL_ARG_DIFF_SRC, x);

    const auto gradients = InnerProductBackwardWeights(x, w, b, y, forward);
    impl->backward_weights.Init(gradients, inner_product_backward_weights(gradients));
    impl->backward_weights.Declare(DNNL_ARG_DIFF_DST, y);
    impl->backward_weights.Declare(DNNL_ARG_SRC, x);
    impl->backward_weights.Declare(DNNL_ARG_DIFF_WEIGHTS, w);
    impl->backward_weights.Declare(DNNL_ARG_DIFF_BIAS, b);
  });
  if (!status.ok()) return status;
  return std::unique_ptr<TrainableDense>(new TrainableDense(std::move(impl)));
}

absl::Status TrainableDense::Forward(const float* x, const float* weights, const float* bias, float* y) {
  return Guard(impl_->shape, [&] {
    impl_->forward.Bind(DNNL_ARG_SRC, x);
    impl_->forward.Bind(DNNL_ARG_WEIGHTS, weights);
    impl_->forward.Bind(DNNL_ARG_BIAS, bias);
    impl_->forward.Bind(DNNL_ARG_DST, y);
    impl_->forward.Run();
  });
}

absl::Status TrainableDense::BackwardData(const float* dy, const float* weights, float* dx) {
  return Guard(impl_->shape, [&] {
    impl_->backward_data.Bind(DNNL_ARG_DIFF_DST, dy);
    impl_->backward_data.Bind(DNNL_ARG_WEIGHTS, weights);
    impl_->backward_data.Bind(DNNL_ARG_DIFF_SRC, dx);
    impl_->backward_data.Run();
  });
}

absl::Status TrainableDense::BackwardWeights(const float* dy, const float* x, float* dweights, float* dbias) {
  return Guard(impl_->shape, [&] {
    impl_->backward_weights.Bind(DNNL_ARG_DIFF_DST, dy);
    impl_->backward_weights.Bind(DNNL_ARG_SRC, x);
    impl_->backward_weights.Bind(DNNL_ARG_DIFF_WEIGHTS, dweights);
    impl_->backward_weights.Bind(DNNL_ARG_DIFF_BIAS, dbias);
    impl_->backward_weights.Run();
  });
}

}  // namespace astray::onednn
