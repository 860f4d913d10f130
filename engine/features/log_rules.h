// A recipe of log lines, compiled: the key of a line's session, its time, its masks. Immutable and thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "astray/v1/recipe.pb.h"
#include "engine/features/template_miner.h"

namespace re2 {
class RE2;
}  // namespace re2

namespace astray {

class LogRules {
 public:
  static constexpr size_t kMaxMasks = 64;
  static constexpr size_t kMaxPatternBytes = 1000;
  static constexpr size_t kMaxLineBytes = 8192;  // of a line; what is behind them is not looked at

  // InvalidArgument names the field: "features.log.mask[2].pattern: expected a regular expression, missing ): (a".
  static absl::StatusOr<LogRules> Create(const astray::v1::LogRecipe& recipe);
  LogRules(LogRules&&) noexcept;
  LogRules& operator=(LogRules&&) noexcept;
  ~LogRules();

  const astray::v1::LogRecipe& recipe() const { return recipe_; }  // every field set
  TemplateMiner::Options miner_options() const;

  // What session_pattern finds, within `line`; none where it finds nothing, or an empty key.
  std::optional<std::string_view> SessionKey(std::string_view line) const;
  // Seconds since 1970.
  std::optional<double> Time(std::string_view line) const;
  // The line as templates are made of it: kMaxLineBytes at most, masks replaced. Points into `line` or `buffer`.
  std::string_view Masked(std::string_view line, std::string* buffer) const;

 private:
  struct Mask {
    std::unique_ptr<re2::RE2> pattern;
    std::string replacement;
  };
  LogRules();
  absl::Status CompleteAndCheck();
  absl::Status Compile();

  astray::v1::LogRecipe recipe_;
  std::unique_ptr<re2::RE2> session_, time_;
  std::vector<Mask> masks_;
};

}  // namespace astray
