// Learns the templates of log lines as they come (Drain: He, Zhu, Zheng & Lyu 2017): a tree of fixed depth leads a line
// to the templates that begin as it does; it joins the most similar one, whose words that differ become wildcards, or
// begins a new one.
//
//   ids = miner.Learn("Receiving block blk_17 src: /10.0.0.1:50010")
//   miner.Template(id)  "Receiving block <*> src: <*>"
//
// Memory is bounded by Options, whatever the lines. Not thread-safe; Match is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace astray {

class TemplateMiner {
 public:
  struct Options {
    size_t depth = 8;                // words by which the tree leads, behind the number of words
    double similarity = 0.8;         // share of the words that must be a template's to join it
    size_t max_children = 100;       // of a node; other words go the wildcard's way
    size_t max_templates = 100'000;  // then every line joins the most similar one, or the last
    size_t max_words = 1'000'000;    // known; others are wildcards from then on
  };

  TemplateMiner() : TemplateMiner(Options()) {}
  explicit TemplateMiner(Options options);

  // The id of the line's template, from 0; learns from the line.
  size_t Learn(std::string_view line);
  // Adds a learned template back, by its text. In the order of their ids, and with the same options, all of them make a
  // miner that matches as the first one did: only the wildcard's ways are missing from a text, and a word that became a
  // wildcard was behind one of them.
  void AddTemplate(std::string_view text, uint64_t lines);
  // The id of the line's template among those learned; none where it is of none.
  std::optional<size_t> Match(std::string_view line) const;

  size_t size() const { return templates_.size(); }
  std::string Template(size_t id) const;                            // words parted by one blank
  uint64_t Lines(size_t id) const { return templates_[id].lines; }  // learned from

 private:
  using Word = uint32_t;
  static constexpr Word kWildcardWord = 0, kUnknownWord = 1;
  struct LogTemplate {
    std::vector<Word> words;
    uint64_t lines = 0;
  };
  struct Node {
    size_t children = 0;
    std::vector<uint32_t> templates;  // of a leaf
  };
  struct Similar {
    std::optional<size_t> id;
    double share = -1;
  };

  void KnownWords(std::string_view line, std::vector<Word>* words) const;
  Word AddWord(std::string_view word);
  // The child of `node` for `key`; made where it is missing, or the wildcard's where there are too many.
  uint32_t AddChild(uint32_t node, Word key);
  std::optional<uint32_t> Leaf(const std::vector<Word>& words) const;
  uint32_t AddLeaf(const std::vector<Word>& words);
  Similar MostSimilar(uint32_t leaf, const std::vector<Word>& words) const;
  size_t Join(size_t id, const std::vector<Word>& words);

  Options options_;
  std::vector<std::string> words_;
  absl::flat_hash_map<std::string, Word> word_ids_;
  std::vector<Node> nodes_;
  absl::flat_hash_map<uint64_t, uint32_t> edges_;  // node and key: child
  std::vector<LogTemplate> templates_;
};

}  // namespace astray
