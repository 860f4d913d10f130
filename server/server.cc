#include "server/server.h"

#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "grpcpp/grpcpp.h"
#include "server/host_port.h"
#include "server/log_scorer.h"
#include "server/stream_call.h"
#include "server/stream_scorer.h"
#include "spdlog/spdlog.h"

namespace astray {
namespace {

// Calls that were on their way when the drain began are refused for this long: from gRPC's own shutdown on, it answers
// what still comes in with CANCELLED, which no client tries again elsewhere.
constexpr absl::Duration kLameDuck = absl::Milliseconds(50);
// For replies on their way; then health watchers are cut off.
constexpr absl::Duration kFarewell = absl::Milliseconds(200);

absl::Status CheckModelFolder(const std::filesystem::path& path) {
  if (DIR* folder = opendir(path.c_str()); folder != nullptr) {
    closedir(folder);
    return absl::OkStatus();
  }
  const std::string text =
      absl::StrCat("model_base_path: cannot read the folder '", path.string(), "': ", std::strerror(errno));
  if (errno == EACCES) return absl::PermissionDeniedError(text);
  return errno == ENOENT ? absl::NotFoundError(text) : absl::InvalidArgumentError(text);
}

}  // namespace

Server::Server(const ServerConfig& config)
    : config_(config),
      registry_(config.model_base_path, &metrics_, config.keep_calibrations),
      queue_(config.workers, config.queue_rows, &metrics_),
      feedback_(config.model_base_path, {}),
      detection_(
          {&registry_, &queue_, &executor_, &gate_, &metrics_, config.max_calibration_rows, &feedback_, &log_reader_}),
      models_(&registry_, &feedback_, &executor_, &gate_, &metrics_),
      health_({v1::DetectionService::service_full_name(), v1::ModelService::service_full_name()}),
      reflection_({v1::DetectionService::service_full_name(), v1::ModelService::service_full_name(),
                   grpc::health::v1::Health::service_full_name(),
                   grpc::reflection::v1alpha::ServerReflection::service_full_name()}) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerConfig& config, LaneExtension* extension) {
  RETURN_IF_ERROR(CheckModelFolder(config.model_base_path));
  std::unique_ptr<Server> server(new Server(config));
  RETURN_IF_ERROR(server->Listen(extension));
  server->watcher_ = std::thread([raw = server.get()] { raw->WatchModels(); });
  return server;
}

absl::Status Server::Listen(LaneExtension* extension) {
  ASSIGN_OR_RETURN(http_, HttpServer::Start(config_.host, config_.http_port,
                                            {.metrics =
                                                 [this] {
                                                   registry_.RecordDrift();
                                                   metrics_.SetQueueRows(queue_.waiting_rows().rows());
                                                   return metrics_.Serialize();
                                                 },
                                             .ready = [this] { return Ready(); },
                                             .index = [this] { return IndexPage(); }}));
  const std::string address = HostPort(config_.host, config_.port);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &grpc_port_);
  builder.RegisterService(&detection_);
  builder.RegisterService(&models_);
  builder.RegisterService(&health_);
  builder.RegisterService(&reflection_);
  if (extension != nullptr) builder.RegisterService(extension->service());
  for (size_t i = 0; i < config_.workers; ++i) {
    lanes_.push_back(std::make_unique<Lane>(builder.AddCompletionQueue()));
  }
  builder.SetMaxReceiveMessageSize(static_cast<int>(config_.max_message_bytes));
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Finds streams whose client vanished without a word; lets clients look for us as often.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  grpc_ = builder.BuildAndStart();
  if (grpc_ == nullptr || grpc_port_ == 0) {
    return absl::AlreadyExistsError(
        absl::StrCat("grpc: cannot listen on ", address, ": the port is in use or the address is not of this machine"));
  }
  SetReady(false);
  StartLanes(extension);
  return absl::OkStatus();
}

void Server::StartLanes(LaneExtension* extension) {
  detection_.PostRare(lanes_.front().get());
  models_.Post(lanes_.front().get());
  health_.Post(lanes_.front().get());
  reflection_.Post(lanes_.front().get());
  for (const std::unique_ptr<Lane>& lane : lanes_) {
    score_lanes_.push_back(std::make_unique<ScoreLane>(&detection_, lane.get()));
    score_lanes_.back()->PostAll();
    JointScoring* scoring = score_lanes_.back()->scoring();
    stream_lanes_.push_back(std::make_unique<StreamLane<StreamScorer>>(&detection_, lane.get(), scoring));
    stream_lanes_.back()->Post();
    log_stream_lanes_.push_back(std::make_unique<StreamLane<LogScorer>>(&detection_, lane.get(), scoring));
    log_stream_lanes_.back()->Post();
    if (extension != nullptr) extension->Post(lane.get());
    lane->Start();
  }
}

void Server::SetReady(bool ready) {
  metrics_.SetReady(ready);
  health_.SetServing(ready);
}

void Server::WatchModels() {
  while (true) {
    // An error was logged by the registry; the folder may be back the next time.
    registry_.Poll().IgnoreError();
    if (registry_.ready()) BecomeReady();
    absl::MutexLock lock(&mutex_);
    const absl::Duration wait =
        config_.poll_interval > absl::ZeroDuration() ? config_.poll_interval : absl::InfiniteDuration();
    if (mutex_.AwaitWithTimeout(absl::Condition(&draining_), wait)) return;
  }
}

void Server::BecomeReady() {
  absl::MutexLock lock(&mutex_);
  if (ready_ || draining_) return;
  ready_ = true;
  SetReady(true);
  Announce();
}

void Server::Announce() {
  size_t models = 0;
  const v1::ListModelsResponse list = registry_.List();
  for (const v1::ModelSummary& model : list.models()) {
    const auto serves = [](const v1::VersionSummary& version) {
      return version.state() == v1::VersionSummary::SERVING;
    };
    models += std::any_of(model.versions().begin(), model.versions().end(), serves) ? 1 : 0;
  }
  spdlog::info("astrayd ready: grpc {} http {}, {} model{}", HostPort(config_.host, grpc_port()),
               HostPort(config_.host, http_port()), models, models == 1 ? "" : "s");
  if (config_.port_file.empty()) return;
  const std::string ports = absl::StrCat(grpc_port(), " ", http_port(), "\n");
  if (const absl::Status status = WriteFileAtomically(config_.port_file, ports); !status.ok()) {
    spdlog::error("port file: {}", std::string(status.message()));
  }
}

bool Server::Ready() {
  absl::MutexLock lock(&mutex_);
  return ready_ && !draining_;
}

bool Server::AwaitReady(absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&ready_), timeout);
}

void Server::Drain() {
  {
    absl::MutexLock lock(&mutex_);
    if (std::exchange(draining_, true)) return;
    if (grpc_ != nullptr) SetReady(false);
  }
  if (grpc_ != nullptr) {
    gate_.Close();
    detection_.EndStreams();
    const bool empty = gate_.AwaitEmpty(config_.drain_timeout);
    if (!empty) {
      spdlog::warn("calls still in flight after {} are cancelled", absl::FormatDuration(config_.drain_timeout));
    }
    absl::SleepFor(kLameDuck);
    grpc_->Shutdown(absl::ToChronoTime(absl::Now() + kFarewell));
    grpc_->Wait();
  }
  if (watcher_.joinable()) watcher_.join();
  // The workers and executors before the lanes: a reply that they finish goes through a lane's queue.
  queue_.Shutdown();
  log_reader_.Shutdown();
  executor_.Shutdown();
  for (const std::unique_ptr<Lane>& lane : lanes_) lane->Shutdown();
  http_.reset();
}

Server::~Server() { Drain(); }

std::string Server::IndexPage() const {
  // Names are of CheckModelName's alphabet: nothing in them needs escaping.
  std::string page =
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>astrayd</title></head><body>"
      "<h1>astrayd " ASTRAY_VERSION
      "</h1><p><a href=\"/metrics\">/metrics</a> <a href=\"/healthz\">/healthz</a> "
      "<a href=\"/readyz\">/readyz</a></p><table><tr><th>model</th><th>version</th><th>state</th>"
      "<th>calibration epoch</th><th>threshold</th></tr>\n";
  const v1::ListModelsResponse list = registry_.List();
  for (const v1::ModelSummary& model : list.models()) {
    for (const v1::VersionSummary& version : model.versions()) {
      absl::StrAppend(&page, "<tr><td>", model.name(), "</td><td>", version.version(), "</td><td>",
                      v1::VersionSummary::State_Name(version.state()), "</td><td>", version.calibration_epoch(),
                      "</td><td>", version.threshold(), "</td></tr>\n");
    }
  }
  return page + "</table></body></html>\n";
}

}  // namespace astray
