// What two things compare like when they run in turns, as lines of JSON: speed.py gathers them.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace astray::bench {

// Of the calling thread: what other threads and processes take does not count.
inline double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// CPU seconds of one call of `work`: of the fastest of a few turns, each of as many calls as take `least_seconds`. What
// disturbs a turn, a neighbour on the same core say, is not what is measured.
inline double SecondsOf(const std::function<void()>& work, double least_seconds = 0.005) {
  constexpr int kTurns = 4;
  const auto turn = [&work](size_t calls) {
    const double begin = CpuSeconds();
    for (size_t i = 0; i < calls; ++i) work();
    return CpuSeconds() - begin;
  };
  size_t calls = 1;
  double fastest = turn(calls);
  while (fastest < least_seconds) fastest = turn(calls *= 2);
  for (int i = 1; i < kTurns; ++i) fastest = std::min(fastest, turn(calls));
  return fastest / static_cast<double>(calls);
}

inline double Quantile(std::vector<double> values, double q) {
  std::ranges::sort(values);
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

struct Comparison {
  std::vector<double> ours, reference, ratios;  // one a round
  void Add(double our, double other, double ratio) {
    ours.push_back(our);
    reference.push_back(other);
    ratios.push_back(ratio);
  }
};

// Both measured in turns: `ratio` says of each round's pair how they compare. Neighbours in time share the machine's
// mood, so the ratio of a round is worth more than that of two means.
inline Comparison Compare(size_t rounds, const std::function<double()>& ours, const std::function<double()>& reference,
                          const std::function<double(double ours, double reference)>& ratio) {
  Comparison comparison;
  for (size_t round = 0; round < rounds; ++round) {
    const double a = ours(), b = reference();
    comparison.Add(a, b, ratio(a, b));
  }
  return comparison;
}

// {"id": .., "ratio": median, "low": and "high": quartiles, "ours": median, "reference": median, "unit": ..}
inline void Print(const std::string& id, const Comparison& comparison, const std::string& unit) {
  std::printf(
      "{\"id\": \"%s\", \"ratio\": %.6g, \"low\": %.6g, \"high\": %.6g, \"ours\": %.6g, \"reference\": %.6g, "
      "\"unit\": \"%s\"}\n",
      id.c_str(), Quantile(comparison.ratios, 0.5), Quantile(comparison.ratios, 0.25),
      Quantile(comparison.ratios, 0.75), Quantile(comparison.ours, 0.5), Quantile(comparison.reference, 0.5),
      unit.c_str());
  std::fflush(stdout);
}

// A point of a curve: {"curve": .., "x": .., "y": ..}
inline void PrintPoint(const std::string& curve, double x, double y) {
  std::printf("{\"curve\": \"%s\", \"x\": %.6g, \"y\": %.6g}\n", curve.c_str(), x, y);
  std::fflush(stdout);
}

}  // namespace astray::bench
