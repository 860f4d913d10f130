#include "client/commands/encode.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/file_scoring.h"
#include "engine/base/status_macros.h"
#include "engine/data/csv_writer.h"
#include "engine/detect/verdict_message.h"

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

struct ReconstructFlags : FileScoringFlags {
  uint32_t passes = 1;
  bool score_function = false;
};

// What a row becomes, in the user's units, or which way the density of normal data rises.
const google::protobuf::RepeatedField<float>& RowOf(const ReconstructFlags& flags, const v1::Verdict& verdict) {
  if (flags.score_function) return verdict.score_function();
  return flags.passes > 1 ? verdict.purified() : verdict.reconstruction();
}

absl::Status Reconstruct(const ReconstructFlags& flags, CommandContext& context) {
  v1::ScoreOptions options;
  options.set_top_contributors(0);
  if (flags.score_function) {
    options.set_score_function(true);
  } else if (flags.passes > 1) {
    options.set_purification_passes(flags.passes);
  } else {
    options.set_reconstruction(true);
  }
  NumberWriter writer(&context.out);
  return ScoreFile(
      flags, options, [&](const std::vector<std::string>& features, size_t /*units*/) { writer.WriteHeader(features); },
      [&](const Row& row, const v1::Verdict& verdict) { writer.Write(row, verdict.state(), RowOf(flags, verdict)); });
}

// The features, then how the values were found.
absl::Status Impute(const FileScoringFlags& flags, CommandContext& context) {
  v1::ScoreOptions options;
  options.set_top_contributors(0);
  options.set_imputation(true);
  NumberWriter writer(&context.out);
  google::protobuf::RepeatedField<float> numbers;
  uint64_t filled = 0, not_converged = 0;
  RETURN_IF_ERROR(ScoreFile(
      flags, options,
      [&](const std::vector<std::string>& features, size_t /*units*/) {
        std::vector<std::string> columns = features;
        columns.insert(columns.end(), {"iterations", "converged"});
        writer.WriteHeader(columns);
      },
      [&](const Row& row, const v1::Verdict& verdict) {
        const v1::Imputation& imputation = verdict.imputation();
        numbers = imputation.row();
        if (!numbers.empty()) {
          numbers.Add(static_cast<float>(imputation.iterations()));
          numbers.Add(imputation.converged() ? 1 : 0);
          filled += imputation.iterations() > 0;
          not_converged += !imputation.converged();
        }
        writer.Write(row, verdict.state(), numbers);
      }));
  context.err << "note: " << filled << " rows had missing values in their window; " << not_converged
              << " of them did not converge\n";
  return absl::OkStatus();
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
  auto flags = std::make_shared<ReconstructFlags>();
  CLI::App* command =
      AddCommand(app, context, "reconstruct", "Print what the model expects in place of each row, as CSV",
                 "  astray reconstruct --server=localhost:8001 --model=pump --data=today.csv > expected.csv\n"
                 "  astray reconstruct --offline --model=models/pump/1 --data=today.csv --passes=3",
                 [flags, &context] { return Reconstruct(*flags, context); });
  flags->Add(command);
  command
      ->add_option("--passes", flags->passes,
                   "Times a row goes through the network; above 1, missing values are filled in first")
      ->check(CLI::Range(uint32_t{1}, kMaxPurificationPasses))
      ->capture_default_str();
  command->add_flag("--score-function", flags->score_function,
                    "Print (reconstruction - row) / sigma^2 in scaled units: which way normal data lies");
}

void AddImputeCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<FileScoringFlags>();
  flags->Add(AddCommand(app, context, "impute", "Fill in missing values by the model's self-consistency, as CSV",
                        "  astray impute --server=localhost:8001 --model=pump --data=gaps.csv > filled.csv\n"
                        "  astray impute --offline --model=models/pump/1 --data=gaps.csv",
                        [flags, &context] { return Impute(*flags, context); }));
}

}  // namespace astray
