#include "client/commands/encode.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/file_scoring.h"
#include "engine/data/csv_writer.h"

namespace astray {
namespace {

// One line a row: its number, timestamp and state, and `columns` numbers, empty where there are none.
class NumberWriter {
 public:
  explicit NumberWriter(std::ostream* out) : out_(out) {}

  void WriteHeader(const std::vector<std::string>& columns) {
    columns_ = columns.size();
    line_ = "row,timestamp,state";
    for (const std::string& column : columns) {
      line_ += ',';
      AppendCsvCell(column, &line_);
    }
    *out_ << line_ << '\n';
  }

  void Write(const Row& row, v1::Verdict::State state, const google::protobuf::RepeatedField<float>& numbers) {
    line_ = absl::StrCat(row.number, ",");
    AppendCsvCell(row.timestamp, &line_);
    absl::StrAppend(&line_, ",", absl::AsciiStrToLower(v1::Verdict::State_Name(state)));
    for (size_t i = 0; i < columns_; ++i) {
      line_ += ',';
      if (i < static_cast<size_t>(numbers.size())) line_ += FormatFloat(numbers.Get(static_cast<int>(i)));
    }
    *out_ << line_ << '\n';
  }

 private:
  std::ostream* out_;
  size_t columns_ = 0;
  std::string line_;
};

absl::Status Encode(const FileScoringFlags& flags, CommandContext& context) {
  v1::ScoreOptions options;
  options.set_top_contributors(0);
  options.set_code(true);
  NumberWriter writer(&context.out);
  return ScoreFile(
      flags, options,
      [&](const std::vector<std::string>& /*features*/, size_t units) {
        std::vector<std::string> columns;
        for (size_t i = 1; i <= units; ++i) columns.push_back(absl::StrCat("code_", i));
        writer.WriteHeader(columns);
      },
      [&](const Row& row, const v1::Verdict& verdict) { writer.Write(row, verdict.state(), verdict.code()); });
}

absl::Status Reconstruct(const FileScoringFlags& flags, CommandContext& context) {
  v1::ScoreOptions options;
  options.set_top_contributors(0);
  options.set_reconstruction(true);
  NumberWriter writer(&context.out);
  return ScoreFile(
      flags, options, [&](const std::vector<std::string>& features, size_t /*units*/) { writer.WriteHeader(features); },
      [&](const Row& row, const v1::Verdict& verdict) {
        writer.Write(row, verdict.state(), verdict.reconstruction());
      });
}

}  // namespace

void AddEncodeCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<FileScoringFlags>();
  flags->Add(AddCommand(app, context, "encode", "Print the code (latent) of each row, as CSV",
                        "  astray encode --server=localhost:8001 --model=pump --data=today.csv > codes.csv\n"
                        "  astray encode --offline --model=models/pump/1 --data=today.csv",
                        [flags, &context] { return Encode(*flags, context); }));
}

void AddReconstructCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<FileScoringFlags>();
  flags->Add(AddCommand(app, context, "reconstruct", "Print what the model expects in place of each row, as CSV",
                        "  astray reconstruct --server=localhost:8001 --model=pump --data=today.csv > expected.csv\n"
                        "  astray reconstruct --offline --model=models/pump/1 --data=today.csv",
                        [flags, &context] { return Reconstruct(*flags, context); }));
}

}  // namespace astray
