// A CSV scored by several threads, against the same rows as JSON lines, which go one after the other; and verdicts as
// text, against the printers that everybody knows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/command.h"
#include "client/verdict_json.h"
#include "client/verdict_writer.h"
#include "engine/base/random.h"
#include "engine/data/csv_writer.h"
#include "tests/client/command_runner.h"
#include "tests/engine/data/gzip.h"
#include "tests/testing/temporary_folder.h"
#include "tests/testing/tiny_detector.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

constexpr size_t kRows = 90'000;  // several pieces

class OfflineScoring : public testing::Test {
 protected:
  OfflineScoring() {
    TinyDetectorOptions options;
    options.window = 4;
    options.alarm.set_raise_rows(2);
    options.alarm.set_of_rows(3);
    model_ = "--model=" + WriteTinyArtifact(folder_ / "models", options).string();
    const std::vector<float> rows = TinyRows(kRows, options.features.size(), 3);
    csv_ = "time," + absl::StrCat(options.features[0], ",", options.features[1], ",", options.features[2]) + "\n";
    for (size_t i = 0; i < kRows; ++i) {
      absl::StrAppend(&csv_, "t", i % 7 == 0 ? " \"x" : "", i, ",");
      if (i % 7 == 0) csv_.replace(csv_.rfind("t \"x"), std::string::npos, absl::StrCat("\"t \"\"x", i, "\","));
      absl::StrAppend(&lines_, "{\"time\":\"t", i % 7 == 0 ? " \\\"x" : "", i, "\"");
      for (size_t j = 0; j < 3; ++j) {
        // Some that stand out for a while, and some that are missing.
        float value = rows[3 * i + j];
        if (i % 4000 > 3990 && j == 1) value *= 30;
        if ((i + j) % 1000 == 0) value = std::numeric_limits<float>::quiet_NaN();
        const std::string text = FormatFloat(value);
        absl::StrAppend(&csv_, text, j == 2 ? "\n" : ",");
        absl::StrAppend(&lines_, ",\"", options.features[j], "\":", text.empty() ? "null" : text);
      }
      lines_ += "}\n";
      if (i % 5000 == 0) csv_ += "\r\n";
    }
  }

  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return "--data=" + (folder_ / name).string();
  }
  CommandOutput Score(const std::string& data, const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"score", "--offline", model_, data};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunCommand(arguments);
  }

  const TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
  std::string model_, csv_, lines_;
};

TEST_F(OfflineScoring, AnyNumberOfThreadsGivesTheVerdictsOfRowsOneAfterTheOther) {
  const std::string csv = Write("d.csv", csv_), lines = Write("d.jsonl", lines_), packed = Write("d.gz", Gzip(csv_));
  for (const std::string format : {"--format=csv", "--format=jsonl"}) {
    const CommandOutput expected = Score(lines, {format});
    ASSERT_EQ(expected.code, 0) << expected.err;
    EXPECT_THAT(expected.out, HasSubstr(format == "--format=csv" ? ",raised" : "\"RAISED\""));
    for (const std::string threads : {"--threads=1", "--threads=3", "--threads=8"}) {
      const CommandOutput got = Score(csv, {format, threads});
      EXPECT_EQ(got.code, 0) << got.err;
      EXPECT_TRUE(got.out == expected.out) << format << threads;
      EXPECT_EQ(got.err, expected.err);
    }
    EXPECT_TRUE(Score(packed, {format}).out == expected.out) << "gzip";
  }
  const CommandOutput some = Score(lines, {"--anomalies-only"});
  EXPECT_TRUE(Score(csv, {"--anomalies-only"}).out == some.out);
  const CommandOutput selected = Score(lines, {"--false-discovery-rate=0.1"});
  EXPECT_TRUE(Score(csv, {"--false-discovery-rate=0.1"}).out == selected.out);
}

TEST_F(OfflineScoring, AnErrorNamesItsRowAndComesBehindTheVerdictsBefore) {
  const std::string all = Score(Write("d.csv", csv_), {}).out;
  size_t at = csv_.size() * 2 / 3;
  at = csv_.find('\n', at) + 1;
  const auto row = static_cast<size_t>(std::count(csv_.begin(), csv_.begin() + static_cast<std::ptrdiff_t>(at), '\n')) -
                   static_cast<size_t>(std::count(csv_.begin(), csv_.begin() + static_cast<std::ptrdiff_t>(at), '\r'));
  const std::string bad = Write("bad.csv", csv_.substr(0, at) + "t,1,oops,3\n" + csv_.substr(at));
  std::istringstream lines(all);
  std::string expected, line;
  for (size_t i = 0; i < row && std::getline(lines, line); ++i) expected += line + "\n";
  for (const std::string threads : {"--threads=1", "--threads=5"}) {
    const CommandOutput got = Score(bad, {threads});
    EXPECT_EQ(got.code, 65);
    EXPECT_THAT(got.err, HasSubstr(absl::StrCat("column 'pressure' row ", row, ": expected a number, got \"oops\"\n")));
    EXPECT_TRUE(got.out == expected) << threads;
  }
  const CommandOutput quote = Score(Write("quote.csv", csv_.substr(0, at) + "t,\"1"), {});
  EXPECT_THAT(quote.err, HasSubstr("expected a closing quote"));
  EXPECT_TRUE(quote.out == expected);
}

v1::Verdict RandomVerdict(Random& random) {
  const auto number = [&] {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    switch (random.UniformInt(8)) {
      case 0:
        return 0.0;
      case 1:
        return static_cast<double>(random.UniformInt(100));
      case 2:
        return static_cast<double>(
            std::vector<float>{kInfinity, -kInfinity, std::nanf(""), 1e-42f, 3.4e38f, -0.0f}[random.UniformInt(6)]);
      default:
        return random.Normal() * std::pow(10.0, static_cast<double>(random.UniformInt(40)) - 20);
    }
  };
  v1::Verdict verdict;
  verdict.set_state(static_cast<v1::Verdict::State>(random.UniformInt(5)));
  verdict.set_anomalous(random.UniformInt(2) == 0);
  verdict.set_score(static_cast<float>(number()));
  verdict.set_error(static_cast<float>(number()));
  verdict.set_p_value(number());
  verdict.set_threshold(number());
  verdict.set_selected(random.UniformInt(2) == 0);
  verdict.set_by_t_squared(random.UniformInt(2) == 0);
  for (uint64_t i = random.UniformInt(4); i > 0; --i) {
    static const std::vector<std::string> kNames = {"flow",        "a b",  "ü", "\"q\"", "<&>",
                                                    "back\\slash", "\x01", "",  "\xff"};
    v1::Contribution* contribution = verdict.add_contributions();
    contribution->set_feature(kNames[random.UniformInt(kNames.size() - 1)]);  // a proto's strings are UTF-8
    contribution->set_share(static_cast<float>(number()));
    contribution->set_observed(static_cast<float>(number()));
    contribution->set_expected(static_cast<float>(number()));
    if (random.UniformInt(20) == 0) contribution->set_repaired_score(1);
  }
  if (random.UniformInt(20) == 0) verdict.mutable_alarm()->set_rows(3);
  if (random.UniformInt(20) == 0) verdict.add_code(static_cast<float>(number()));
  return verdict;
}

TEST(VerdictJson, IsWhatProtobufPrints) {
  Random random(1);
  for (int i = 0; i < 20'000; ++i) {
    const v1::Verdict verdict = RandomVerdict(random);
    const Row row = {
        .number = random.UniformInt(1000), .timestamp = i % 2 == 0 ? "2026-01-01 00:00" : "\t<é>", .entity = "m"};
    const bool entity = i % 3 == 0;
    ASSERT_EQ(VerdictJson(row, verdict, entity),
              absl::StrCat("{\"row\":", row.number, ",\"timestamp\":", JsonText(row.timestamp), ",",
                           entity ? "\"entity\":\"m\"," : "", ToJson(verdict).substr(1)));
  }
}

TEST(VerdictWriter, PrintsNumbersAsPrintfDoes) {
  Random random(2);
  for (int i = 0; i < 20'000; ++i) {
    v1::Verdict verdict = RandomVerdict(random);
    verdict.set_state(v1::Verdict::SCORED);
    verdict.clear_alarm();
    for (v1::Contribution& contribution : *verdict.mutable_contributions()) contribution.set_feature("f");
    std::string line, contributors;
    VerdictWriter(nullptr, VerdictFormat::kCsv, VerdictFilter::kAll).AppendLine({.number = 1}, verdict, &line);
    for (const v1::Contribution& c : verdict.contributions()) {
      absl::StrAppendFormat(&contributors, "%sf=%.3f", contributors.empty() ? "" : ";", c.share());
    }
    ASSERT_EQ(line,
              absl::StrFormat("1,,scored,%d,%s,%s,%.6g,%s,,%d\n", verdict.anomalous(), FormatFloat(verdict.score()),
                              FormatFloat(verdict.error()), verdict.p_value(), contributors, verdict.by_t_squared()));
  }
}

}  // namespace
}  // namespace astray
