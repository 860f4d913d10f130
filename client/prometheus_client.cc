#include "client/prometheus_client.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "client/command.h"
#include "client/http_fetch.h"
#include "client/prometheus_response.h"
#include "engine/base/shown_text.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

constexpr absl::string_view kScheme = "prometheus:";
constexpr long kOk = 200, kBadRequest = 400;

std::string WithoutPassword(absl::string_view url) {
  const size_t begin = url.find("://") + 3;
  const size_t at = url.substr(0, url.find('/', begin)).rfind('@');
  return at == absl::string_view::npos ? std::string(url) : absl::StrCat(url.substr(0, begin), url.substr(at + 1));
}

std::string Seconds(int64_t ms) { return absl::StrFormat("%d.%03d", ms / 1000, ms % 1000); }

}  // namespace

void PrometheusFlags::Add(CLI::App* command) {
  command->add_option("--query", queries, "With prometheus:, what to ask for, in PromQL; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--step", step, "With prometheus:, the time between rows")->capture_default_str();
  command->add_option("--by", by, "With prometheus:, labels that features' names keep (default: all)")->delimiter(',');
}

bool IsPrometheusSource(absl::string_view text) { return absl::StartsWith(text, kScheme); }

absl::StatusOr<PrometheusClient> PrometheusClient::Make(absl::string_view source, const PrometheusFlags& flags,
                                                        int stop_fd) {
  PrometheusClient client;
  const absl::string_view url = absl::StripSuffix(absl::StripPrefix(source, kScheme), "/");
  if (!absl::StartsWith(url, "http://") && !absl::StartsWith(url, "https://")) {
    return UsageError(
        absl::StrCat("prometheus: expected a URL that begins with http://, got \"", ShownText(url), "\""));
  }
  client.url_ = std::string(url);
  client.shown_url_ = WithoutPassword(url);
  client.queries_ = flags.queries;
  client.by_ = flags.by;
  client.stop_fd_ = stop_fd;
  if (flags.queries.empty()) return UsageError("--query: expected at least one with prometheus:, got none");
  for (const std::string& query : flags.queries) {
    if (query.empty()) return UsageError("--query: expected PromQL, got nothing");
  }
  absl::Duration step;
  if (!absl::ParseDuration(flags.step, &step) || step < absl::Milliseconds(1) || step > absl::Hours(24) ||
      step % absl::Milliseconds(1) != absl::ZeroDuration()) {
    return UsageError(
        absl::StrCat("--step: expected a time from 1ms to 24h such as 15s, got \"", ShownText(flags.step), "\""));
  }
  client.step_ms_ = absl::ToInt64Milliseconds(step);
  return client;
}

int64_t PrometheusClient::StepAt(absl::Time time) const { return absl::ToUnixMillis(time) / step_ms_; }

absl::Status PrometheusClient::AskOne(const std::string& query, int64_t first, int64_t last,
                                      std::vector<PrometheusFeature>* features) const {
  const auto error = [&](absl::StatusCode code, absl::string_view text) {
    return absl::Status(code, absl::StrCat(shown_url_, ": query ", ShownText(query, 80), ": ", text));
  };
  HttpRequest request;
  request.stop_fd = stop_fd_;
  request.parameters = {{"query", query}};
  if (first == last) {
    request.url = url_ + "/api/v1/query";
    request.parameters.emplace_back("time", Seconds(first * step_ms_));
  } else {
    request.url = url_ + "/api/v1/query_range";
    request.timeout = absl::Minutes(1);
    request.parameters.emplace_back("start", Seconds(first * step_ms_));
    request.parameters.emplace_back("end", Seconds(last * step_ms_));
    request.parameters.emplace_back("step", Seconds(step_ms_));
  }
  const absl::StatusOr<HttpReply> reply = HttpFetch(request);
  if (!reply.ok()) return error(reply.status().code(), reply.status().message());
  const auto all = ParsePrometheusResponse(reply->body);
  if (reply->status == kBadRequest && !all.ok()) {
    return error(absl::StatusCode::kInvalidArgument, all.status().message());
  }
  if (reply->status != kOk) return error(absl::StatusCode::kUnavailable, absl::StrCat("HTTP status ", reply->status));
  if (!all.ok()) return error(all.status().code(), all.status().message());
  for (const PrometheusSeries& series : *all) {
    const absl::StatusOr<std::string> name = PrometheusSeriesName(query, series.labels, by_);
    if (!name.ok()) return error(name.status().code(), name.status().message());
    PrometheusFeature feature = {.name = *name};
    for (const auto& [time, value] : series.points) {
      const double k = std::round(time * 1000 / static_cast<double>(step_ms_));
      if (!(k >= static_cast<double>(first) && k <= static_cast<double>(last))) {
        return error(absl::StatusCode::kDataLoss, absl::StrCat("expected the times that were asked for, got ", time));
      }
      feature.readings.emplace_back(static_cast<int64_t>(k), value);
    }
    features->push_back(std::move(feature));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<PrometheusFeature>> PrometheusClient::Ask(int64_t first, int64_t last) const {
  std::vector<PrometheusFeature> features;
  for (const std::string& query : queries_) RETURN_IF_ERROR(AskOne(query, first, last, &features));
  std::set<absl::string_view> seen;
  for (const PrometheusFeature& feature : features) {
    if (seen.insert(feature.name).second) continue;
    return absl::InvalidArgumentError(absl::StrCat(shown_url_, ": series '", ShownText(feature.name, 100),
                                                   "': expected one of this name, got two",
                                                   by_.empty() ? "" : " (--by keeps too few labels)"));
  }
  return features;
}

}  // namespace astray
