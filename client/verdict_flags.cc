#include "client/verdict_flags.h"

#include <CLI/CLI.hpp>
#include <map>
#include <string>

namespace astray {

void AddInputFormat(CLI::App* command, RowFormat* format) {
  static const std::map<std::string, RowFormat> kFormats = {{"csv", RowFormat::kCsv},
                                                            {"jsonl", RowFormat::kJsonLines},
                                                            {"fasta", RowFormat::kFasta},
                                                            {"log", RowFormat::kLog}};
  command->add_option("--input-format", *format, "csv, jsonl, fasta or log (default: by the file's name, else csv)")
      ->transform(CLI::Transformer(kFormats).description(""))
      ->type_name("TEXT");
}

void VerdictFlags::Add(CLI::App* command) {
  static const std::map<std::string, VerdictFormat> kFormats = {{"csv", VerdictFormat::kCsv},
                                                                {"jsonl", VerdictFormat::kJsonLines}};
  command->add_option("--format", format, "Of the verdicts: csv or jsonl (default: csv)")
      ->transform(CLI::Transformer(kFormats).description(""))
      ->type_name("TEXT");
  command->add_flag_callback(
      "--anomalies-only", [this] { filter = VerdictFilter::kAnomalies; }, "Print anomalous rows only");
  command->add_option("--top", top_contributors, "Features named for a verdict")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  command->add_flag("--explain-all", explain_all, "Name features for normal rows, too");
  command
      ->add_flag("--counterfactual{3}", counterfactual,
                 "Name features by what their repair does to the score, and repair up to so many (default: 3)")
      ->check(CLI::Range(0, 8));
}

void VerdictFlags::AddAlarmsOnly(CLI::App* command) {
  command
      ->add_flag_callback(
          "--alarms-only", [this] { filter = VerdictFilter::kAlarms; }, "Print rows that raise or end an alarm only")
      ->excludes("--anomalies-only");
}

v1::ScoreOptions VerdictFlags::ToRequest() const {
  v1::ScoreOptions options;
  options.set_top_contributors(top_contributors);
  options.set_explain_all(explain_all);
  options.set_counterfactual(counterfactual);
  return options;
}

}  // namespace astray
