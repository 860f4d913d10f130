#include "client/report_page.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "client/command.h"
#include "client/report_parts.h"
#include "engine/base/shown_text.h"
#include "engine/detect/range_ranking.h"
#include "engine/detect/ranking.h"

namespace astray {
namespace {

constexpr size_t kMaxLeads = 15;
constexpr double kCurveStep = 1.0 / 300;  // about a pixel

// A JSON string that can stand in a <script> element.
std::string Text(absl::string_view text, size_t most) {
  return absl::StrReplaceAll(JsonText(ShownText(text, most)), {{"<", "\\u003c"}});
}

std::string Number(double value) { return std::isfinite(value) ? absl::StrFormat("%.4g", value) : "null"; }

// "[a,b,c]"
template <typename Items, typename Format>
std::string List(const Items& items, Format format) {
  std::string list = "[";
  for (const auto& item : items) absl::StrAppend(&list, list.size() > 1 ? "," : "", format(item));
  return list + "]";
}

// What adjacent rows become in the drawing.
struct Column {
  double lowest = NAN, highest = NAN;  // scores
  double highest_anomalous = NAN;      // of rows labelled so
};

void Add(double score, bool anomalous, Column* column) {
  column->lowest = std::fmin(column->lowest, score);
  column->highest = std::fmax(column->highest, score);
  if (anomalous) column->highest_anomalous = std::fmax(column->highest_anomalous, score);
}

class EntityDrawing {
 public:
  // index: of the entity in scores.begins. most_columns > 0.
  EntityDrawing(const ReportInput& input, size_t index, size_t most_columns) : input_(input), index_(index) {
    const auto& begins = input.scores.begins;
    begin_ = begins[index];
    end_ = index + 1 < begins.size() ? begins[index + 1] : static_cast<uint32_t>(input.scores.row_labels.size());
    stride_ = std::max<size_t>(1, (end_ - begin_ + most_columns - 1) / most_columns);
  }

  std::string Json() const {
    const LabelledScores& all = input_.scores;
    const std::vector<Column> columns = Columns(all.scores, all.labels, all.rows);
    const auto& entities = input_.scores.entities;
    std::string json = absl::StrCat("{\"name\":", Text(entities.empty() ? "" : entities[index_], 100),
                                    ",\"rows\":", end_ - begin_, ",\"stride\":", stride_, ",\"ranges\":", Ranges());
    json += Values("high", columns, &Column::highest);
    if (!input_.evaluation.time_ordered()) json += Values("anomalous", columns, &Column::highest_anomalous);
    if (stride_ > 1) json += Values("low", columns, &Column::lowest);
    if (input_.evaluation.has_hindsight()) {
      const std::vector<Column> later = Columns(all.hindsight.scores, all.hindsight.labels, all.hindsight.rows);
      json += Values("hindsight_high", later, &Column::highest);
      if (stride_ > 1) json += Values("hindsight_low", later, &Column::lowest);
    }
    const RowNames& names = all.names;
    if (!names.empty()) {
      std::vector<uint32_t> firsts(columns.size());
      for (size_t c = 0; c < firsts.size(); ++c) firsts[c] = static_cast<uint32_t>(begin_ + c * stride_);
      absl::StrAppend(&json, ",\"names\":", List(firsts, [&](uint32_t row) { return Text(names[row], 30); }));
    }
    return json + "}";
  }

 private:
  // Of the entity; `rows`: whose scores and labels they are, ascending.
  std::vector<Column> Columns(std::span<const float> scores, std::span<const uint8_t> labels,
                              std::span<const uint32_t> rows) const {
    std::vector<Column> columns((end_ - begin_ + stride_ - 1) / stride_);
    for (auto i = static_cast<size_t>(std::ranges::lower_bound(rows, begin_) - rows.begin());
         i < rows.size() && rows[i] < end_; ++i) {
      Add(scores[i], labels[i] != 0, &columns[(rows[i] - begin_) / stride_]);
    }
    return columns;
  }

  // ,"name":[one a column]
  static std::string Values(absl::string_view name, const std::vector<Column>& columns, double Column::*value) {
    return absl::StrCat(",\"", name, "\":", List(columns, [&](const Column& column) { return Number(column.*value); }));
  }

  // [first, end) of labelled rows, counted from the entity's first; those less than a column apart are one.
  std::string Ranges() const {
    const auto labels = std::span(input_.scores.row_labels).subspan(begin_, end_ - begin_);
    std::vector<LabelledRange> drawn;
    if (input_.evaluation.time_ordered()) {
      for (const LabelledRange& range : LabelledRanges(labels)) {
        if (!drawn.empty() && range.begin - drawn.back().end < stride_ && stride_ > 1) {
          drawn.back().end = range.end;
        } else {
          drawn.push_back(range);
        }
      }
    }
    return List(drawn, [](const LabelledRange& range) { return absl::StrCat("[", range.begin, ",", range.end, "]"); });
  }

  const ReportInput& input_;
  size_t index_;
  uint32_t begin_ = 0, end_ = 0;
  size_t stride_ = 1;
};

std::string Entities(const ReportInput& input) {
  std::vector<size_t> drawn(std::min(input.scores.begins.size(), kMaxReportEntities));
  std::iota(drawn.begin(), drawn.end(), size_t{0});
  const size_t columns = kMaxReportColumns / std::max<size_t>(1, drawn.size());
  return List(drawn, [&](size_t index) { return EntityDrawing(input, index, columns).Json(); });
}

// [[false-positive rate, recall, precision]]
std::string Curve(std::span<const float> scores, std::span<const uint8_t> labels) {
  return List(RankingCurve(scores, labels, kCurveStep), [](const RankingPoint& p) {
    return absl::StrCat("[", Number(p.false_positive_rate), ",", Number(p.recall), ",", Number(p.precision), "]");
  });
}

// Of a model that judges in hindsight.
std::string InHindsight(const ReportInput& input) {
  if (!input.evaluation.has_hindsight()) return "null";
  const HindsightScores& later = input.scores.hindsight;
  const Calibration& calibration = input.detector.model().hindsight->calibration;
  return absl::StrCat("{\"target\":", Number(calibration.false_positive_rate()),
                      ",\"curve\":", Curve(later.scores, later.labels), "}");
}

// [alpha, share of the normal rows with a p-value of at most alpha]
std::string CalibrationCurve(const ReportInput& input) {
  const PValueCounts& counts = input.scores.p_values;
  std::vector<size_t> points(counts.rows() == 0 ? 0 : PValueCounts::kPoints);
  std::iota(points.begin(), points.end(), size_t{0});
  return List(points, [&](size_t k) {
    return absl::StrCat("[", Number(counts.alpha(k)), ",",
                        Number(static_cast<double>(counts.AtMost(k)) / static_cast<double>(counts.rows())), "]");
  });
}

std::string Leads(const ReportInput& input) {
  const auto& leads = input.scores.leads;
  const auto total = [&](size_t feature) { return leads[feature].anomalous + leads[feature].normal; };
  std::vector<size_t> order;
  for (size_t feature = 0; feature < leads.size(); ++feature) {
    if (total(feature) > 0) order.push_back(feature);
  }
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return total(a) > total(b); });
  order.resize(std::min(order.size(), kMaxLeads));
  return List(order, [&](size_t feature) {
    return absl::StrCat("[", Text(input.scores.feature_names[feature], 120), ",", leads[feature].anomalous, ",",
                        leads[feature].normal, "]");
  });
}

std::string Alarm(const ReportInput& input, const FlaggedRun& run) {
  const uint32_t begin = input.scores.begins[run.entity];
  const auto labels = std::span(input.scores.row_labels).subspan(run.begin, run.end - run.begin);
  const RowNames& names = input.scores.names;
  const auto& entities = input.scores.entities;
  const std::string causes = List(run.contributions, [&](const Contribution& cause) {
    return absl::StrCat("[", Text(input.scores.feature_names[cause.feature], 120), ",", Number(cause.share), ",",
                        Number(cause.observed), ",", Number(cause.expected), "]");
  });
  return absl::StrCat("{\"entity\":", Text(entities.empty() ? "" : entities[run.entity], 100),
                      ",\"first\":", run.begin - begin + 1, ",\"last\":", run.end - begin,
                      ",\"name\":", Text(names.empty() ? "" : names[run.peak], 60),
                      ",\"score\":", Number(run.verdict.score), ",\"p\":", Number(run.verdict.p_value),
                      ",\"anomalous\":", std::ranges::count_if(labels, [](uint8_t label) { return label != 0; }),
                      ",\"by_t_squared\":", run.verdict.by_t_squared ? "true" : "false", ",\"causes\":", causes, "}");
}

}  // namespace

std::string ReportData(const ReportInput& input) {
  const v1::FeaturesRecipe& features = input.detector.model().recipe.features();
  const char* unit = features.has_log() ? "session" : features.has_sequence() ? "sequence" : "row";
  const Calibration& calibration = input.detector.calibration();
  return absl::StrCat(
      "{\"evaluation\":", absl::StrReplaceAll(ToJson(input.evaluation), {{"<", "\\u003c"}}),
      ",\"data\":", Text(input.data_name, 200), ",\"unit\":\"", unit,
      "\",\"features\":", input.scores.feature_names.size(), ",\"window\":", input.detector.window(),
      ",\"target\":", Number(calibration.false_positive_rate()), ",\"epoch\":", calibration.epoch(),
      ",\"samples\":", calibration.samples(), ",\"program\":", Text(ASTRAY_VERSION, 40),
      ",\"entity_count\":", input.scores.begins.size(), ",\"entities\":", Entities(input),
      ",\"curve\":", Curve(input.scores.scores, input.scores.labels), ",\"hindsight\":", InHindsight(input),
      ",\"calibration\":", CalibrationCurve(input), ",\"leads\":", Leads(input),
      ",\"alarms\":", List(input.scores.strongest, [&](const FlaggedRun& run) { return Alarm(input, run); }), "}");
}

std::string ReportPage(const ReportInput& input) {
  return absl::StrReplaceAll(
      kReportPage, {{"{{style}}", kReportStyle}, {"{{script}}", kReportScript}, {"{{data}}", ReportData(input)}});
}

}  // namespace astray
