#include "engine/detect/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "engine/base/random.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

Calibration Create(std::vector<float> errors, double rate) {
  auto calibration = Calibration::Create(std::move(errors), rate, {});
  EXPECT_TRUE(calibration.ok()) << calibration.status();
  return *std::move(calibration);
}

std::vector<float> OneTo(size_t n) {
  std::vector<float> errors(n);
  std::iota(errors.begin(), errors.end(), 1.0f);
  std::reverse(errors.begin(), errors.end());
  return errors;
}

TEST(Calibration, ThresholdIsTheConformalQuantile) {
  // ⌈(n+1)(1-a)⌉-th smallest of 1..n is that rank itself.
  EXPECT_EQ(Create(OneTo(99), 0.01).threshold(), 99);
  EXPECT_EQ(Create(OneTo(99), 0.05).threshold(), 95);
  EXPECT_EQ(Create(OneTo(100), 0.05).threshold(), 96);  // ⌈95.95⌉
  EXPECT_EQ(Create(OneTo(999), 0.001).threshold(), 999);
  EXPECT_EQ(Create(OneTo(9), 0.1).threshold(), 9);
  EXPECT_EQ(Create(OneTo(10), 0.1).threshold(), 10);  // ⌈9.9⌉
  EXPECT_EQ(Create(OneTo(19), 0.1).threshold(), 18);
  EXPECT_EQ(Create(OneTo(1), 0.5).threshold(), 1);
  EXPECT_EQ(Create(OneTo(3), 0.999).threshold(), 1);
}

TEST(Calibration, TheFinestRateIsAcceptedWhateverItsRounding) {
  for (size_t n = 1; n < 2000; ++n) {
    EXPECT_EQ(Create(OneTo(n), 1.0 / static_cast<double>(n + 1)).threshold(), n);
  }
}

TEST(Calibration, RefusesARateThatTheSamplesCannotResolve) {
  EXPECT_EQ(Calibration::Create(OneTo(78), 0.001, {}).status(),
            absl::FailedPreconditionError("a false-positive rate of 0.001 takes at least 999 calibration vectors, got "
                                          "78 (finest rate: 0.0126582), or 334 and a tail that fits"));
  EXPECT_TRUE(Calibration::Create(OneTo(999), 0.001, {}).ok());
  EXPECT_EQ(Calibration::Create(OneTo(333), 0.001, {}).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Calibration::CheckSamples(998, 1e-6),
            absl::FailedPreconditionError("a false-positive rate of 1e-06 takes at least 999999 calibration vectors, "
                                          "got 998 (finest rate: 0.001001), or 9999 and a tail that fits"));
}

TEST(Calibration, ATailGivesTheThresholdOfARateThatTheSamplesCannotResolve) {
  Random random(6);
  std::vector<float> errors(2'000);
  for (float& error : errors) error = static_cast<float>(-std::log1p(-random.Uniform()));
  const Calibration ranked = Create(errors, 0.001);
  EXPECT_FALSE(ranked.tail().has_value());
  const Calibration tailed = Create(errors, 1e-4);
  ASSERT_TRUE(tailed.tail().has_value());
  EXPECT_GT(tailed.threshold(), ranked.threshold());
  EXPECT_NEAR(tailed.tail()->Exceedance(tailed.threshold()), 1e-4, 1e-8);
  // Ranks where they resolve, the tail beyond: p-values never rise with the error.
  double last = 1;
  for (float error = 0; error < 60; error += 0.01f) {
    const double p = tailed.PValue(error);
    EXPECT_LE(p, last);
    if (p >= tailed.resolution()) {
      EXPECT_EQ(p, ranked.PValue(error));
    }
    EXPECT_EQ(error > tailed.threshold(), p <= 1e-4) << error;
    double among_others = 0;
    std::vector<uint32_t> ranks;
    tailed.PValues(std::span(&error, 1), &ranks, std::span(&among_others, 1));
    EXPECT_EQ(among_others, p);
    last = p;
  }
  EXPECT_LT(last, tailed.resolution());
  EXPECT_GE(last, tailed.resolution() / 100) << "a tail says nothing of rates that are far finer";
  const auto again = Calibration::FromState(tailed.ToState());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->threshold(), tailed.threshold());
  EXPECT_EQ(again->PValue(12), tailed.PValue(12));
}

TEST(Calibration, AVectorOfASegmentWithMissingValuesKeepsBothGuarantees) {
  CalibrationSamples samples;
  for (int i = 1; i <= 200; ++i) {
    const auto error = static_cast<float>(i);
    ASSERT_TRUE(samples.Add(error, "pump", 0).ok());
    ASSERT_TRUE(samples.Add(10 * error, "", 1).ok());
    ASSERT_TRUE(samples.Add(error / 10, "", 3).ok());
  }
  const auto calibration = Calibration::Create(samples, 0.05, {});
  ASSERT_TRUE(calibration.ok()) << calibration.status();
  const uint32_t pump = calibration->SegmentIndex("pump");
  EXPECT_EQ(calibration->Judge(1, pump, 0).threshold, 191);
  EXPECT_EQ(calibration->Judge(1, 0, 1).threshold, 1910);
  EXPECT_EQ(calibration->Judge(1, 0, 2).threshold, calibration->threshold()) << "no vectors of that level";
  EXPECT_EQ(calibration->Judge(1, pump, 1).threshold, 1910);
  EXPECT_EQ(calibration->Judge(1, pump, 2).threshold, 191);
  EXPECT_EQ(calibration->Judge(1, pump, 3).threshold, 191);
  EXPECT_EQ(calibration->Judge(100, pump, 1).p_value, (1 + 191.0) / 201);
  EXPECT_EQ(calibration->Judge(100, pump, 3).p_value, (1 + 101.0) / 201);
}

TEST(Calibration, GroupsRoundTripAndMerge) {
  CalibrationSamples first, second;
  Random random(7);
  for (int i = 0; i < 30'000; ++i) {
    const auto error = static_cast<float>(random.Uniform());
    ASSERT_TRUE((i % 3 == 0 ? second : first)
                    .Add(error, i % 2 == 0 ? "a" : (i % 7 == 0 ? "b" : ""), static_cast<uint8_t>(i % 11 == 0 ? 4 : 0))
                    .ok());
  }
  first.autocorrelation_time = 4;
  second.autocorrelation_time = 2;
  const auto made = Calibration::Create(first, 0.01, {});
  ASSERT_TRUE(made.ok());
  const auto again = Calibration::FromState(made->ToState());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->ToState().SerializeAsString(), made->ToState().SerializeAsString());
  ASSERT_EQ(again->segments().size(), 2u);
  EXPECT_EQ(again->segments()[1].name, "b");
  CalibrationSamples all = again->ToSamples();
  ASSERT_TRUE(all.Merge(second).ok());
  const auto merged = Calibration::Create(all, 0.01, {});
  ASSERT_TRUE(merged.ok());
  EXPECT_EQ(merged->samples(), 30'000u);
  EXPECT_EQ(merged->segments()[0].sample.samples(), 15'000u);
  EXPECT_EQ(merged->effective_samples(), 20'000 / 4.0 + 10'000 / 2.0);
}

// Errors of segments: enough for ranks at 0.001, enough for a tail, a tail that is none, too few for either.
CalibrationSamples SamplesForTails() {
  CalibrationSamples samples;
  Random random(8);
  const auto exponential = [&] { return -std::log1p(-random.Uniform()); };
  const auto add = [&](const char* name, int count, const auto& draw) {
    for (int i = 0; i < count; ++i) EXPECT_TRUE(samples.Add(static_cast<float>(draw()), name, 0).ok());
  };
  add("ranks", 3'000, exponential);
  add("tail", 800, [&] { return 50 * exponential(); });
  add("steps", 800, [&] { return std::floor(4 * exponential()); });
  add("few", 333, exponential);
  return samples;
}

const Calibration::Group& SegmentOf(const Calibration& calibration, absl::string_view name) {
  return calibration.segments()[calibration.SegmentIndex(name) - 1];
}

TEST(Calibration, ASegmentWhoseErrorsDoNotResolveTheRateHasATailOfItsOwnWhereOneFits) {
  const CalibrationSamples samples = SamplesForTails();
  const auto made = Calibration::Create(samples, 0.001, {});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_FALSE(made->tail().has_value()) << "all rows are enough";
  EXPECT_TRUE(SegmentOf(*made, "ranks").own);
  EXPECT_FALSE(SegmentOf(*made, "ranks").tail.has_value());
  // As if it were alone: its rows as all rows of a calibration.
  CalibrationSamples own;
  own.all = samples.segments.find("tail")->second;
  const auto alone = Calibration::Create(own, 0.001, {});
  ASSERT_TRUE(alone.ok()) << alone.status();
  ASSERT_TRUE(alone->tail().has_value());
  const uint32_t tail = made->SegmentIndex("tail");
  ASSERT_TRUE(SegmentOf(*made, "tail").tail.has_value());
  EXPECT_TRUE(SegmentOf(*made, "tail").own);
  double last = 1;
  for (float error = 0; error < 1'000; ++error) {
    const Calibration::Judgement judged = made->Judge(error, tail, 0);
    EXPECT_EQ(judged.threshold, alone->threshold());
    EXPECT_EQ(judged.p_value, alone->PValue(error));
    EXPECT_LE(judged.p_value, last);
    EXPECT_EQ(error > judged.threshold, judged.p_value <= 0.001) << error;
    last = judged.p_value;
  }
  EXPECT_LT(last, 1.0 / 801);
  // One is refused, one is not even tried: both are judged by all rows.
  EXPECT_TRUE(SegmentOf(*made, "steps").no_tail_fits);
  EXPECT_FALSE(SegmentOf(*made, "few").no_tail_fits);
  for (const char* name : {"steps", "few"}) {
    EXPECT_FALSE(SegmentOf(*made, name).own);
    EXPECT_EQ(made->Judge(7, made->SegmentIndex(name), 0).threshold, made->threshold());
    EXPECT_EQ(made->Judge(7, made->SegmentIndex(name), 0).p_value, made->PValue(7));
  }
  // At a rate that its samples resolve, a tail has no say.
  const auto coarse = Calibration::Create(samples, 0.01, {});
  ASSERT_TRUE(coarse.ok());
  EXPECT_FALSE(SegmentOf(*coarse, "tail").tail.has_value());
  EXPECT_FALSE(SegmentOf(*coarse, "steps").no_tail_fits);
}

TEST(Calibration, TailsOfSegmentsAreKeptAndOlderStatesGoOnWithoutThem) {
  const auto made = Calibration::Create(SamplesForTails(), 0.001, {});
  ASSERT_TRUE(made.ok()) << made.status();
  v1::CalibrationState state = made->ToState();
  const auto again = Calibration::FromState(state);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->ToState().SerializeAsString(), state.SerializeAsString());
  const uint32_t tail = again->SegmentIndex("tail");
  EXPECT_EQ(again->Judge(500, tail, 0).threshold, made->Judge(500, tail, 0).threshold);
  EXPECT_EQ(again->Judge(500, tail, 0).p_value, made->Judge(500, tail, 0).p_value);
  EXPECT_TRUE(SegmentOf(*again, "steps").no_tail_fits);
  // As it was written before segments had tails.
  for (v1::SegmentState& segment : *state.mutable_segments()) {
    segment.clear_tail();
    segment.clear_no_tail_fits();
  }
  const auto older = Calibration::FromState(state);
  ASSERT_TRUE(older.ok()) << older.status();
  EXPECT_FALSE(SegmentOf(*older, "tail").own) << "a calibration that is live does not change when it is read";
  EXPECT_EQ(older->Judge(500, tail, 0).threshold, older->threshold());
  EXPECT_FALSE(SegmentOf(*older, "steps").no_tail_fits) << "nobody tried";
  // What is made of its errors anew has one.
  const auto anew = Calibration::Create(older->ToSamples(), 0.001, {});
  ASSERT_TRUE(anew.ok());
  EXPECT_EQ(anew->Judge(500, tail, 0).threshold, made->Judge(500, tail, 0).threshold);
}

TEST(Calibration, SegmentsAreBounded) {
  CalibrationSamples samples;
  for (size_t i = 0; i < CalibrationSamples::kMaxSegments; ++i) {
    ASSERT_TRUE(samples.Add(1, "s" + std::to_string(i), 0).ok());
  }
  EXPECT_EQ(samples.Add(1, "one more", 0),
            absl::InvalidArgumentError("segment: expected at most 1000 in one calibration, got more"));
  EXPECT_EQ(CalibrationSamples::CheckSegment(std::string(300, 'x')),
            absl::InvalidArgumentError("segment: expected at most 256 bytes, got 300"));
  CalibrationSamples other;
  ASSERT_TRUE(other.Add(1, "one more", 0).ok());
  EXPECT_FALSE(other.Merge(samples).ok());
}

TEST(Calibration, ThresholdIsAboveZero) {
  EXPECT_EQ(Create(std::vector<float>(100, 0.0f), 0.05).threshold(), std::numeric_limits<float>::min());
  std::vector<float> errors(100, 0.0f);
  errors[7] = 0.5f;
  errors[3] = 0.25f;
  EXPECT_EQ(Create(errors, 0.05).threshold(), 0.25);
}

TEST(Calibration, PValueCountsErrorsAtLeastAsLarge) {
  const Calibration calibration = Create({1, 2, 2, 2, 5}, 0.5);
  EXPECT_DOUBLE_EQ(calibration.PValue(0), 1);
  EXPECT_DOUBLE_EQ(calibration.PValue(1), 1);
  EXPECT_DOUBLE_EQ(calibration.PValue(2), 5.0 / 6);
  EXPECT_DOUBLE_EQ(calibration.PValue(2.5f), 2.0 / 6);
  EXPECT_DOUBLE_EQ(calibration.PValue(5), 2.0 / 6);
  EXPECT_DOUBLE_EQ(calibration.PValue(6), 1.0 / 6);
  EXPECT_DOUBLE_EQ(calibration.PValue(std::numeric_limits<float>::max()), calibration.resolution());
}

TEST(Calibration, PValueMatchesCounting) {
  Random random(4);
  std::vector<float> errors(257);
  for (float& error : errors) error = static_cast<float>(random.UniformInt(40)) / 8;
  const Calibration calibration = Create(errors, 0.1);
  for (float error = 0; error < 6; error += 0.0625f) {
    const auto count = std::count_if(errors.begin(), errors.end(), [&](float e) { return e >= error; });
    EXPECT_DOUBLE_EQ(calibration.PValue(error), (1.0 + static_cast<double>(count)) / 258);
  }
}

// An error is above the threshold exactly where its p-value is at most the rate: two ways to one verdict.
TEST(Calibration, ThresholdAndPValueAgree) {
  Random random(5);
  std::vector<float> errors(499);
  random.FillUniform(errors);
  for (const double rate : {0.002, 0.01, 0.05, 0.37}) {
    const Calibration calibration = Create(errors, rate);
    for (const float error : errors) {
      for (const float fresh : {error, std::nextafterf(error, 2)}) {
        EXPECT_EQ(fresh > calibration.threshold(), calibration.PValue(fresh) <= rate + 1e-9);
      }
    }
  }
}

// Vovk 2012: over calibrations of n exchangeable errors without ties, the rate at which fresh ones are flagged is
// Beta(l, n + 1 - l), l = ⌊(n+1)a⌋: its mean l / (n+1) lies in (a - 1/(n+1), a].
TEST(Calibration, FalsePositiveRateKeepsItsGuarantee) {
  constexpr size_t kSplits = 200;
  constexpr size_t kFresh = 2000;
  struct Case {
    size_t n;
    double rate;
  };
  for (const Case& c : {Case{99, 0.01}, Case{150, 0.05}, Case{500, 0.013}}) {
    double sum = 0;
    for (size_t split = 0; split < kSplits; ++split) {
      Random random(1000 + split, c.n);
      std::vector<float> errors(c.n);
      // Squared normals: a heavy tail, as errors have. The guarantee does not depend on it.
      random.FillNormal(errors);
      for (float& error : errors) error *= error;
      const Calibration calibration = Create(errors, c.rate);
      size_t flagged = 0;
      for (size_t i = 0; i < kFresh; ++i) {
        const double normal = random.Normal();
        flagged += normal * normal > calibration.threshold() ? 1 : 0;
      }
      sum += static_cast<double>(flagged) / kFresh;
    }
    const auto n1 = static_cast<double>(c.n + 1);
    const double l = std::floor(n1 * c.rate + 1e-9);
    const double mean = l / n1;
    // Variance of the Beta-binomial ratio, over kSplits independent splits.
    const double beta_variance = mean * (1 - mean) / (n1 + 1);
    const double variance = (beta_variance + (mean * (1 - mean) - beta_variance) / kFresh) / kSplits;
    const double noise = 3 * std::sqrt(variance);
    EXPECT_NEAR(sum / kSplits, mean, noise) << "n = " << c.n;
    EXPECT_LE(sum / kSplits, c.rate + noise) << "n = " << c.n;
    EXPECT_GE(sum / kSplits, c.rate - 1 / n1 - noise) << "n = " << c.n;
  }
}

TEST(Calibration, RefusesWhatIsNoError) {
  const auto message = [](std::vector<float> errors, double rate) {
    const auto status = Calibration::Create(std::move(errors), rate, {}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(message({}, 0.1), HasSubstr("errors: expected 1 to 10000000 of them, got 0"));
  EXPECT_EQ(message({1, -1}, 0.5), "error 1: expected a finite number of at least 0, got -1");
  EXPECT_EQ(message({std::nanf("")}, 0.5), "error 0: expected a finite number of at least 0, got nan");
  EXPECT_EQ(message({HUGE_VALF}, 0.5), "error 0: expected a finite number of at least 0, got inf");
  for (const double rate : {0.0, 1.0, -0.5, 2.0, std::nan(""), HUGE_VAL}) {
    EXPECT_THAT(message({1, 2, 3}, rate), HasSubstr("false_positive_rate: expected a number above 0 and below 1"));
  }
}

TEST(Calibration, StateRoundTrips) {
  const std::string sha256(64, 'a');
  const auto calibration =
      Calibration::Create(OneTo(99), 0.05, {.epoch = 7, .created_unix_seconds = 1700000000, .artifact_sha256 = sha256});
  ASSERT_TRUE(calibration.ok());
  const auto again = Calibration::FromState(calibration->ToState());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->threshold(), calibration->threshold());
  EXPECT_EQ(again->false_positive_rate(), 0.05);
  EXPECT_EQ(again->epoch(), 7u);
  EXPECT_EQ(again->origin().created_unix_seconds, 1700000000);
  EXPECT_EQ(again->origin().artifact_sha256, sha256);
  EXPECT_EQ(again->samples(), 99u);
}

TEST(Calibration, WhichFalseAlarmsItHasIsKeptAndMerged) {
  CalibrationSamples samples;
  for (const float error : OneTo(99)) ASSERT_TRUE(samples.Add(error, "", 0).ok());
  CalibrationSamples more = samples;
  samples.false_alarms = {2, 5, 9};
  more.false_alarms = {1, 5};
  ASSERT_TRUE(samples.Merge(more).ok());
  const auto calibration = Calibration::Create(samples, 0.05, {});
  ASSERT_TRUE(calibration.ok());
  const auto again = Calibration::FromState(calibration->ToState());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->ToSamples().false_alarms, (std::vector<uint64_t>{1, 2, 5, 9}));
}

TEST(Calibration, RefusesABadState) {
  const v1::CalibrationState good = Create(OneTo(99), 0.05).ToState();
  v1::TailState tail;
  tail.set_start(1);
  tail.set_scale(1);
  tail.set_excesses(50);
  tail.set_start_exceedance(0.15);
  tail.set_p_value(0.5);
  const auto segment = [](v1::CalibrationState& s, int errors) {
    v1::SegmentState* const a = s.add_segments();
    a->set_name("a");
    for (int i = 0; i < errors; ++i) a->mutable_sample()->add_errors(static_cast<float>(i));
    return a;
  };
  const std::vector<std::pair<std::function<void(v1::CalibrationState&)>, std::string>> cases = {
      {[](v1::CalibrationState& s) { s.clear_errors(); }, "errors: expected 1"},
      {[](v1::CalibrationState& s) { s.set_errors(0, 50); }, "error 1: expected ascending errors, got 2 after 50"},
      {[](v1::CalibrationState& s) { s.set_errors(98, HUGE_VALF); }, "error 98: expected a finite"},
      {[](v1::CalibrationState& s) { s.set_errors(50, std::nanf("")); }, "error 50: expected a finite"},
      {[](v1::CalibrationState& s) { s.set_errors(0, -1); }, "error 0: expected a finite"},
      {[](v1::CalibrationState& s) { s.clear_false_positive_rate(); }, "false_positive_rate"},
      {[](v1::CalibrationState& s) { s.set_epoch(0); }, "epoch: expected at least 1, got 0"},
      {[](v1::CalibrationState& s) { s.set_created_unix_seconds(-1); }, "created_unix_seconds"},
      {[](v1::CalibrationState& s) { s.set_artifact_sha256("ABC"); }, "artifact_sha256"},
      {[](v1::CalibrationState& s) { s.mutable_sketch()->add_levels()->add_values(0); },
       "errors: expected 10000 beside"},
      {[](v1::CalibrationState& s) { s.add_segments()->mutable_sample()->add_errors(1); }, "segment '': expected asc"},
      {[](v1::CalibrationState& s) { s.add_segments()->set_name("a"); }, "segment 'a': errors: expected 1"},
      {[](v1::CalibrationState& s) {
         for (const char* name : {"b", "a"}) {
           s.add_segments()->set_name(name);
           s.mutable_segments()->rbegin()->mutable_sample()->add_errors(1);
         }
       },
       "segment 'a': expected ascending names"},
      {[](v1::CalibrationState& s) { s.add_segments()->set_name(std::string(257, 'a')); }, "at most 256 bytes"},
      {[](v1::CalibrationState& s) {
         for (int i = 0; i < 1001; ++i) s.add_segments();
       },
       "segments: expected at most 1000, got 1001"},
      {[](v1::CalibrationState& s) { s.add_missing_levels()->set_level(5); }, "levels of 1 to 4, got 5"},
      {[](v1::CalibrationState& s) { s.add_missing_levels(); }, "levels of 1 to 4, got 0"},
      {[](v1::CalibrationState& s) { s.add_missing_levels()->set_level(1); }, "missing level 1: errors: expected 1"},
      {[](v1::CalibrationState& s) { s.set_autocorrelation_time(0.5); }, "autocorrelation_time: expected 0 or"},
      {[](v1::CalibrationState& s) { s.set_autocorrelation_time(std::nan("")); }, "autocorrelation_time: expected 0"},
      {[](v1::CalibrationState& s) { s.mutable_tail()->set_scale(1); }, "tail: expected start"},
      {[&](v1::CalibrationState& s) { *s.mutable_tail() = tail; }, "tail: expected none for a rate of 0.05 and 99"},
      {[&](v1::CalibrationState& s) { segment(s, 99)->mutable_tail()->set_scale(1); },
       "segment 'a': tail: expected st"},
      {[&](v1::CalibrationState& s) { *segment(s, 99)->mutable_tail() = tail; },
       "segment 'a': tail: expected none for a rate of 0.05 and 99 errors"},
      {[&](v1::CalibrationState& s) { *segment(s, 10)->mutable_tail() = tail; },
       "segment 'a': a false-positive rate of 0.05 takes at least 19 calibration vectors, got 10"},
      {[&](v1::CalibrationState& s) {
         v1::SegmentState* const a = segment(s, 10);
         *a->mutable_tail() = tail;
         a->mutable_tail()->set_start_exceedance(1e-6);
       },
       "segment 'a': tail: expected a start that is exceeded more often"},
      {[](v1::CalibrationState& s) {
         for (const uint64_t number : {3, 3}) s.add_false_alarms(number);
       },
       "false_alarms: expected ascending numbers"},
      {[](v1::CalibrationState& s) {
         for (uint64_t number = 0; number <= 100'000; ++number) s.add_false_alarms(number);
       },
       "false_alarms: expected at most 100000, got 100001"},
  };
  for (const auto& [damage, message] : cases) {
    v1::CalibrationState state = good;
    damage(state);
    const auto calibration = Calibration::FromState(state);
    EXPECT_EQ(calibration.status().code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(std::string(calibration.status().message()), HasSubstr(message));
  }
}

}  // namespace
}  // namespace astray
