#include "client/offline_scoring.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "engine/base/status_macros.h"
#include "engine/detect/alarm_tracker.h"
#include "engine/detect/verdict_message.h"

namespace astray {
namespace {

constexpr size_t kPieceBytes = 1 << 20;

// Lets pieces through one after the other, in their order.
class Turns {
 public:
  // Waits for the pieces before `piece` to be done.
  void Begin(uint64_t piece) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    const auto is_next = [this, piece]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return next_ == piece; };
    mutex_.Await(absl::Condition(&is_next));
  }
  void Done() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    ++next_;
  }

 private:
  absl::Mutex mutex_;
  uint64_t next_ ABSL_GUARDED_BY(mutex_) = 0;
};

// What a thread has of its piece; used again from piece to piece.
struct Piece {
  uint64_t number = 0;
  CsvPiece bytes;
  std::vector<float> values;  // [window - 1 rows before, then its own]
  std::vector<Row> rows;      // the first row_count
  size_t row_count = 0;
  absl::Status cut, read;  // what became of cutting it from the file, and of reading it
  size_t rows_before = 0;
  ScoreResult result;
  std::vector<v1::Verdict> verdicts;
  std::string text;
  size_t anomalies = 0;
};

class CsvScoring {
 public:
  CsvScoring(const Detector& detector, const StreamPolicy& policy, const ScoreOptions& options, CsvReader* reader,
             const VerdictOutput& output)
      : detector_(detector),
        options_(options),
        output_(output),
        width_(detector.features()),
        memory_(detector.window() - 1),
        reader_(reader),
        place_(reader->place()),
        alarm_(&policy) {}

  absl::Status Run(size_t threads) {
    std::vector<std::thread> others;
    for (size_t i = 1; i < threads; ++i) others.emplace_back([this] { Work(); });
    Work();
    for (std::thread& thread : others) thread.join();
    return status_;
  }

 private:
  void Work() {
    const std::unique_ptr<CsvReader> reader = reader_->ForPieces();
    Piece piece;
    while (Take(&piece)) {
      if (piece.cut.ok()) {
        reader->Load(&piece.bytes, {});
        piece.read = Read(reader.get(), &piece);
      } else {
        piece.read = piece.cut;
      }
      // After an error nothing is scored any more, but everyone has his turn.
      numbering_.Begin(piece.number);
      const bool wanted = !failed_;
      if (wanted) Number(reader.get(), &piece);
      numbering_.Done();
      const absl::Status scored = wanted ? Score(&piece) : absl::OkStatus();
      alarms_.Begin(piece.number);
      if (wanted && scored.ok()) {
        for (size_t i = 0; i < piece.row_count; ++i) alarm_.Update(/*time=*/0, &piece.verdicts[i]);
      }
      alarms_.Done();
      if (wanted && scored.ok()) Format(&piece);
      writing_.Begin(piece.number);
      if (wanted && status_.ok()) {
        status_ = scored;
        if (scored.ok()) Write(piece);
        status_.Update(piece.read);
      }
      writing_.Done();
    }
  }

  // The next piece of the file; false at its end.
  bool Take(Piece* piece) ABSL_LOCKS_EXCLUDED(file_) {
    absl::MutexLock lock(&file_);
    if (ended_) return false;
    const absl::StatusOr<bool> more = reader_->NextPiece(kPieceBytes, &piece->bytes);
    ended_ = !more.ok() || !*more;
    if (ended_ && more.ok()) return false;
    piece->cut = more.status();
    piece->row_count = 0;
    piece->number = taken_++;
    return true;
  }

  absl::Status Read(CsvReader* reader, Piece* piece) const {
    piece->row_count = 0;
    piece->values.resize(std::max(piece->values.size(), memory_ * width_));
    for (;;) {
      const size_t i = piece->row_count;
      if (piece->rows.size() == i) piece->rows.emplace_back();
      const size_t begin = (memory_ + i) * width_;
      if (piece->values.size() < begin + width_)
        piece->values.resize(std::max(begin + width_, 2 * piece->values.size()));
      ASSIGN_OR_RETURN(const bool more, reader->Next(piece->values.data() + begin, &piece->rows[i]));
      if (!more) return absl::OkStatus();
      ++piece->row_count;
    }
  }

  // In turn: the rows get their numbers, and those before the piece's own.
  void Number(CsvReader* reader, Piece* piece) {
    if (!piece->read.ok()) {
      // Once more, for an error that tells the true row.
      if (piece->cut.ok()) {
        reader->Reload(place_);
        piece->read = Read(reader, piece);
      }
      failed_ = true;
      absl::MutexLock lock(&file_);
      ended_ = true;
    } else {
      const CsvPlace here = reader->place();
      for (size_t i = 0; i < piece->row_count; ++i) piece->rows[i].number += place_.rows;
      place_.rows += here.rows;
      place_.line += here.line - CsvPlace().line;
      for (size_t i = 0; i < here.numbers_seen.size(); ++i) place_.numbers_seen[i] |= here.numbers_seen[i];
    }
    piece->rows_before = before_.size() / width_;
    float* const own = piece->values.data() + memory_ * width_;
    std::ranges::copy(before_, own - before_.size());
    const size_t kept = std::min(memory_, piece->rows_before + piece->row_count) * width_;
    before_.assign(own + piece->row_count * width_ - kept, own + piece->row_count * width_);
  }

  absl::Status Score(Piece* piece) const {
    if (piece->verdicts.size() < piece->row_count) piece->verdicts.resize(piece->row_count);
    const auto rows =
        std::span<const float>(piece->values)
            .subspan((memory_ - piece->rows_before) * width_, (piece->rows_before + piece->row_count) * width_);
    RETURN_IF_ERROR(detector_.Score(rows, options_, &piece->result));
    const size_t scored = piece->result.verdicts.size(), warming = piece->row_count - scored;
    for (size_t i = 0; i < piece->row_count; ++i) {
      v1::Verdict& verdict = piece->verdicts[i];
      verdict.Clear();
      if (i < warming) {
        FillUnscored(v1::Verdict::WARMING_UP, &verdict);
      } else {
        FillVerdict(detector_, piece->result, i - warming, &verdict);
      }
    }
    return absl::OkStatus();
  }

  void Format(Piece* piece) const {
    piece->text.clear();
    piece->anomalies = 0;
    if (output_.consume) return;
    for (size_t i = 0; i < piece->row_count; ++i) {
      output_.format(piece->rows[i], piece->verdicts[i], &piece->text);
      piece->anomalies += piece->verdicts[i].anomalous() ? 1 : 0;
    }
  }

  void Write(const Piece& piece) const {
    if (!output_.consume) return output_.write(piece.text, piece.row_count, piece.anomalies);
    for (size_t i = 0; i < piece.row_count; ++i) output_.consume(piece.rows[i], piece.verdicts[i]);
  }

  const Detector& detector_;
  const ScoreOptions& options_;
  const VerdictOutput& output_;
  const size_t width_, memory_;  // features; rows before a window's newest

  absl::Mutex file_;
  CsvReader* const reader_;  // used for pieces under file_
  bool ended_ ABSL_GUARDED_BY(file_) = false;
  uint64_t taken_ ABSL_GUARDED_BY(file_) = 0;

  // Each belongs to the piece whose turn it is.
  Turns numbering_, alarms_, writing_;
  CsvPlace place_;
  std::vector<float> before_;  // the last rows, at most memory_
  bool failed_ = false;
  AlarmTracker alarm_;
  absl::Status status_;
};

}  // namespace

absl::Status ScoreCsv(const Detector& detector, const StreamPolicy& policy, const ScoreOptions& options,
                      CsvReader* reader, size_t threads, const VerdictOutput& output) {
  return CsvScoring(detector, policy, options, reader, output).Run(std::max<size_t>(threads, 1));
}

}  // namespace astray
