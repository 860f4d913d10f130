#include "client/verdict_spool.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/detect/false_discovery.h"

namespace astray {
namespace {

absl::Status TemporaryFileError(const char* what) {
  return absl::InternalError(
      absl::StrCat("the temporary file of the verdicts cannot be ", what, ": ", std::strerror(errno)));
}

}  // namespace

absl::StatusOr<VerdictSpool> VerdictSpool::Open() {
  std::FILE* file = std::tmpfile();
  if (file == nullptr) return TemporaryFileError("made");
  return VerdictSpool(file);
}

// Whether a write failed, ferror says at the end.
void VerdictSpool::WriteText(const std::string& text) {
  const auto size = static_cast<uint32_t>(text.size());
  std::fwrite(&size, sizeof(size), 1, file_.get());
  std::fwrite(text.data(), 1, text.size(), file_.get());
}

bool VerdictSpool::ReadText(std::string* text) {
  uint32_t size = 0;
  if (std::fread(&size, sizeof(size), 1, file_.get()) != 1) return false;
  text->resize(size);
  return std::fread(text->data(), 1, size, file_.get()) == size;
}

void VerdictSpool::Add(const Row& row, const v1::Verdict& verdict) {
  ++rows_;
  if (verdict.state() == v1::Verdict::SCORED) p_values_.push_back(verdict.p_value());
  std::fwrite(&row.number, sizeof(row.number), 1, file_.get());
  WriteText(row.timestamp);
  WriteText(row.entity);
  verdict.SerializeToString(&buffer_);
  WriteText(buffer_);
}

absl::Status VerdictSpool::Finish(double false_discovery_rate, const ConsumeVerdict& consume) {
  const double cutoff = FalseDiscoveryCutoff(std::exchange(p_values_, {}), false_discovery_rate);
  if (std::fflush(file_.get()) != 0 || std::ferror(file_.get()) != 0) return TemporaryFileError("written");
  std::rewind(file_.get());
  Row row;
  v1::Verdict verdict;
  for (uint64_t i = 0; i < rows_; ++i) {
    if (std::fread(&row.number, sizeof(row.number), 1, file_.get()) != 1 || !ReadText(&row.timestamp) ||
        !ReadText(&row.entity) || !ReadText(&buffer_) || !verdict.ParseFromString(buffer_)) {
      return TemporaryFileError("read");
    }
    verdict.set_selected(verdict.state() == v1::Verdict::SCORED && verdict.p_value() <= cutoff);
    consume(row, verdict);
  }
  return absl::OkStatus();
}

}  // namespace astray
