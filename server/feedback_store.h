// What users said of verdicts, on disk: models/<name>/feedback/<number>.log (feedback_log.h), numbers from 1 on.
//
// A record is durable when Add returns. A crash at any moment leaves every record that was acknowledged; a file that
// ends in half a record, or is damaged, is left as it is, and the next record begins a new one. Where a model has
// kMaxRecords or kMaxBytes, its oldest file goes. Of records on the same rows, the newest counts. Thread-safe; it reads
// and writes files under its lock: not for threads that must not wait. One server a folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "astray/v1/calibration.pb.h"
#include "astray/v1/service.pb.h"

namespace astray {

class FeedbackStore {
 public:
  struct Options {
    size_t max_records = 10'000;              // of a model
    uint64_t max_bytes = uint64_t{64} << 20;  // of its files
    size_t file_records = 1'000;              // then a new file is begun
    uint64_t file_bytes = uint64_t{4} << 20;
  };
  FeedbackStore(std::filesystem::path base_path, const Options& options)
      : base_path_(std::move(base_path)), options_(options) {}

  struct Added {
    bool known = false;  // the same rows had the same kind and segment
    v1::FeedbackSummary kept;
  };
  // InvalidArgument: CheckFeedback. FailedPrecondition: the model's folder cannot be written.
  absl::StatusOr<Added> Add(const std::string& name, const v1::FeedbackRecord& record) ABSL_LOCKS_EXCLUDED(mutex_);

  absl::StatusOr<v1::FeedbackSummary> Summary(const std::string& name) ABSL_LOCKS_EXCLUDED(mutex_);
  // Those that count, oldest first. Reads the files.
  absl::StatusOr<std::vector<v1::FeedbackRecord>> Read(const std::string& name) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct File {
    uint64_t number = 0, bytes = 0;
    size_t records = 0;
    uint64_t damaged = 0;
    bool clean = false;
  };
  struct Newest {  // of the records on some rows
    v1::FeedbackRecord::Kind kind;
    std::string segment;
    uint64_t file;
  };
  struct Model {
    std::vector<File> files;               // ascending
    std::map<std::string, Newest> newest;  // by RowsKey
  };

  std::filesystem::path Folder(const std::string& name) const { return base_path_ / name / "feedback"; }
  // Reads a model's files; `records` may be null.
  absl::StatusOr<Model> Load(const std::string& name, std::vector<v1::FeedbackRecord>* records) const;
  absl::StatusOr<Model*> Find(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Append(const std::string& name, const std::string& frame, Model* model);
  void DropOldest(const std::string& name, uint64_t more_bytes, Model* model);
  static v1::FeedbackSummary Summarize(const Model& model);

  const std::filesystem::path base_path_;
  const Options options_;
  absl::Mutex mutex_;
  std::map<std::string, Model> models_ ABSL_GUARDED_BY(mutex_);  // those asked for, as they are on disk
};

}  // namespace astray
