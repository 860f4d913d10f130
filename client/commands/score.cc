#include "client/commands/score.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "client/client.h"
#include "client/offline_detector.h"
#include "client/row_source.h"
#include "client/stream_scoring.h"
#include "client/verdict_flags.h"
#include "client/verdict_writer.h"
#include "engine/base/status_macros.h"
#include "engine/detect/row_history.h"
#include "engine/detect/verdict_message.h"

namespace astray {
namespace {

constexpr size_t kBatchValues = 1 << 16;

struct Flags {
  ServerFlags server;
  VerdictFlags verdicts;
  std::string data;
  bool offline = false;
  uint64_t epoch = 0;
};

size_t BatchRows(size_t features) { return std::max<size_t>(1, std::min<size_t>(1024, kBatchValues / features)); }

// Shows how far it is, where a terminal watches, and what came out in the end.
class Tally {
 public:
  explicit Tally(CommandContext* context) : context_(context) {}

  void Count(const v1::Verdict& verdict) {
    anomalies_ += verdict.anomalous() ? 1 : 0;
    if (++rows_ % 10'000 == 0 && context_->terminal) {
      context_->err << "\r\x1b[K" << rows_ << " rows, " << anomalies_ << " anomalous" << std::flush;
    }
  }
  void Finish() {
    if (context_->terminal) context_->err << "\r\x1b[K";
    context_->err << rows_ << " rows, " << anomalies_ << " anomalous\n";
  }

 private:
  CommandContext* context_;
  uint64_t rows_ = 0, anomalies_ = 0;
};

absl::Status ScoreOffline(const Flags& flags, VerdictWriter* writer, Tally* tally) {
  ASSIGN_OR_RETURN(const auto detector, OpenDetector(flags.server.model, flags.epoch));
  ASSIGN_OR_RETURN(RowSource source, RowSource::Open(flags.data, detector->model().pipeline.feature_names(),
                                                     {.format = flags.verdicts.input_format}));
  const ScoreOptions options = flags.verdicts.ToOffline();
  RowHistory history(detector->features(), detector->window());
  ScoreResult result;
  const size_t batch_rows = BatchRows(detector->features());
  std::vector<Row> rows;  // without their values
  std::vector<float> values;
  Row row;
  for (absl::StatusOr<bool> more = true; *more;) {
    rows.clear();
    values.clear();
    while (rows.size() < batch_rows) {
      more = source.Next(&row);
      if (!more.ok() || !*more) break;
      values.insert(values.end(), row.values.begin(), row.values.end());
      rows.push_back({.number = row.number, .timestamp = row.timestamp});
    }
    RETURN_IF_ERROR(detector->Score(history.Extend(values), options, &result));
    for (size_t i = 0; i < rows.size(); ++i) {
      v1::Verdict verdict;
      if (i < history.warming_up_rows()) {
        FillWarmingUp(&verdict);
      } else {
        FillVerdict(*detector, result, i - history.warming_up_rows(), &verdict);
      }
      writer->Write(rows[i].number, rows[i].timestamp, verdict);
      tally->Count(verdict);
    }
    RETURN_IF_ERROR(more.status());
  }
  return absl::OkStatus();
}

absl::Status ScoreOnline(const Flags& flags, VerdictWriter* writer, Tally* tally) {
  const auto client = Client::Connect(flags.server.server, {});
  ASSIGN_OR_RETURN(const v1::ModelDescription model, client->DescribeModel(flags.server.ref()));
  const std::vector<std::string> features(model.features().begin(), model.features().end());
  StreamScoringOptions options;
  options.model = PinnedModel(model);
  options.score = flags.verdicts.ToRequest();
  options.batch_rows = BatchRows(features.size());
  return ScoreThroughServer(
      client.get(), options,
      [&](int stop_fd) {
        return RowSource::Open(flags.data, features, {.format = flags.verdicts.input_format, .stop_fd = stop_fd});
      },
      [&](const Row& row, const v1::Verdict& verdict) {
        writer->Write(row.number, row.timestamp, verdict);
        tally->Count(verdict);
      });
}

absl::Status RunScore(const Flags& flags, CommandContext& context) {
  VerdictWriter writer(&context.out, flags.verdicts.format, flags.verdicts.anomalies_only);
  Tally tally(&context);
  absl::Status status = flags.offline ? ScoreOffline(flags, &writer, &tally) : ScoreOnline(flags, &writer, &tally);
  if (status.ok()) tally.Finish();
  return status;
}

}  // namespace

void AddScoreCommand(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = AddCommand(app, context, "score", "Score the rows of a file, one verdict a line",
                                 "  astray score --server=localhost:8001 --model=pump --data=today.csv\n"
                                 "  astray score --model=pump --data=today.csv --format=jsonl --anomalies-only\n"
                                 "  astray score --offline --model=models/pump/1 --data=today.csv",
                                 [flags, &context] { return RunScore(*flags, context); });
  flags->server.AddServer(command);
  flags->server.AddModel(command);
  command->add_option("--data", flags->data, "CSV or JSON lines, gzip too; - is standard input")->required();
  flags->verdicts.Add(command);
  CLI::Option* offline = command->add_flag("--offline", flags->offline,
                                           "Score here, without a server; --model is then models/<name>/<version>");
  command->add_option("--epoch", flags->epoch, "With --offline: calibration that a server stored")->needs(offline);
}

}  // namespace astray
