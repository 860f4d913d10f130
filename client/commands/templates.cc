#include "client/commands/templates.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/file.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"
#include "engine/data/csv_writer.h"
#include "engine/data/line_reader.h"
#include "engine/features/template_miner.h"

namespace astray {
namespace {

constexpr size_t kMaxShownBytes = 2000;

struct Flags {
  std::string data, out;
  TemplateMiner::Options options;
};

// Most lines first; the ids are those of --out.
void PrintTemplates(const TemplateMiner& miner, std::ostream& out) {
  std::vector<size_t> order(miner.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return miner.Lines(a) > miner.Lines(b); });
  out << "template,lines,text\n";
  std::string line;
  for (const size_t id : order) {
    line = absl::StrCat(id, ",", miner.Lines(id), ",");
    AppendCsvCell(ShownText(miner.Template(id), kMaxShownBytes), &line);
    out << line << "\n";
  }
}

absl::Status RunTemplates(const Flags& flags, CommandContext& context) {
  ASSIGN_OR_RETURN(auto source, ByteSource::Open(flags.data));
  LineReader reader(std::move(source), flags.data == "-" ? "standard input" : flags.data, LineReader::LongLines::kCut);
  TemplateMiner miner(flags.options);
  std::string lines = "line,template\n";
  absl::string_view line;
  for (uint64_t number = 1;; ++number) {
    ASSIGN_OR_RETURN(const bool more, reader.Next(&line));
    if (!more) break;
    const size_t id = miner.Learn({line.data(), line.size()});
    if (!flags.out.empty()) absl::StrAppend(&lines, number, ",", id, "\n");
  }
  if (!flags.out.empty()) RETURN_IF_ERROR(WriteFileAtomically(flags.out, lines));
  PrintTemplates(miner, context.out);
  return absl::OkStatus();
}

}  // namespace

void AddTemplatesCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = AddCommand(app, context, "templates", "Find the templates of log lines, as CSV",
                                 "  astray templates --data=service.log\n"
                                 "  astray templates --data=service.log.gz --out=lines.csv",
                                 [flags, &context] { return RunTemplates(*flags, context); });
  command->add_option("--data", flags->data, "Log lines, gzip too; - is standard input")->required();
  command->add_option("--out", flags->out, "Write number and template of every line into this CSV file");
  command->add_option("--similarity", flags->options.similarity, "Share of a line's words that joins it to a template")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--depth", flags->options.depth, "Words that lead to a template, first to last")
      ->check(CLI::Range(size_t{0}, size_t{64}))
      ->capture_default_str();
}

}  // namespace astray
