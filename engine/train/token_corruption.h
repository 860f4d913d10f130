// The corruptions of token sequences (recipe.proto): a vector's rows are its tokens. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "astray/v1/recipe.pb.h"
#include "engine/base/random.h"
#include "engine/train/vector_set.h"

namespace astray {

inline constexpr float kDefaultSpanLength = 3;  // in tokens
inline constexpr float kMaxSpanLength = 256;    // of a mean

class TokenCorruptor {
 public:
  explicit TokenCorruptor(VectorShape shape);

  // vector: [width], changed in place.
  void Mask(const astray::v1::TokenMask& mask, Random& random, std::span<float> vector);
  void Delete(const astray::v1::TokenDeletion& deletion, Random& random, std::span<float> vector);
  void Permute(const astray::v1::SpanPermutation& permutation, Random& random, std::span<float> vector);
  void MaskSpans(const astray::v1::SpanMask& mask, Random& random, std::span<float> vector);
  void Infill(const astray::v1::Infilling& infilling, Random& random, std::span<float> vector);

 private:
  size_t tokens() const { return shape_.rows; }
  std::span<float> token(std::span<float> vector, size_t i) const;
  // Makes tokens the next ones of a vector that is rewritten from what it was before.
  void Begin(std::span<float> vector);
  void Copy(size_t i, std::span<float> vector);
  void Put(float fill, std::span<float> vector);
  void FillRest(float fill, std::span<float> vector);

  VectorShape shape_;
  std::vector<float> before_;     // the vector as it came
  size_t written_ = 0;            // tokens so far
  std::vector<uint8_t> hidden_;   // for each token
  std::vector<uint32_t> places_;  // where spans begin, or how many are inserted before each token
  std::vector<uint32_t> order_;
};

}  // namespace astray
