// Are the p-values of a sequence still uniform and independent? Bets that they are not, and how well the bets did.
//
// The bets are Simple Jumper's (Vovk, Petej, Nouretdinov, Ahlberg, Carlsson & Gammerman 2021, "Retrain or not retrain:
// conformal test martingales for change-point detection", Algorithm 1): a capital on each e of {-1, 0, 1} grows by the
// factor 1 + e (p - 1/2) a step, and a share kJump of all capital is spread evenly before it. The state is linear in
// what was put in, so that two statistics have the same recursion:
// - the martingale starts with capital 1, once. Ville's inequality: it ever reaches c with probability at most 1 / c;
// - the change statistic puts capital 1 in before every step (Shiryaev-Roberts): minus the number of steps it is a
//   martingale. So it first reaches c after c steps on average or more, and within N steps with probability at most
//   N / c; where a change comes late it has lost nothing.
// Not thread-safe.
#pragma once

#include <array>
#include <cstdint>

namespace astray {

class ExchangeabilityTest {
 public:
  static constexpr double kJump = 0.01;

  void Step(double p);  // in [0, 1)

  uint64_t steps() const { return steps_; }
  double martingale_log10() const { return log10_; }
  double martingale_peak_log10() const { return peak_log10_; }
  double change() const { return change_; }  // 0 before the first step
  // Of about the last 100 p-values, exponentially weighted from 1/2.
  double mean_p_value() const { return mean_p_value_; }

 private:
  using Capital = std::array<double, 3>;
  static double Bet(double p, Capital* capital);  // the sum

  uint64_t steps_ = 0;
  Capital once_ = {1.0 / 3, 1.0 / 3, 1.0 / 3};  // adds up to 1: its size is in log10_
  double log10_ = 0, peak_log10_ = 0;
  Capital always_ = {};
  double change_ = 0;
  double mean_p_value_ = 0.5;
};

}  // namespace astray
