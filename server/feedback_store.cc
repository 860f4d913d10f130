#include "server/feedback_store.h"

#include <algorithm>
#include <limits>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/file.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"
#include "server/feedback_log.h"
#include "spdlog/spdlog.h"

namespace astray {
namespace {

constexpr size_t kMaxFiles = 256;                       // of a model, though each were damaged
constexpr uint64_t kMaxFileBytes = uint64_t{64} << 20;  // that a reader takes, whoever wrote it

// What the record is about, whatever was said of it.
std::string RowsKey(const v1::FeedbackRecord& record) {
  v1::FeedbackRecord rows;
  rows.set_features_sha256(record.features_sha256());
  *rows.mutable_values() = record.values();
  *rows.mutable_lines() = record.lines();
  return Sha256(rows.SerializeAsString());
}

// The number of "<number>.log"; 0 for any other name.
uint64_t ParseFileName(absl::string_view name) {
  uint64_t number = 0;
  if (!absl::ConsumeSuffix(&name, ".log") || name.empty() || name[0] < '1' || name[0] > '9' ||
      !absl::SimpleAtoi(name, &number) || number == std::numeric_limits<uint64_t>::max()) {
    return 0;
  }
  return number;
}

std::filesystem::path FilePath(const std::filesystem::path& folder, uint64_t number) {
  return folder / absl::StrCat(number, ".log");
}

absl::Status CannotWrite(const absl::Status& status) {
  return absl::FailedPreconditionError(absl::StrCat("feedback cannot be kept: ", status.message()));
}

}  // namespace

absl::StatusOr<FeedbackStore::Model> FeedbackStore::Load(const std::string& name,
                                                         std::vector<v1::FeedbackRecord>* records) const {
  Model model;
  std::error_code error;
  std::filesystem::directory_iterator it(Folder(name), error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    if (const uint64_t number = ParseFileName(it->path().filename().string()); number > 0) {
      model.files.push_back({.number = number});
    }
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return absl::FailedPreconditionError(absl::StrCat(Folder(name).string(), ": ", error.message()));
  }
  std::ranges::sort(model.files, {}, &File::number);
  std::vector<std::pair<std::string, v1::FeedbackRecord>> all;
  for (File& file : model.files) {
    const std::filesystem::path path = FilePath(Folder(name), file.number);
    const absl::StatusOr<std::string> bytes = ReadFile(path, kMaxFileBytes);
    if (!bytes.ok()) {
      spdlog::error("model {}: feedback: {}; passed over", name, std::string(bytes.status().message()));
      file.damaged = 1;
      continue;
    }
    FeedbackLog log = ParseFeedbackLog(*bytes);
    if (!log.clean) spdlog::warn("{}: {} damaged places, passed over", path.string(), log.damaged);
    file.bytes = bytes->size();
    file.records = log.records.size();
    file.damaged = log.damaged;
    file.clean = log.clean;
    for (v1::FeedbackRecord& record : log.records) {
      std::string key = RowsKey(record);
      model.newest[key] = {record.kind(), record.segment(), file.number};
      if (records != nullptr) all.emplace_back(std::move(key), std::move(record));
    }
  }
  if (records == nullptr) return model;
  absl::flat_hash_map<std::string, size_t> last;
  for (size_t i = 0; i < all.size(); ++i) last[all[i].first] = i;
  for (size_t i = 0; i < all.size(); ++i) {
    if (last[all[i].first] == i) records->push_back(std::move(all[i].second));
  }
  return model;
}

absl::StatusOr<FeedbackStore::Model*> FeedbackStore::Find(const std::string& name) {
  if (const auto it = models_.find(name); it != models_.end()) return &it->second;
  ASSIGN_OR_RETURN(Model model, Load(name, nullptr));
  return &(models_[name] = std::move(model));
}

void FeedbackStore::DropOldest(const std::string& name, uint64_t more_bytes, Model* model) {
  const auto too_much = [&] {
    size_t records = 1;
    uint64_t bytes = more_bytes;
    for (const File& file : model->files) {
      records += file.records;
      bytes += file.bytes;
    }
    return records > options_.max_records || bytes > options_.max_bytes || model->files.size() >= kMaxFiles;
  };
  while (!model->files.empty() && too_much()) {
    const uint64_t oldest = model->files.front().number;
    std::error_code error;
    std::filesystem::remove(FilePath(Folder(name), oldest), error);
    if (error) {
      spdlog::warn("{}: cannot be removed: {}", FilePath(Folder(name), oldest).string(), error.message());
      return;
    }
    std::erase_if(model->newest, [&](const auto& entry) { return entry.second.file == oldest; });
    // The next file's number is above those that were.
    if (model->files.size() == 1) {
      model->files.front() = {.number = oldest};
      return;
    }
    model->files.erase(model->files.begin());
  }
}

absl::Status FeedbackStore::Append(const std::string& name, const std::string& frame, Model* model) {
  RETURN_IF_ERROR(CreateFolder(Folder(name)));
  DropOldest(name, kFeedbackMagic.size() + frame.size(), model);
  const File* last = model->files.empty() ? nullptr : &model->files.back();
  if (last == nullptr || !last->clean || last->records >= options_.file_records ||
      last->bytes + frame.size() > options_.file_bytes) {
    const uint64_t number = last == nullptr ? 1 : last->number + 1;
    const std::string content = absl::StrCat(kFeedbackMagic, frame);
    if (absl::Status status = AppendToFile(FilePath(Folder(name), number), 0, content); !status.ok()) {
      // On a full disk, every try would leave another one.
      std::error_code ignored;
      std::filesystem::remove(FilePath(Folder(name), number), ignored);
      return status;
    }
    model->files.push_back({.number = number, .bytes = content.size(), .records = 1, .clean = true});
    return absl::OkStatus();
  }
  File& file = model->files.back();
  RETURN_IF_ERROR(AppendToFile(FilePath(Folder(name), file.number), file.bytes, frame));
  file.bytes += frame.size();
  ++file.records;
  return absl::OkStatus();
}

absl::StatusOr<FeedbackStore::Added> FeedbackStore::Add(const std::string& name, const v1::FeedbackRecord& record) {
  ASSIGN_OR_RETURN(const std::string frame, FrameFeedback(record));
  const std::string key = RowsKey(record);
  absl::MutexLock lock(&mutex_);
  // Once more from the files where they are not as we left them.
  for (int attempt = 0;; ++attempt) {
    ASSIGN_OR_RETURN(Model * model, Find(name));
    const auto newest = model->newest.find(key);
    if (newest != model->newest.end() && newest->second.kind == record.kind() &&
        newest->second.segment == record.segment()) {
      return Added{.known = true, .kept = Summarize(*model)};
    }
    const absl::Status status = Append(name, frame, model);
    if (status.ok()) {
      model->newest[key] = {record.kind(), record.segment(), model->files.back().number};
      return Added{.known = false, .kept = Summarize(*model)};
    }
    models_.erase(name);
    if (attempt > 0 || !(absl::IsFailedPrecondition(status) || absl::IsNotFound(status))) return CannotWrite(status);
  }
}

v1::FeedbackSummary FeedbackStore::Summarize(const Model& model) {
  v1::FeedbackSummary summary;
  for (const auto& [key, newest] : model.newest) {
    if (newest.kind == v1::FeedbackRecord::FALSE_ALARM) {
      summary.set_false_alarms(summary.false_alarms() + 1);
    } else {
      summary.set_confirmed_anomalies(summary.confirmed_anomalies() + 1);
    }
  }
  for (const File& file : model.files) {
    summary.set_bytes(summary.bytes() + file.bytes);
    summary.set_damaged_records(summary.damaged_records() + file.damaged);
  }
  return summary;
}

absl::StatusOr<v1::FeedbackSummary> FeedbackStore::Summary(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const Model* model, Find(name));
  return Summarize(*model);
}

absl::StatusOr<std::vector<v1::FeedbackRecord>> FeedbackStore::Read(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  std::vector<v1::FeedbackRecord> records;
  ASSIGN_OR_RETURN(models_[name], Load(name, &records));
  return records;
}

}  // namespace astray
