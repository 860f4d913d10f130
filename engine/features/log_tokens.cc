#include "engine/features/log_tokens.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace astray {
namespace {

constexpr std::string_view kParentheses = "(<*>)", kEmptyParentheses = "()";

enum Sign : uint8_t { kPlain = 0, kSpace = 1, kDigit = 2, kSlash = 4, kControl = 8, kOpens = 16, kEquals = 32 };

constexpr std::array<uint8_t, 256> MakeSigns() {
  std::array<uint8_t, 256> signs = {};
  for (size_t c = 0; c < 32; ++c) signs[c] = kControl;
  signs[0x7f] = kControl;
  for (const char c : {' ', '\t', '\r', '\n', '\v', '\f'}) signs[static_cast<uint8_t>(c)] = kSpace;
  for (char c = '0'; c <= '9'; ++c) signs[static_cast<uint8_t>(c)] = kDigit;
  signs['/'] = kSlash;
  signs['['] = signs['('] = kOpens;
  signs['='] = kEquals;
  return signs;
}

constexpr std::array<uint8_t, 256> kSigns = MakeSigns();

bool IsDayOrMonth(std::string_view word) {
  constexpr std::array<std::string_view, 19> kNames = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul",
                                                       "Aug", "Sep", "Oct", "Nov", "Dec", "Mon", "Tue",
                                                       "Wed", "Thu", "Fri", "Sat", "Sun"};
  return word.size() == 3 && std::ranges::find(kNames, word) != kNames.end();
}

// Where the bracket at `open` closes, those of its kind within it counted; npos where it does not.
size_t Closing(std::string_view line, size_t open) {
  const char opens = line[open], closes = opens == '[' ? ']' : ')';
  size_t depth = 0;
  for (size_t i = open; i < line.size(); ++i) {
    if (line[i] == opens) ++depth;
    if (line[i] == closes && --depth == 0) return i;
  }
  return std::string_view::npos;
}

class Tokens {
 public:
  explicit Tokens(std::vector<std::string_view>* tokens) : tokens_(tokens) { tokens_->clear(); }
  bool full() const { return tokens_->size() >= kMaxLogTokens; }
  void Add(std::string_view token) {
    if (token == kWildcard && !tokens_->empty() && tokens_->back() == kWildcard) return;
    tokens_->push_back(full() ? kWildcard : token);
  }

 private:
  std::vector<std::string_view>* tokens_;
};

}  // namespace

void TokenizeLogLine(std::string_view line, std::vector<std::string_view>* out) {
  Tokens tokens(out);
  size_t begin = 0;   // of the word
  uint8_t signs = 0;  // that it has
  const auto end_word = [&](size_t end) {
    if (begin < end) {
      const std::string_view word = line.substr(begin, end - begin);
      tokens.Add((signs & (kDigit | kSlash | kControl)) != 0 || IsDayOrMonth(word) ? kWildcard : word);
    }
    signs = 0;
  };
  bool unclosed = false;  // one bracket that does not close is enough to look for no other
  for (size_t i = 0; i < line.size() && !tokens.full(); ++i) {
    const uint8_t sign = kSigns[static_cast<uint8_t>(line[i])];
    if (sign == kPlain) continue;
    if (sign == kSpace) {
      end_word(i);
      begin = i + 1;
    } else if (sign == kOpens) {
      const size_t close = unclosed ? std::string_view::npos : Closing(line, i);
      unclosed = close == std::string_view::npos;
      if (unclosed) continue;
      end_word(i);
      tokens.Add(line[i] == '[' ? kWildcard : close == i + 1 ? kEmptyParentheses : kParentheses);
      i = close;
      begin = close + 1;
    } else if (sign == kEquals) {
      end_word(i + 1);
      begin = i + 1;
    } else if (sign != kSlash || i > begin) {
      signs |= sign;
    }
  }
  if (tokens.full()) {
    tokens.Add(kWildcard);
  } else {
    end_word(line.size());
  }
}

}  // namespace astray
