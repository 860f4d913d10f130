#include "client/commands/calibrate.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/str_format.h"
#include "client/client.h"
#include "client/row_source.h"
#include "client/verdict_flags.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

constexpr size_t kChunkValues = 1 << 16;

struct Flags {
  ServerFlags server;
  std::string data;
  RowFormat input_format = RowFormat::kByName;
  std::optional<double> false_positive_rate;
  bool promote = false, json = false;
};

void Print(const v1::CalibrateResponse& reply, const Flags& flags, std::ostream& out) {
  const v1::CalibrationSummary& made = reply.calibration();
  out << absl::StrFormat("%-24s %s version %d\n", "model", reply.model(), reply.version());
  out << absl::StrFormat("%-24s %d, of %d errors (finest rate %.3g)\n", "calibration epoch", made.epoch(),
                         made.samples(), made.resolution());
  out << absl::StrFormat("%-24s %.6g at a false-positive rate of %.3g; before %.6g\n", "threshold", made.threshold(),
                         made.false_positive_rate(), reply.previous_threshold());
  out << absl::StrFormat("%-24s %.3f %% of these rows\n", "flagged before", 100 * reply.flagged_ratio_before());
  if (reply.promoted()) {
    out << absl::StrFormat("%-24s yes; undo: astray models rollback --server=%s --model=%s\n", "live",
                           flags.server.server, reply.model());
  } else {
    out << absl::StrFormat("%-24s no; make it so: astray models promote --server=%s --model=%s --epoch=%d\n", "live",
                           flags.server.server, reply.model(), made.epoch());
  }
}

absl::Status RunCalibrate(const Flags& flags, CommandContext& context) {
  const auto client = Client::Connect(flags.server.server, {});
  ASSIGN_OR_RETURN(const v1::ModelDescription model, client->DescribeModel(flags.server.ref()));
  ASSIGN_OR_RETURN(const auto source, RowSource::Open(flags.data, {model.features().begin(), model.features().end()},
                                                      {.format = flags.input_format,
                                                       .find_labels = true,
                                                       .sequence = model.recipe().features().sequence()}));
  v1::CalibrateHeader header;
  *header.mutable_model() = PinnedModel(model);
  if (flags.false_positive_rate) header.set_false_positive_rate(*flags.false_positive_rate);
  header.set_promote(flags.promote);
  const size_t chunk = std::max<size_t>(kChunkValues, static_cast<size_t>(model.features_size()));
  Row row;
  uint64_t anomalies = 0;
  ASSIGN_OR_RETURN(const v1::CalibrateResponse reply,
                   client->Calibrate(header, [&](v1::CalibrateRows* rows) -> absl::StatusOr<bool> {
                     while (static_cast<size_t>(rows->values_size()) + row.values.size() <= chunk) {
                       ASSIGN_OR_RETURN(const bool more, source->Next(&row));
                       if (!more) break;
                       // What is labelled as an anomaly says nothing about what is normal.
                       if (row.label != 0) {
                         ++anomalies;
                         continue;
                       }
                       rows->mutable_values()->Add(row.values.begin(), row.values.end());
                     }
                     if (context.terminal) context.err << "\r\x1b[Kread " << row.number << " rows" << std::flush;
                     return rows->values_size() > 0;
                   }));
  if (context.terminal) context.err << "\r\x1b[K" << std::flush;
  if (anomalies > 0) context.err << "note: " << anomalies << " rows labelled as anomalies are left out\n";
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
  command->add_option("--data", flags->data, "CSV or JSON lines of normal rows, gzip too; - is standard input")
      ->required();
  AddInputFormat(command, &flags->input_format);
  command->add_option("--false-positive-rate", flags->false_positive_rate,
                      "Share of normal rows that may be flagged (default: as now)");
  command->add_flag("--promote", flags->promote, "Make it live at once");
  command->add_flag("--json", flags->json, "Print JSON");
}

}  // namespace astray
