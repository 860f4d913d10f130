#include "client/commands/models.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "client/calibration_text.h"
#include "client/client.h"
#include "engine/base/status_macros.h"

namespace astray {
namespace {

struct Flags {
  ServerFlags server;
  std::string new_label;
  int64_t version = 0;
  uint64_t epoch = 0;
  std::optional<double> max_disagreement;
  uint64_t min_rows = 0;
  bool remove = false, latest = false, off = false, json = false;
};

void Print(const v1::ModelSummary& model, std::ostream& out) {
  for (const v1::VersionSummary& version : model.versions()) {
    std::vector<std::string> labels;
    for (const auto& [label, labelled] : model.labels()) {
      if (labelled == version.version()) labels.push_back(label);
    }
    std::sort(labels.begin(), labels.end());
    out << absl::StrFormat("%-24s %7d  %-9s %5d  %12.6g  %-12s  %-4s  %s\n", model.name(), version.version(),
                           absl::AsciiStrToLower(v1::VersionSummary::State_Name(version.state())),
                           version.calibration_epoch(), version.threshold(), version.artifact_sha256().substr(0, 12),
                           version.live() ? "*" : "", absl::StrJoin(labels, ","));
    if (!version.error().empty()) out << "  " << version.error() << "\n";
  }
  if (model.versions().empty()) out << model.name() << ": no versions\n";
}

void PrintHead(std::ostream& out) {
  out << absl::StrFormat("%-24s %7s  %-9s %5s  %12s  %-12s  %-4s  %s\n", "model", "version", "state", "epoch",
                         "threshold", "artifact", "live", "labels");
}

void Print(const v1::CalibrationSummary& c, std::ostream& out) {
  const std::string made =
      c.created_unix_seconds() == 0
          ? "with the artifact"
          : absl::FormatTime(absl::RFC3339_sec, absl::FromUnixSeconds(c.created_unix_seconds()), absl::UTCTimeZone());
  out << absl::StrFormat("  epoch %-5d threshold %-12.6g false-positive rate %-8.3g of %d errors, %s%s\n", c.epoch(),
                         c.threshold(), c.false_positive_rate(), c.samples(), made, c.live() ? "  (live)" : "");
  PrintCalibrationDetails(c, "    ", out);
}

void Print(const v1::DriftSummary& drift, std::ostream& out) {
  out << absl::StrFormat("%-24s %s\n", "drift", drift.advice());
  out << absl::StrFormat(
      "  errors                 change statistic 10^%.1f of 10^%.0f%s, martingale 10^%.1f, at most 10^%.1f\n",
      drift.error_change_log10(), std::log10(drift.alarm_rows()),
      drift.alarm() ? absl::StrFormat(" (alarm at row %d)", drift.alarm_at_row()) : "", drift.martingale_log10(),
      drift.martingale_peak_log10());
  out << absl::StrFormat(
      "  anomalous rows         %.3g %% of recent ones, calibrated for %.3g %%, change statistic 10^%.1f\n",
      100 * drift.anomaly_rate(), 100 * drift.calibrated_anomaly_rate(), drift.rate_change_log10());
  out << absl::StrFormat("  features               largest PSI %s, %d of %d moved\n",
                         drift.has_psi_max() ? absl::StrFormat("%.2f", drift.psi_max()) : "unknown",
                         drift.shifted_features(), drift.features_size());
  out << absl::StrFormat("  rows                   %d scored, %d counted (one in %d or fewer), values of %d\n",
                         drift.scored_rows(), drift.counted_rows(), drift.spacing(), drift.sampled_rows());
}

void Print(const v1::ShadowSummary& shadow, std::ostream& out) {
  if (!shadow.error().empty()) {
    out << absl::StrFormat("%-24s version %d: nothing is compared: %s\n", "shadow", shadow.version(), shadow.error());
    return;
  }
  out << absl::StrFormat("%-24s version %d epoch %d beside version %d epoch %d\n", "shadow", shadow.version(),
                         shadow.epoch(), shadow.live_version(), shadow.live_epoch());
  out << absl::StrFormat("  %d rows compared, %d dropped\n", shadow.rows(), shadow.dropped_rows());
  out << absl::StrFormat("  disagreement %.6g: %d anomalous for the candidate alone, %d for the live version alone\n",
                         shadow.disagreement(), shadow.only_candidate_anomalous(), shadow.only_live_anomalous());
  out << absl::StrFormat("  score difference %.6g on average, %.6g at most\n", shadow.mean_score_difference(),
                         shadow.max_score_difference());
  out << absl::StrFormat("  %.3g us a row, the live version %.3g us\n", 1e6 * shadow.candidate_seconds_per_row(),
                         1e6 * shadow.live_seconds_per_row());
}

void Print(const v1::SetShadowResponse& reply, std::ostream& out) {
  if (reply.has_shadow()) return Print(reply.shadow(), out);
  out << absl::StrFormat("%-24s none\n", "shadow");
}

void Print(const v1::ModelDescription& model, std::ostream& out) {
  out << absl::StrFormat("%-24s %s version %d, %s%s\n", "model", model.name(), model.version().version(),
                         absl::AsciiStrToLower(v1::VersionSummary::State_Name(model.version().state())),
                         model.version().live() ? ", live" : "");
  out << absl::StrFormat("%-24s %s\n", "labels", model.labels().empty() ? "none" : absl::StrJoin(model.labels(), ", "));
  out << absl::StrFormat("%-24s %s\n", "artifact SHA-256", model.version().artifact_sha256());
  out << absl::StrFormat("%-24s %d rows of %d features, %d parameters\n", "window", model.window(),
                         model.features_size(), model.parameters());
  out << "calibrations\n";
  for (const v1::CalibrationSummary& calibration : model.calibrations()) Print(calibration, out);
  if (model.has_drift()) Print(model.drift(), out);
  if (model.has_shadow()) Print(model.shadow(), out);
  if (model.has_feedback()) {
    out << absl::StrFormat("%-24s %d false alarms, %d confirmed anomalies\n", "feedback",
                           model.feedback().false_alarms(), model.feedback().confirmed_anomalies());
  }
  out << absl::StrFormat("%-24s %12s %12s %12s %6s\n", "feature", "min", "mean", "max", "PSI");
  for (int i = 0; i < model.features_size() && i < model.profiles_size(); ++i) {
    const v1::ColumnProfile& profile = model.profiles(i);
    const bool known = i < model.drift().features_size() && model.drift().features(i).has_psi();
    out << absl::StrFormat("%-24s %12.6g %12.6g %12.6g %6s\n", model.features(i), profile.min(), profile.mean(),
                           profile.max(), known ? absl::StrFormat("%.2f", model.drift().features(i).psi()) : "-");
  }
}

void Print(const v1::CalibrationChange& change, std::ostream& out) {
  if (change.previous_version() != change.live_version()) {
    out << absl::StrFormat("%s version %d is live; before: version %d\n", change.model(), change.live_version(),
                           change.previous_version());
    return;
  }
  if (change.previous().epoch() == change.live().epoch()) {
    out << change.model() << " version " << change.version() << ", as before:\n";
  } else {
    out << change.model() << " version " << change.version() << ", before and now:\n";
    Print(change.previous(), out);
  }
  Print(change.live(), out);
}

void Print(const v1::ListModelsResponse& reply, std::ostream& out) {
  PrintHead(out);
  for (const v1::ModelSummary& model : reply.models()) Print(model, out);
}

// LoadModel, UnloadModel and SetLabel all answer with how the model stands now.
template <typename Reply>
void Print(const Reply& reply, std::ostream& out) {
  PrintHead(out);
  Print(reply.model(), out);
}

// A subcommand that makes one call and prints its reply.
template <typename Reply>
CLI::App* AddCall(CLI::App& models, CommandContext& context, const std::shared_ptr<Flags>& flags,
                  const std::string& name, const std::string& description, const std::string& example,
                  std::function<absl::StatusOr<Reply>(Client&, const Flags&)> call) {
  CLI::App* command = AddCommand(models, context, name, description, "  astray models " + example,
                                 [flags, &context, call = std::move(call)]() -> absl::Status {
                                   const auto client = Client::Connect(flags->server.server, {});
                                   ASSIGN_OR_RETURN(const Reply reply, call(*client, *flags));
                                   if (flags->json) {
                                     context.out << ToJson(reply) << "\n";
                                   } else {
                                     Print(reply, context.out);
                                   }
                                   return absl::OkStatus();
                                 });
  flags->server.AddServer(command);
  command->add_flag("--json", flags->json, "Print JSON");
  return command;
}

void AddName(CLI::App* command, Flags* flags) {
  command->add_option("--model", flags->server.model, "Name of the model")->required();
}

absl::StatusOr<v1::CalibrationChange> Promote(Client& client, const Flags& flags) {
  v1::PromotionGate gate;
  if (flags.max_disagreement) gate.set_max_disagreement(*flags.max_disagreement);
  gate.set_min_rows(flags.min_rows);
  if (!flags.max_disagreement && flags.min_rows > 0) {
    return UsageError("--min-rows: expected --max-disagreement with it");
  }
  if (flags.epoch > 0) {
    v1::PromoteCalibrationRequest request;
    *request.mutable_model() = flags.server.ref();
    request.set_epoch(flags.epoch);
    if (flags.max_disagreement) *request.mutable_gate() = gate;
    return client.PromoteCalibration(request);
  }
  if (flags.server.ref().choice_case() != v1::ModelRef::CHOICE_NOT_SET) {
    return UsageError("--model-version, --label: expected only with --epoch; --version says what to promote");
  }
  v1::PromoteVersionRequest request;
  request.set_name(flags.server.model);
  request.set_version(flags.latest ? 0 : flags.version);
  if (flags.max_disagreement) *request.mutable_gate() = gate;
  return client.PromoteVersion(request);
}

void AddPromote(CLI::App& models, CommandContext& context, const std::shared_ptr<Flags>& flags) {
  CLI::App* command =
      AddCall<v1::CalibrationChange>(models, context, flags, "promote", "Make a version or a calibration live",
                                     "promote --model=pump --version=2 --max-disagreement=0.01 --min-rows=1000\n"
                                     "  astray models promote --model=pump --epoch=2",
                                     Promote);
  flags->server.AddModel(command);
  CLI::Option_group* what = command->add_option_group("what");
  what->add_option("--version", flags->version, "Version, for requests that name neither a version nor a label")
      ->check(CLI::PositiveNumber);
  what->add_option("--epoch", flags->epoch, "Calibration, see models describe")->check(CLI::PositiveNumber);
  what->add_flag("--latest", flags->latest, "Whichever version is the latest, now and later");
  what->require_option(1);
  command
      ->add_option("--max-disagreement", flags->max_disagreement,
                   "Only if it is the shadow, and differs from the live version on at most this share of rows")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--min-rows", flags->min_rows, "Rows that the shadow must have compared for it");
}

void AddShadow(CLI::App& models, CommandContext& context, const std::shared_ptr<Flags>& flags) {
  CLI::App* command = AddCall<v1::SetShadowResponse>(
      models, context, flags, "shadow", "Let a candidate score the live version's traffic, too",
      "shadow --model=pump --version=2\n  astray models shadow --model=pump --off", [](Client& client, const Flags& f) {
        v1::SetShadowRequest request;
        request.set_name(f.server.model);
        if (f.version > 0) request.set_version(f.version);
        if (f.epoch > 0) request.set_epoch(f.epoch);
        return client.SetShadow(request);
      });
  AddName(command, flags.get());
  CLI::Option_group* what = command->add_option_group("what");
  what->add_option("--version", flags->version, "Version")->check(CLI::PositiveNumber);
  what->add_option("--epoch", flags->epoch, "Calibration of the live version")->check(CLI::PositiveNumber);
  what->add_flag("--off", flags->off, "None any more");
  what->require_option(1);
}

void AddLabel(CLI::App& models, CommandContext& context, const std::shared_ptr<Flags>& flags) {
  CLI::App* command = AddCall<v1::SetLabelResponse>(
      models, context, flags, "label", "Point a label at a version, or remove it",
      "label --model=pump --label=stable --model-version=2", [](Client& client, const Flags& f) {
        v1::SetLabelRequest request;
        request.set_name(f.server.model);
        request.set_label(f.new_label);
        request.set_version(f.remove ? 0 : f.version);
        return client.SetLabel(request);
      });
  AddName(command, flags.get());
  command->add_option("--label", flags->new_label, "The label")->required();
  CLI::Option_group* target = command->add_option_group("target");
  target->add_option("--model-version", flags->version, "Version that it points at")->check(CLI::PositiveNumber);
  target->add_flag("--remove", flags->remove, "Remove it");
  target->require_option(1);
}

}  // namespace

void AddModelsCommand(CLI::App& app, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& models = *app.add_subcommand("models", "See and change what a server serves");
  models.require_subcommand(1);

  AddCall<v1::ListModelsResponse>(models, context, flags, "list", "List models, versions and why one failed",
                                  "list --server=localhost:8001",
                                  [](Client& client, const Flags&) { return client.ListModels(); });
  flags->server.AddModel(AddCall<v1::ModelDescription>(
      models, context, flags, "describe", "Show a version's features, calibrations and drift", "describe --model=pump",
      [](Client& client, const Flags& f) { return client.DescribeModel(f.server.ref()); }));
  AddName(AddCall<v1::LoadModelResponse>(
              models, context, flags, "load", "Look at a model's folder now", "load --model=pump",
              [](Client& client, const Flags& f) { return client.LoadModel(f.server.model); }),
          flags.get());
  CLI::App* unload = AddCall<v1::UnloadModelResponse>(
      models, context, flags, "unload", "Stop serving a model or one version", "unload --model=pump --model-version=1",
      [](Client& client, const Flags& f) { return client.UnloadModel(f.server.model, f.version); });
  AddName(unload, flags.get());
  unload->add_option("--model-version", flags->version, "Version (default: all)")->check(CLI::PositiveNumber);
  AddPromote(models, context, flags);
  flags->server.AddModel(AddCall<v1::CalibrationChange>(
      models, context, flags, "rollback", "Undo the last promotion, of a version or of a calibration",
      "rollback --model=pump",
      [](Client& client, const Flags& f) { return client.RollbackCalibration(f.server.ref()); }));
  AddShadow(models, context, flags);
  AddLabel(models, context, flags);
}

}  // namespace astray
