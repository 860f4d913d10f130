#include "client/file_scoring.h"

#include <algorithm>
#include <map>
#include <utility>

#include "client/client.h"
#include "client/offline_detector.h"
#include "client/verdict_flags.h"
#include "engine/base/status_macros.h"
#include "engine/detect/row_history.h"
#include "engine/detect/verdict_message.h"

namespace astray {
namespace {

constexpr size_t kBatchValues = 1 << 16;

size_t BatchRows(size_t features) { return std::max<size_t>(1, std::min<size_t>(1024, kBatchValues / features)); }

absl::Status ScoreOffline(const FileScoringFlags& flags, const v1::ScoreOptions& asked,
                          const std::function<void(const std::vector<std::string>&, size_t)>& begin,
                          const ConsumeVerdict& consume) {
  ASSIGN_OR_RETURN(const auto detector, OpenDetector(flags.server.model, flags.epoch));
  const std::vector<std::string>& features = detector->model().pipeline.feature_names();
  ASSIGN_OR_RETURN(const auto source, RowSource::Open(flags.data, features,
                                                      {.format = flags.input_format,
                                                       .entity_column = flags.entity_column,
                                                       .sequence = detector->model().recipe.features().sequence()}));
  ASSIGN_OR_RETURN(const ScoreOptions options, ReadScoreOptions(asked));
  begin(features, detector->code_size());
  std::map<std::string, RowHistory> histories;
  ScoreResult result;
  // A run of rows of one entity at a time.
  const size_t batch_rows = BatchRows(detector->features());
  std::vector<Row> rows;  // without their values
  std::vector<float> values;
  Row row;
  bool waiting = false;  // `row` is the first of the next run
  for (absl::StatusOr<bool> more = true; *more || waiting;) {
    rows.clear();
    values.clear();
    while (rows.size() < batch_rows) {
      if (!std::exchange(waiting, false)) {
        more = source->Next(&row);
        if (!more.ok() || !*more) break;
        waiting = !rows.empty() && row.entity != rows.front().entity;
        if (waiting) break;
      }
      values.insert(values.end(), row.values.begin(), row.values.end());
      rows.push_back({.number = row.number, .timestamp = row.timestamp, .entity = row.entity});
    }
    if (!rows.empty()) {
      RowHistory& history =
          histories.try_emplace(rows.front().entity, detector->features(), detector->window()).first->second;
      RETURN_IF_ERROR(detector->Score(history.Extend(values), options, &result));
      for (size_t i = 0; i < rows.size(); ++i) {
        v1::Verdict verdict;
        if (i < history.warming_up_rows()) {
          FillWarmingUp(&verdict);
        } else {
          FillVerdict(*detector, result, i - history.warming_up_rows(), &verdict);
        }
        consume(rows[i], verdict);
      }
    }
    RETURN_IF_ERROR(more.status());
  }
  return absl::OkStatus();
}

absl::Status ScoreOnline(const FileScoringFlags& flags, const v1::ScoreOptions& asked,
                         const std::function<void(const std::vector<std::string>&, size_t)>& begin,
                         const ConsumeVerdict& consume) {
  const auto client = Client::Connect(flags.server.server, {});
  ASSIGN_OR_RETURN(const v1::ModelDescription model, client->DescribeModel(flags.server.ref()));
  const std::vector<std::string> features(model.features().begin(), model.features().end());
  begin(features, model.code_units());
  StreamScoringOptions options;
  options.model = PinnedModel(model);
  options.score = asked;
  options.batch_rows = flags.message_rows > 0 ? flags.message_rows : BatchRows(features.size());
  return ScoreThroughServer(
      client.get(), options,
      [&](int stop_fd) {
        return RowSource::Open(flags.data, features,
                               {.format = flags.input_format,
                                .follow = flags.follow,
                                .stop_fd = stop_fd,
                                .entity_column = flags.entity_column,
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
  AddEntityColumn(command);
  command->add_option("--epoch", epoch, "With --offline: calibration that a server stored")->needs(without_server);
}

void FileScoringFlags::AddEntityColumn(CLI::App* command) {
  command->add_option("--entity-column", entity_column,
                      "Column that says whose row it is: each entity has a window of its own");
}

absl::Status ScoreFile(const FileScoringFlags& flags, const v1::ScoreOptions& options,
                       const std::function<void(const std::vector<std::string>&, size_t)>& begin,
                       const ConsumeVerdict& consume) {
  return flags.offline ? ScoreOffline(flags, options, begin, consume) : ScoreOnline(flags, options, begin, consume);
}

}  // namespace astray
