#include "client/commands/calibrate.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "client/calibration_text.h"
#include "client/client.h"
#include "client/log_scoring.h"
#include "client/row_messages.h"
#include "client/row_source.h"
#include "client/verdict_flags.h"
#include "engine/base/status_macros.h"
#include "engine/data/line_reader.h"

namespace astray {
namespace {

constexpr size_t kChunkValues = 1 << 16;

struct Flags {
  ServerFlags server;
  std::string data, entity_column, segment_column;
  RowFormat input_format = RowFormat::kByName;
  std::optional<double> false_positive_rate;
  uint32_t block_rows = 0;
  bool promote = false, merge = false, include_false_alarms = false, json = false;
};

void Print(const v1::CalibrateResponse& reply, const Flags& flags, std::ostream& out) {
  const v1::CalibrationSummary& made = reply.calibration();
  out << absl::StrFormat("%-24s %s version %d\n", "model", reply.model(), reply.version());
  out << absl::StrFormat("%-24s %d, of %d errors (finest rate %.3g)\n", "calibration epoch", made.epoch(),
                         made.samples(), made.resolution());
  out << absl::StrFormat("%-24s %.6g at a false-positive rate of %.3g; before %.6g\n", "threshold", made.threshold(),
                         made.false_positive_rate(), reply.previous_threshold());
  PrintCalibrationDetails(made, "", out);
  out << absl::StrFormat("%-24s %.3f %% of these rows\n", "flagged before", 100 * reply.flagged_ratio_before());
  out << absl::StrFormat("%-24s %.3f %% of these rows\n", "flagged now", 100 * reply.flagged_ratio_after());
  if (flags.include_false_alarms) {
    out << absl::StrFormat("%-24s %d errors\n", "false alarms added", reply.false_alarms_added());
  }
  if (reply.confirmed_left_out() > 0) {
    out << absl::StrFormat("%-24s %d windows with confirmed anomalies\n", "left out", reply.confirmed_left_out());
  }
  if (reply.promoted()) {
    out << absl::StrFormat("%-24s yes; undo: astray models rollback --server=%s --model=%s\n", "live",
                           flags.server.server, reply.model());
  } else {
    out << absl::StrFormat("%-24s no; make it so: astray models promote --server=%s --model=%s --epoch=%d\n", "live",
                           flags.server.server, reply.model(), made.epoch());
  }
}

// Without the rows labelled as anomalies, which say nothing about what is normal.
absl::StatusOr<v1::CalibrateResponse> CalibrateRows(const Flags& flags, const v1::ModelDescription& model,
                                                    const v1::CalibrateHeader& header, Client* client,
                                                    CommandContext& context) {
  ASSIGN_OR_RETURN(const auto source, RowSource::Open(flags.data, {model.features().begin(), model.features().end()},
                                                      {.format = flags.input_format,
                                                       .find_labels = true,
                                                       .entity_column = flags.entity_column,
                                                       .segment_column = flags.segment_column,
                                                       .sequence = model.recipe().features().sequence()}));
  const auto features = static_cast<size_t>(model.features_size());
  RowMessages messages(source.get(), {.batch_rows = std::max<size_t>(1, kChunkValues / features), .normal_only = true});
  v1::ScoreStreamRequest run;
  std::vector<Row> rows;
  const auto next = [&](v1::CalibrateRequest* request) -> absl::StatusOr<bool> {
    ASSIGN_OR_RETURN(const bool more, messages.Next(&run, &rows));
    if (!more) return false;
    request->mutable_rows()->mutable_values()->Swap(run.mutable_values());
    request->mutable_rows()->set_entity(run.entity());
    request->mutable_rows()->set_segment(run.segment());
    if (context.terminal) context.err << "\r\x1b[Kread " << rows.back().number << " rows" << std::flush;
    return true;
  };
  auto reply = client->Calibrate(header, next);
  if (context.terminal) context.err << "\r\x1b[K" << std::flush;
  if (reply.ok() && messages.left_out() > 0) {
    context.err << "note: " << messages.left_out() << " rows labelled as anomalies are left out\n";
  }
  return reply;
}

absl::StatusOr<v1::CalibrateResponse> CalibrateLines(const Flags& flags, const v1::CalibrateHeader& header,
                                                     Client* client) {
  ASSIGN_OR_RETURN(auto source, ByteSource::Open(flags.data));
  LineReader reader(std::move(source), flags.data, LineReader::LongLines::kCut);
  return client->Calibrate(header, [&](v1::CalibrateRequest* request) -> absl::StatusOr<bool> {
    absl::string_view line;
    for (size_t bytes = 0; bytes < kChunkValues * sizeof(float); bytes += line.size() + 1) {
      ASSIGN_OR_RETURN(const bool more, reader.Next(&line));
      if (!more) break;
      request->mutable_lines()->add_lines(line.data(), line.size());
    }
    return request->lines().lines_size() > 0;
  });
}

absl::Status RunCalibrate(const Flags& flags, CommandContext& context) {
  const auto client = Client::Connect(flags.server.server, {});
  ASSIGN_OR_RETURN(const v1::ModelDescription model, client->DescribeModel(flags.server.ref()));
  v1::CalibrateHeader header;
  *header.mutable_model() = PinnedModel(model);
  if (flags.false_positive_rate) header.set_false_positive_rate(*flags.false_positive_rate);
  header.set_promote(flags.promote);
  header.set_block_rows(flags.block_rows);
  if (flags.merge) header.set_mode(v1::CalibrateHeader::MERGE);
  header.set_include_false_alarms(flags.include_false_alarms);
  ASSIGN_OR_RETURN(const v1::CalibrateResponse reply, IsLogData(flags.data, flags.input_format)
                                                          ? CalibrateLines(flags, header, client.get())
                                                          : CalibrateRows(flags, model, header, client.get(), context));
  if (flags.json) {
    context.out << ToJson(reply) << "\n";
  } else {
    Print(reply, flags, context.out);
  }
  return absl::OkStatus();
}

}  // namespace

void AddCalibrateCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      AddCommand(app, context, "calibrate", "Choose the threshold anew from fresh normal rows",
                 "  astray calibrate --server=localhost:8001 --model=pump --data=fresh.csv --false-positive-rate=0.01\n"
                 "  astray calibrate --model=pump --data=fresh.csv --promote",
                 [flags, &context] { return RunCalibrate(*flags, context); });
  flags->server.AddServer(command);
  flags->server.AddModel(command);
  command
      ->add_option("--data", flags->data,
                   "CSV or JSON lines of normal rows, or log lines; gzip too; - is standard input")
      ->required();
  AddInputFormat(command, &flags->input_format);
  command->add_option("--entity-column", flags->entity_column, "Column that says whose row it is: no window spans two");
  command->add_option("--segment-column", flags->segment_column,
                      "Column of which each value gets a threshold of its own: a machine, a tenant, a mode");
  command
      ->add_option("--block-rows", flags->block_rows,
                   "Of each block of so many consecutive rows one counts: for rows that are like their neighbours")
      ->check(CLI::Range(0, 1'000'000));
  command->add_flag("--merge", flags->merge, "Add to the rows behind the live calibration, not instead of them");
  command->add_option("--false-positive-rate", flags->false_positive_rate,
                      "Share of normal rows that may be flagged (default: as now)");
  command->add_flag("--include-false-alarms", flags->include_false_alarms,
                    "With the rows that `astray feedback` called false alarms");
  command->add_flag("--promote", flags->promote, "Make it live at once");
  command->add_flag("--json", flags->json, "Print JSON");
}

}  // namespace astray
