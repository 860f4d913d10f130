#include "engine/features/template_miner.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "engine/features/log_tokens.h"

namespace astray {
namespace {

// The root's children are kept by the number of words, which is no word's key.
constexpr uint64_t Edge(uint32_t node, uint32_t key) { return (uint64_t{node} << 32) | key; }

// Debian's Abseil has a string_view of its own.
absl::string_view Key(std::string_view word) { return {word.data(), word.size()}; }

}  // namespace

TemplateMiner::TemplateMiner(Options options) : options_(options), words_({std::string(kWildcard), ""}), nodes_(1) {
  word_ids_.emplace(kWildcard, kWildcardWord);
}

void TemplateMiner::KnownWords(std::string_view line, std::vector<Word>* words) const {
  thread_local std::vector<std::string_view> tokens;
  TokenizeLogLine(line, &tokens);
  words->resize(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] == kWildcard) {
      (*words)[i] = kWildcardWord;
      continue;
    }
    const auto known = word_ids_.find(Key(tokens[i]));
    (*words)[i] = known == word_ids_.end() ? kUnknownWord : known->second;
  }
}

TemplateMiner::Word TemplateMiner::AddWord(std::string_view word) {
  const auto known = word_ids_.find(Key(word));
  if (known != word_ids_.end()) return known->second;
  if (words_.size() >= options_.max_words) return kWildcardWord;
  const auto id = static_cast<Word>(words_.size());
  words_.emplace_back(word);
  word_ids_.emplace(word, id);
  return id;
}

uint32_t TemplateMiner::AddChild(uint32_t node, Word key) {
  const auto known = edges_.find(Edge(node, key));
  if (known != edges_.end()) return known->second;
  if (key != kWildcardWord && nodes_[node].children >= options_.max_children) return AddChild(node, kWildcardWord);
  const auto child = static_cast<uint32_t>(nodes_.size());
  nodes_.emplace_back();
  edges_.emplace(Edge(node, key), child);
  ++nodes_[node].children;
  return child;
}

uint32_t TemplateMiner::AddLeaf(const std::vector<Word>& words) {
  // The number of words is at most kMaxLogTokens + 1, whatever the line: the root is never too full.
  uint32_t node = 0;
  const auto count = static_cast<uint32_t>(words.size());
  if (const auto known = edges_.find(Edge(0, count)); known != edges_.end()) {
    node = known->second;
  } else {
    node = static_cast<uint32_t>(nodes_.size());
    nodes_.emplace_back();
    edges_.emplace(Edge(0, count), node);
  }
  for (size_t i = 0; i < std::min(options_.depth, words.size()); ++i) node = AddChild(node, words[i]);
  return node;
}

std::optional<uint32_t> TemplateMiner::Leaf(const std::vector<Word>& words) const {
  auto edge = edges_.find(Edge(0, static_cast<uint32_t>(words.size())));
  for (size_t i = 0; edge != edges_.end() && i < std::min(options_.depth, words.size()); ++i) {
    const uint32_t node = edge->second;
    edge = edges_.find(Edge(node, words[i]));
    if (edge == edges_.end()) edge = edges_.find(Edge(node, kWildcardWord));
  }
  if (edge == edges_.end()) return std::nullopt;
  return edge->second;
}

TemplateMiner::Similar TemplateMiner::MostSimilar(uint32_t leaf, const std::vector<Word>& words) const {
  Similar best;
  for (const uint32_t id : nodes_[leaf].templates) {
    const std::vector<Word>& candidate = templates_[id].words;
    size_t same = 0;
    for (size_t i = 0; i < words.size(); ++i) same += candidate[i] == words[i];
    const double share = words.empty() ? 1 : static_cast<double>(same) / static_cast<double>(words.size());
    if (share > best.share) best = {.id = id, .share = share};
  }
  return best;
}

size_t TemplateMiner::Join(size_t id, const std::vector<Word>& words) {
  LogTemplate& joined = templates_[id];
  for (size_t i = 0; i < words.size(); ++i) {
    if (joined.words[i] != words[i]) joined.words[i] = kWildcardWord;
  }
  ++joined.lines;
  return id;
}

size_t TemplateMiner::Learn(std::string_view line) {
  thread_local std::vector<std::string_view> tokens;
  thread_local std::vector<Word> words;
  TokenizeLogLine(line, &tokens);
  words.resize(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) words[i] = AddWord(tokens[i]);
  const bool full = templates_.size() >= options_.max_templates;
  if (full) {
    const auto leaf = Leaf(words);
    const Similar best = leaf ? MostSimilar(*leaf, words) : Similar();
    if (best.id) return Join(*best.id, words);
    ++templates_.back().lines;
    return templates_.size() - 1;
  }
  const uint32_t leaf = AddLeaf(words);
  const Similar best = MostSimilar(leaf, words);
  if (best.id && best.share >= options_.similarity) return Join(*best.id, words);
  nodes_[leaf].templates.push_back(static_cast<uint32_t>(templates_.size()));
  templates_.push_back({.words = words, .lines = 1});
  return templates_.size() - 1;
}

void TemplateMiner::AddTemplate(std::string_view text, uint64_t lines) {
  std::vector<Word> words;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    words.push_back(AddWord(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  nodes_[AddLeaf(words)].templates.push_back(static_cast<uint32_t>(templates_.size()));
  templates_.push_back({.words = std::move(words), .lines = lines});
}

std::optional<size_t> TemplateMiner::Match(std::string_view line) const {
  thread_local std::vector<Word> words;
  KnownWords(line, &words);
  const auto leaf = Leaf(words);
  if (!leaf) return std::nullopt;
  // A wildcard of the template stands for any word.
  std::optional<size_t> best;
  size_t most = 0;
  for (const uint32_t id : nodes_[*leaf].templates) {
    const std::vector<Word>& candidate = templates_[id].words;
    size_t same = 0, fits = 0;
    for (size_t i = 0; i < words.size(); ++i) {
      same += candidate[i] == words[i];
      fits += candidate[i] == words[i] || candidate[i] == kWildcardWord;
    }
    if (fits == words.size() && (!best || same > most)) {
      best = id;
      most = same;
    }
  }
  return best;
}

std::string TemplateMiner::Template(size_t id) const {
  return absl::StrJoin(templates_[id].words, " ", [this](std::string* out, Word word) { out->append(words_[word]); });
}

}  // namespace astray
