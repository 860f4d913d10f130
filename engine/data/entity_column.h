// Whose row each row is, or of which segment: a number a row, and each name once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/base/scratch_vector.h"

namespace astray {

class EntityColumn {
 public:
  EntityColumn() = default;
  explicit EntityColumn(Scratch scratch) : numbers_(std::move(scratch)) {}
  EntityColumn(std::initializer_list<absl::string_view> rows) {
    for (const absl::string_view name : rows) push_back(name);
  }

  absl::Status ReserveMore(size_t rows) { return numbers_.ReserveMore(rows); }
  void push_back(absl::string_view name) {
    auto known = known_.find(name);
    if (known == known_.end()) {
      known = known_.emplace(name, static_cast<uint32_t>(names_.size())).first;
      names_.emplace_back(name);
    }
    numbers_.push_back(known->second);
  }
  void append(size_t rows, absl::string_view name) {
    for (size_t i = 0; i < rows; ++i) push_back(name);
  }
  void clear() { *this = EntityColumn(); }

  size_t size() const { return numbers_.size(); }
  bool empty() const { return numbers_.empty(); }
  const std::string& operator[](size_t row) const { return names_[numbers_[row]]; }
  const std::string& back() const { return names_[numbers_.back()]; }

  // Of a row, counted in the order of the entities' first rows.
  uint32_t number(size_t row) const { return numbers_[row]; }
  size_t entities() const { return names_.size(); }
  const std::vector<std::string>& names() const { return names_; }
  ScratchVector<uint32_t>& numbers() { return numbers_; }

 private:
  std::vector<std::string> names_;
  absl::flat_hash_map<std::string, uint32_t> known_;
  ScratchVector<uint32_t> numbers_;
};

}  // namespace astray
