#include "client/prometheus_response.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"
#include "engine/data/cell.h"

namespace astray {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

constexpr size_t kMaxNameBytes = 256;

absl::Status Wrong(absl::string_view text) { return absl::DataLossError(text); }

const Value* Member(const Struct& object, const char* name) {
  const auto found = object.fields().find(name);
  return found == object.fields().end() ? nullptr : &found->second;
}

std::string StringMember(const Struct& object, const char* name) {
  const Value* value = Member(object, name);
  return value == nullptr ? "" : value->string_value();
}

bool IsList(const Value* value) { return value != nullptr && value->kind_case() == Value::kListValue; }

// [1700000000.5, "12.25"]
absl::Status ReadPoint(const Value& value, std::vector<std::pair<double, float>>* points) {
  double number = 0;
  if (!IsList(&value) || value.list_value().values_size() != 2 ||
      value.list_value().values(0).kind_case() != Value::kNumberValue ||
      value.list_value().values(1).kind_case() != Value::kStringValue ||
      !absl::SimpleAtod(value.list_value().values(1).string_value(), &number)) {
    return Wrong("expected [time, \"number\"]");
  }
  float reading = 0;
  if (!std::isfinite(number) || !ToFloat(number, &reading)) reading = std::numeric_limits<float>::quiet_NaN();
  points->emplace_back(value.list_value().values(0).number_value(), reading);
  return absl::OkStatus();
}

absl::Status ReadSeries(const Value& value, bool matrix, PrometheusSeries* series) {
  const Value* metric = Member(value.struct_value(), "metric");
  if (metric == nullptr || metric->kind_case() != Value::kStructValue) return Wrong("metric: expected an object");
  for (const auto& [name, label] : metric->struct_value().fields()) {
    if (label.kind_case() != Value::kStringValue) return Wrong("metric: expected labels that are strings");
    series->labels[name] = label.string_value();
  }
  const Value* points = Member(value.struct_value(), matrix ? "values" : "value");
  if (points == nullptr)
    return Wrong("expected a value, got none (a histogram has one for each quantile: ask for those)");
  if (!matrix) return ReadPoint(*points, &series->points);
  if (!IsList(points)) return Wrong("values: expected a list");
  series->points.reserve(static_cast<size_t>(points->list_value().values_size()));
  for (const Value& point : points->list_value().values()) RETURN_IF_ERROR(ReadPoint(point, &series->points));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<PrometheusSeries>> ParsePrometheusResponse(absl::string_view body) {
  Struct reply;
  const auto parsed = google::protobuf::util::JsonStringToMessage(std::string(body.data(), body.size()), &reply);
  if (!parsed.ok()) return Wrong(absl::StrCat("expected a JSON object, got ", ShownText(body)));
  if (const std::string status = StringMember(reply, "status"); status != "success") {
    return Wrong(absl::StrCat("status: expected success, got \"", ShownText(status),
                              "\": ", ShownText(StringMember(reply, "error"), 200)));
  }
  const Value* data = Member(reply, "data");
  if (data == nullptr || data->kind_case() != Value::kStructValue) return Wrong("data: expected an object");
  const std::string type = StringMember(data->struct_value(), "resultType");
  const Value* result = Member(data->struct_value(), "result");
  if (type != "vector" && type != "matrix" && type != "scalar") {
    return Wrong(absl::StrCat("data.resultType: expected vector, matrix or scalar, got \"", ShownText(type), "\""));
  }
  if (!IsList(result)) return Wrong("data.result: expected a list");
  std::vector<PrometheusSeries> all;
  if (type == "scalar") {
    if (const absl::Status status = ReadPoint(*result, &all.emplace_back().points); !status.ok()) {
      return Wrong(absl::StrCat("data.result: ", status.message()));
    }
    return all;
  }
  for (const Value& value : result->list_value().values()) {
    if (const absl::Status status = ReadSeries(value, type == "matrix", &all.emplace_back()); !status.ok()) {
      return Wrong(absl::StrCat("data.result ", all.size(), ": ", status.message()));
    }
  }
  return all;
}

absl::StatusOr<std::string> PrometheusSeriesName(const std::string& query,
                                                 const std::map<std::string, std::string>& labels,
                                                 const std::vector<std::string>& by) {
  constexpr char kMetric[] = "__name__";
  const auto metric = labels.find(kMetric);
  std::string name = metric == labels.end() ? query : metric->second;
  char separator = '{';
  for (const auto& [label, value] : labels) {
    if (label == kMetric || (!by.empty() && std::find(by.begin(), by.end(), label) == by.end())) continue;
    absl::StrAppend(&name, std::string(1, separator), label, "=\"",
                    absl::StrReplaceAll(value, {{"\\", "\\\\"}, {"\"", "\\\""}, {"\n", "\\n"}}), "\"");
    separator = ',';
  }
  if (separator == ',') name += '}';
  if (name.size() <= kMaxNameBytes) return name;
  return absl::InvalidArgumentError(absl::StrCat("series '", ShownText(name), "': expected a name of at most ",
                                                 kMaxNameBytes, " bytes, got ", name.size(),
                                                 " (--by=LABEL,... keeps these labels only)"));
}

}  // namespace astray
