// Runs a fuzz target without libFuzzer: on every seed of a folder, then on seeded random mutations of the seeds.
// Usage: <target>_replay <folder of seeds> <mutations>
// An input that makes the target crash is left in ./<target>-crash; run it alone by giving a folder that holds it.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "engine/base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace astray {
namespace {

std::string crash_path;
const std::string* current = nullptr;

// Only calls that are allowed in a signal handler.
void KeepInput(int signal_number) {
  const int fd = open(crash_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd >= 0 && current != nullptr && write(fd, current->data(), current->size()) >= 0) close(fd);
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

void Run(const std::string& input) {
  current = &input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

std::vector<std::string> ReadSeeds(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> seeds;
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return seeds;
}

// One change of the kinds that break parsers: a bit, a byte, a cut, a repetition, a piece of another seed.
void Mutate(const std::vector<std::string>& seeds, Random& random, std::string* input) {
  static constexpr std::array<char, 12> kBytes = {'\0', '\n', '\r', '"',    ',',    '-',
                                                  '.',  '9',  'e',  '\x7f', '\x80', '\xff'};
  const auto position = [&](size_t size) { return static_cast<size_t>(random.UniformInt(size + 1)); };
  const size_t at = position(input->size());
  const size_t length = std::min(position(16), input->size() - at);
  const std::string& other = seeds[random.UniformInt(seeds.size())];
  const size_t from = position(other.size());
  switch (random.UniformInt(7)) {
    case 0:
      if (at < input->size()) (*input)[at] = static_cast<char>((*input)[at] ^ (1 << random.UniformInt(8)));
      break;
    case 1:
      if (at < input->size()) (*input)[at] = kBytes[random.UniformInt(kBytes.size())];
      break;
    case 2:
      input->insert(at, 1 + position(3), kBytes[random.UniformInt(kBytes.size())]);
      break;
    case 3:
      input->erase(at, length);
      break;
    case 4:
      input->resize(at);
      break;
    case 5:
      input->insert(at, input->substr(at, length));
      break;
    default:
      input->insert(at, other.substr(from, position(64)));
  }
}

int Replay(const std::filesystem::path& folder, uint64_t mutations) {
  const std::vector<std::string> seeds = ReadSeeds(folder);
  if (seeds.empty()) {
    std::fprintf(stderr, "%s: expected seeds, got an empty folder\n", folder.c_str());
    return 1;
  }
  for (const std::string& seed : seeds) Run(seed);
  Random random(1);
  for (uint64_t i = 0; i < mutations; ++i) {
    std::string input = seeds[random.UniformInt(seeds.size())];
    for (uint64_t changes = 1 + random.UniformInt(4); changes > 0; --changes) Mutate(seeds, random, &input);
    Run(input);
  }
  std::printf("%zu seeds and %llu mutations passed\n", seeds.size(), static_cast<unsigned long long>(mutations));
  return 0;
}

}  // namespace
}  // namespace astray

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s <folder of seeds> <mutations>\n", argv[0]);
    return 64;
  }
  astray::crash_path = std::filesystem::path(argv[0]).filename().string() + "-crash";
  for (const int signal_number : {SIGABRT, SIGSEGV, SIGFPE, SIGBUS}) signal(signal_number, astray::KeepInput);
  return astray::Replay(argv[1], std::strtoull(argv[2], nullptr, 10));
}
