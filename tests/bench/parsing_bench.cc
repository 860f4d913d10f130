// What reading and writing CSV costs beside moving the same bytes, and scoring a file beside scoring its rows.
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "client/commands.h"
#include "client/offline_detector.h"
#include "engine/data/csv_reader.h"
#include "engine/data/csv_writer.h"
#include "tests/bench/measurement.h"
#include "tests/bench/shapes.h"
#include "tests/testing/temporary_folder.h"

namespace astray::bench {
namespace {

constexpr size_t kRounds = 7;
constexpr size_t kColumns = 38;
constexpr size_t kRows = 200'000;

double Rate(double seconds, double amount) { return amount / seconds; }
double Quotient(double ours, double reference) { return ours / reference; }

// Six digits a number, as a logger writes them; rows as they are normal for a tiny detector.
std::string NumericCsv() {
  const std::vector<float> rows = TinyRows(kRows, kColumns, 300);
  std::string csv;
  for (size_t j = 0; j < kColumns; ++j) csv += (j == 0 ? "f" : ",f") + std::to_string(j);
  char cell[32];
  for (size_t i = 0; i < rows.size(); ++i) {
    csv += i % kColumns == 0 ? '\n' : ',';
    std::snprintf(cell, sizeof(cell), "%.6g", static_cast<double>(rows[i]));
    csv += cell;
  }
  return csv + "\n";
}

// Sums a file's bytes, in the cache after the first time.
void SumFile(const std::string& path) {
  std::vector<char> buffer(256 << 10);
  const int file = open(path.c_str(), O_RDONLY);
  uint64_t sum = 0;
  for (ssize_t got; (got = read(file, buffer.data(), buffer.size())) > 0;) {
    sum = std::accumulate(buffer.begin(), buffer.begin() + got, sum,
                          [](uint64_t s, char c) { return s + static_cast<unsigned char>(c); });
  }
  close(file);
  if (sum == 0) std::abort();  // also keeps the sum
}

void Reading(const std::string& id, const std::string& path, double bytes) {
  const auto ours = [&] { return Rate(SecondsOf([&] { (void)ReadCsv(path, {}).value(); }), 1e-6 * bytes); };
  const auto reference = [&] { return Rate(SecondsOf([&] { SumFile(path); }), 1e-6 * bytes); };
  Print(id, Compare(kRounds, ours, reference, Quotient), "MB/s");
}

void Writing(const Dataset& dataset, const std::string& text) {
  const double megabytes = 1e-6 * static_cast<double>(text.size());
  const auto write_file = [&] {
    const int file = open(std::filesystem::temp_directory_path().c_str(), O_TMPFILE | O_WRONLY, 0600);
    if (write(file, text.data(), text.size()) < 0) std::abort();
    close(file);
  };
  const auto ours = [&] {
    return Rate(SecondsOf([&] {
                  if (FormatCsv(dataset).empty()) std::abort();
                }),
                megabytes);
  };
  const auto reference = [&] { return Rate(SecondsOf(write_file), megabytes); };
  Print("csv_write", Compare(kRounds, ours, reference, Quotient), "MB/s");
}

// Of the whole process: all threads.
double ProcessCpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// How much of the work of `astray score --offline` is scoring: reading, verdicts as messages and text are the rest.
void OfflineScoring(const std::string& path, const Dataset& dataset) {
  const Shape& shape = Shapes()[0];
  const TemporaryFolder folder;
  const std::string artifact = WriteTinyArtifact(folder.path(), DetectorOf(shape)).string();
  const std::shared_ptr<const Detector> detector = OpenDetector(artifact, 0).value();
  const std::string model = "--model=" + artifact, data = "--data=" + path;
  const char* const arguments[] = {"astray", "score", "--offline", model.c_str(), data.c_str()};
  const auto rate_of = [&](const std::function<void()>& work) {
    const double begin = ProcessCpuSeconds();
    work();
    return static_cast<double>(dataset.rows()) / (ProcessCpuSeconds() - begin);
  };
  const auto ours = [&] {
    return rate_of([&] {
      std::ofstream out("/dev/null"), err("/dev/null");
      if (RunAstray(std::size(arguments), arguments, out, err, false) != 0) std::abort();
    });
  };
  ScoreResult result;
  const auto reference = [&] {
    return rate_of([&] {
      constexpr size_t kPieceRows = 3000;  // about those of a piece of the file
      for (size_t begin = 0; begin < dataset.rows(); begin += kPieceRows) {
        const size_t rows = std::min(kPieceRows, dataset.rows() - begin);
        const auto piece = std::span<const float>(dataset.values).subspan(begin * kColumns, rows * kColumns);
        if (!detector->Score(piece, {}, &result).ok()) std::abort();
      }
    });
  };
  Print("offline_score_s1", Compare(kRounds, ours, reference, Quotient), "rows/s of CPU time");
}

void Run() {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "rows.csv").string();
  const std::string csv = NumericCsv();
  std::ofstream(path) << csv;
  Reading("csv_read", path, static_cast<double>(csv.size()));
  const Dataset dataset = ReadCsv(path, {}).value();
  Writing(dataset, FormatCsv(dataset));
  OfflineScoring(path, dataset);
  std::string quoted = "\"";
  for (const char c : csv) {
    if (c == ',') {
      quoted += "\",\"";
    } else if (c == '\n') {
      quoted += "\"\n\"";
    } else {
      quoted += c;
    }
  }
  quoted.pop_back();
  std::ofstream(path, std::ios::trunc) << quoted;
  Reading("csv_read_quoted", path, static_cast<double>(quoted.size()));
}

}  // namespace
}  // namespace astray::bench

int main() {
  astray::bench::Run();
  return 0;
}
