#include "engine/nn/aligned_buffer.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace astray {

AlignedBuffer::AlignedBuffer(size_t size) : size_(size) {
  // aligned_alloc wants a multiple of the alignment.
  const size_t bytes = (size * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
  if (bytes == 0) return;
  void* memory = std::aligned_alloc(kAlignment, bytes);
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, 0, bytes);
  data_.reset(static_cast<float*>(memory));
}

void AlignedBuffer::Free::operator()(float* p) const { std::free(p); }

}  // namespace astray
