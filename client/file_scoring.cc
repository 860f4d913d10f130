#include "client/file_scoring.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "client/client.h"
#include "client/hindsight_scoring.h"
#include "client/offline_detector.h"
#include "client/row_messages.h"
#include "client/verdict_flags.h"
#include "engine/base/status_macros.h"
#include "engine/data/csv_reader.h"
#include "engine/detect/entity_streams.h"
#include "engine/detect/verdict_message.h"

namespace astray {
namespace {

constexpr size_t kBatchValues = 1 << 16;

size_t BatchRows(size_t features) { return std::max<size_t>(1, std::min<size_t>(1024, kBatchValues / features)); }

bool WantsTimes(const FileScoringFlags& flags, const v1::Recipe& recipe) {
  return flags.event_time || recipe.stream().tolerance_seconds() > 0 || recipe.stream().max_gap_seconds() > 0;
}

// For what goes row by row.
ConsumeVerdict EachOf(const VerdictOutput& output) {
  if (output.consume) return output.consume;
  return [&output, text = std::string()](const Row& row, const v1::Verdict& verdict) mutable {
    text.clear();
    output.format(row, verdict, &text);
    output.write(text, 1, verdict.anomalous() ? 1 : 0);
  };
}

RowSource::Options RowsOf(const FileScoringFlags& flags, const v1::Recipe& recipe) {
  return {.format = flags.input_format,
          .entity_column = flags.entity_column,
          .segment_column = flags.segment_column,
          .sequence = recipe.features().sequence()};
}

absl::Status ScoreOfflineInHindsight(const FileScoringFlags& flags, const Detector& detector,
                                     const std::function<void(const std::vector<std::string>&, size_t)>& begin,
                                     const VerdictOutput& output) {
  RETURN_IF_ERROR(CheckHindsight(detector));
  const v1::Recipe& recipe = detector.model().recipe;
  const std::vector<std::string>& features = detector.model().pipeline.feature_names();
  ASSIGN_OR_RETURN(const StreamPolicy policy, StreamPolicy::FromRecipe(recipe));
  ASSIGN_OR_RETURN(const auto source, RowSource::Open(flags.data, features, RowsOf(flags, recipe)));
  begin(features, detector.code_size());
  return ScoreInHindsight(detector, policy, {.timed = WantsTimes(flags, recipe)}, source.get(), EachOf(output));
}

absl::Status ScoreOffline(const FileScoringFlags& flags, const v1::ScoreOptions& asked,
                          const std::function<void(const std::vector<std::string>&, size_t)>& begin,
                          const VerdictOutput& output) {
  ASSIGN_OR_RETURN(const auto detector, OpenDetector(flags.server.model, flags.epoch));
  if (flags.hindsight) return ScoreOfflineInHindsight(flags, *detector, begin, output);
  const v1::Recipe& recipe = detector->model().recipe;
  const std::vector<std::string>& features = detector->model().pipeline.feature_names();
  const RowSource::Options rows_of = RowsOf(flags, recipe);
  ASSIGN_OR_RETURN(const ScoreOptions options, ReadScoreOptions(asked));
  ASSIGN_OR_RETURN(const StreamPolicy policy, StreamPolicy::FromRecipe(recipe));
  const bool one_stream = flags.entity_column.empty() && flags.segment_column.empty() && !WantsTimes(flags, recipe);
  if (one_stream && RowSource::IsCsv(flags.data, flags.input_format)) {
    ASSIGN_OR_RETURN(const auto reader, CsvReader::Open(flags.data, RowSource::ToCsvOptions(features, rows_of)));
    begin(features, detector->code_size());
    const size_t threads = flags.threads > 0 ? flags.threads : std::thread::hardware_concurrency();
    return ScoreCsv(*detector, policy, options, reader.get(), threads, output);
  }
  ASSIGN_OR_RETURN(const auto source, RowSource::Open(flags.data, features, rows_of));
  const ConsumeVerdict consume = EachOf(output);
  begin(features, detector->code_size());
  RowMessages messages(source.get(), {.batch_rows = BatchRows(features.size()), .timed = WantsTimes(flags, recipe)});
  UnansweredRows unanswered;
  EntityStreams streams(features.size(), detector->window(), policy);
  ScoreResult result;
  std::vector<uint32_t> segments;  // of a piece's vectors
  const auto answer = [&] {
    for (const EntityStreams::Piece& piece : streams.Pieces()) {
      segments.assign(piece.verdicts.size(), detector->calibration().SegmentIndex(piece.segment));
      RETURN_IF_ERROR(detector->Score(piece.rows, options, &result, segments));
      for (size_t i = 0; i < piece.verdicts.size(); ++i) FillVerdict(*detector, result, i, piece.verdicts[i]);
    }
    for (const auto& exchange : streams.Finish()) RETURN_IF_ERROR(unanswered.Take(exchange->response, consume));
    return absl::OkStatus();
  };
  auto exchange = std::make_unique<EntityStreams::Exchange>();
  std::vector<Row> rows;
  absl::StatusOr<bool> more;
  while ((more = messages.Next(&exchange->request, &rows)).ok() && *more) {
    RETURN_IF_ERROR(streams.Check(exchange->request));
    unanswered.Push(exchange->request.id(), std::move(rows));
    exchange->arrival = absl::InfinitePast();
    streams.Add(std::exchange(exchange, std::make_unique<EntityStreams::Exchange>()));
    RETURN_IF_ERROR(answer());
  }
  streams.ReleaseAll();
  RETURN_IF_ERROR(answer());
  return more.status();
}

absl::Status ScoreOnline(const FileScoringFlags& flags, const v1::ScoreOptions& asked,
                         const std::function<void(const std::vector<std::string>&, size_t)>& begin,
                         const ConsumeVerdict& consume) {
  const auto client = Client::Connect(flags.server.server, {});
  ASSIGN_OR_RETURN(const v1::ModelDescription model, client->DescribeModel(flags.server.ref()));
  const std::vector<std::string> features(model.features().begin(), model.features().end());
  begin(features, model.code_units());
  StreamScoringOptions options;
  options.stream.model = PinnedModel(model);
  options.stream.score = asked;
  options.stream.features = features.size();
  options.stream.memory_rows = model.memory_rows();
  if (model.recipe().stream().tolerance_seconds() > 0) {
    options.stream.max_unanswered = std::numeric_limits<size_t>::max();
  }
  options.stream.give_up_after = absl::Seconds(flags.give_up_seconds);
  options.stream.on_broken = flags.on_broken;
  options.messages.timed = WantsTimes(flags, model.recipe());
  options.messages.batch_rows = flags.message_rows > 0 ? flags.message_rows : BatchRows(features.size());
  return ScoreThroughServer(
      client.get(), options,
      [&](int stop_fd) {
        return RowSource::Open(flags.data, features,
                               {.format = flags.input_format,
                                .follow = flags.follow,
                                .stop_fd = stop_fd,
                                .entity_column = flags.entity_column,
                                .segment_column = flags.segment_column,
                                .notes = flags.notes,
                                .prometheus = flags.prometheus,
                                .sequence = model.recipe().features().sequence()});
      },
      consume);
}

}  // namespace

void FileScoringFlags::Add(CLI::App* command) {
  server.AddServer(command);
  server.AddModel(command);
  command->add_option("--data", data, "CSV or JSON lines, gzip too; - is standard input")->required();
  AddInputFormat(command, &input_format);
  CLI::Option* without_server =
      command->add_flag("--offline", offline, "Score here, without a server; --model is then models/<name>/<version>");
  AddEntities(command);
  command->add_option("--threads", threads, "With --offline, of a CSV: threads that score (default: one a core)")
      ->needs(without_server);
  command->add_option("--epoch", epoch, "With --offline: calibration that a server stored")->needs(without_server);
}

void FileScoringFlags::AddEntities(CLI::App* command) {
  command->add_option("--entity-column", entity_column,
                      "Column that says whose row it is: each entity has a window of its own");
  command->add_option("--segment-column", segment_column,
                      "Column that says by which of the calibration's segments a row is judged: a machine, a mode");
  command->add_flag("--event-time", event_time,
                    "Rows' times count: late and repeated rows are seen (default: where the recipe's stream says so)");
  command->add_option("--give-up-after", give_up_seconds, "Seconds to wait for a server that went away")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

absl::Status ScoreFile(const FileScoringFlags& flags, const v1::ScoreOptions& options,
                       const std::function<void(const std::vector<std::string>&, size_t)>& begin,
                       const VerdictOutput& output) {
  return flags.offline ? ScoreOffline(flags, options, begin, output)
                       : ScoreOnline(flags, options, begin, EachOf(output));
}

absl::Status ScoreFile(const FileScoringFlags& flags, const v1::ScoreOptions& options,
                       const std::function<void(const std::vector<std::string>&, size_t)>& begin,
                       const ConsumeVerdict& consume) {
  return ScoreFile(flags, options, begin, VerdictOutput{.consume = consume});
}

}  // namespace astray
