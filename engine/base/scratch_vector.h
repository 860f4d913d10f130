// An array in memory, or in a file where its scratch (scratch_file.h) has no memory left for it. Whoever reads it sees
// contiguous elements either way.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <initializer_list>
#include <iterator>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/scratch_file.h"
#include "engine/base/status_macros.h"

namespace astray {

// Only Reserve can fail: where a scratch is limited, it comes before what adds elements. Without one the other
// functions reserve as std::vector does. Pointers and iterators are those of a vector.
template <typename T>
class ScratchVector {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  using value_type = T;
  using iterator = T*;
  using const_iterator = const T*;

  ScratchVector() = default;
  explicit ScratchVector(Scratch scratch) : scratch_(std::move(scratch)) {}
  ScratchVector(const std::vector<T>& values) { insert(end(), values.begin(), values.end()); }     // NOLINT: a vector
  ScratchVector(std::initializer_list<T> values) { insert(end(), values.begin(), values.end()); }  // is one in memory
  // A copy is in memory.
  ScratchVector(const ScratchVector& other) { insert(end(), other.begin(), other.end()); }
  ScratchVector(ScratchVector&& other) noexcept { Swap(other); }
  ScratchVector& operator=(ScratchVector other) noexcept {
    Swap(other);
    return *this;
  }
  ~ScratchVector() {
    if (!in_file()) FreeMemory();
  }

  // Room for `capacity` elements in all. Errors are ScratchFile::Grow's.
  absl::Status Reserve(size_t capacity) {
    if (capacity <= capacity_) return absl::OkStatus();
    if (!in_file()) {
      // Twice the room while the limit allows that, else as much as is asked for.
      for (const size_t room : {std::max(capacity, 2 * capacity_), capacity}) {
        if (!scratch_.Take((room - capacity_) * sizeof(T))) continue;
        T* const data = static_cast<T*>(std::realloc(data_, room * sizeof(T)));
        if (data == nullptr) {
          scratch_.Return((room - capacity_) * sizeof(T));
          return absl::ResourceExhaustedError("out of memory");
        }
        data_ = data;
        capacity_ = room;
        return absl::OkStatus();
      }
    }
    // A step at a time: what is not needed in the end is a step at most.
    const size_t bytes = (capacity * sizeof(T) + kFileStep - 1) / kFileStep * kFileStep;
    const bool moves = !in_file();
    RETURN_IF_ERROR(file_.Grow(scratch_, bytes));
    T* const data = static_cast<T*>(file_.data());
    if (moves) {
      std::copy_n(data_, size_, data);
      FreeMemory();
    }
    data_ = data;
    capacity_ = bytes / sizeof(T);
    return absl::OkStatus();
  }
  // Reserve as many more, at least: for appending in pieces.
  absl::Status ReserveMore(size_t count) { return Reserve(size_ + count); }

  void reserve(size_t capacity) { MustReserve(capacity); }
  void resize(size_t size, T value = T()) {
    MustReserve(size);
    if (size > size_) std::fill_n(data_ + size_, size - size_, value);
    size_ = size;
  }
  // `count` elements more that the caller fills.
  std::span<T> Extend(size_t count) {
    MustReserve(size_ + count);
    size_ += count;
    return {data_ + size_ - count, count};
  }
  void push_back(T value) {
    MustReserve(size_ + 1);
    data_[size_++] = value;
  }
  // At the end only; not of its own elements.
  template <std::input_iterator Iterator>
  void insert(const_iterator /*end*/, Iterator first, Iterator last) {
    const auto count = static_cast<size_t>(std::distance(first, last));
    MustReserve(size_ + count);
    std::copy(first, last, data_ + size_);
    size_ += count;
  }
  template <std::input_iterator Iterator>
  void assign(Iterator first, Iterator last) {
    size_ = 0;
    insert(end(), first, last);
  }
  void assign(size_t size, T value) {
    size_ = 0;
    resize(size, value);
  }
  void clear() { size_ = 0; }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  bool empty() const { return size_ == 0; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T& back() { return data_[size_ - 1]; }
  const T& back() const { return data_[size_ - 1]; }
  bool operator==(const ScratchVector& other) const { return std::equal(begin(), end(), other.begin(), other.end()); }

  bool in_file() const { return file_.data() != nullptr; }
  const Scratch& scratch() const { return scratch_; }

 private:
  static constexpr size_t kFileStep = size_t{64} << 20;

  void FreeMemory() {
    scratch_.Return(capacity_ * sizeof(T));
    std::free(data_);
  }
  void MustReserve(size_t capacity) {
    if (capacity > capacity_ && !Reserve(capacity).ok()) throw std::bad_alloc();
  }
  void Swap(ScratchVector& other) noexcept {
    std::swap(scratch_, other.scratch_);
    std::swap(file_, other.file_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  Scratch scratch_;
  ScratchFile file_;
  T* data_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
};

}  // namespace astray
