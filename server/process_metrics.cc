#include "server/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace astray {
namespace {

std::string ReadProcFile(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

prometheus::MetricFamily MakeFamily(const char* name, const char* help, prometheus::MetricType type, double value) {
  prometheus::ClientMetric metric;
  (type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  return {name, help, type, {std::move(metric)}};
}

// Seconds since the epoch at which the machine booted.
double BootTime() {
  const std::string stat = ReadProcFile("/proc/stat");
  for (const absl::string_view line : absl::StrSplit(stat, '\n')) {
    double seconds = 0;
    if (line.substr(0, 6) == "btime " && absl::SimpleAtod(line.substr(6), &seconds)) return seconds;
  }
  return 0;
}

double Number(const std::vector<std::string>& fields, size_t index) {
  double value = 0;
  return index < fields.size() && absl::SimpleAtod(fields[index], &value) ? value : 0;
}

}  // namespace

std::vector<prometheus::MetricFamily> CollectProcessMetrics() {
  using prometheus::MetricType;
  std::vector<prometheus::MetricFamily> families;
  const auto add = [&](const char* name, const char* help, MetricType type, double value) {
    families.push_back(MakeFamily(name, help, type, value));
  };

  // proc(5): the second field is the program's name in parentheses, which may hold anything; count from its end.
  const std::string stat = ReadProcFile("/proc/self/stat");
  if (const size_t name_end = stat.rfind(") "); name_end != std::string::npos) {
    const std::vector<std::string> fields = absl::StrSplit(stat.substr(name_end + 2), ' ');
    const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    const auto page = static_cast<double>(sysconf(_SC_PAGESIZE));
    add("process_cpu_seconds_total", "User and system time spent.", MetricType::Counter,
        (Number(fields, 11) + Number(fields, 12)) / ticks);
    add("process_start_time_seconds", "Start of the process, since the Unix epoch.", MetricType::Gauge,
        BootTime() + Number(fields, 19) / ticks);
    add("process_virtual_memory_bytes", "Virtual memory.", MetricType::Gauge, Number(fields, 20));
    add("process_resident_memory_bytes", "Resident memory.", MetricType::Gauge, Number(fields, 21) * page);
    add("process_threads", "Threads.", MetricType::Gauge, Number(fields, 17));
  }
  std::error_code error;
  const std::filesystem::directory_iterator descriptors("/proc/self/fd", error);
  if (!error) {
    add("process_open_fds", "Open file descriptors.", MetricType::Gauge,
        static_cast<double>(std::distance(begin(descriptors), end(descriptors))));
  }
  if (rlimit limit{}; getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    add("process_max_fds", "Most file descriptors that may be open.", MetricType::Gauge,
        static_cast<double>(limit.rlim_cur));
  }
  return families;
}

}  // namespace astray
