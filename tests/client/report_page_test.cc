#include "client/report_page.h"

#include <gmock/gmock.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/evaluation.h"
#include "engine/base/random.h"
#include "tests/testing/tiny_detector.h"

namespace astray {
namespace {

using ::google::protobuf::ListValue;
using ::google::protobuf::Struct;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kHostile[] = "</script><b>\"'`${x}\\u003c\xe2\x80\xa8&amp;";

Struct Parse(const std::string& json) {
  Struct parsed;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(json, &parsed).ok()) << json.substr(0, 500);
  return parsed;
}

const ListValue& List(const Struct& parsed, const std::string& field) { return parsed.fields().at(field).list_value(); }

// Scores made up: the page does not ask where they come from.
struct Scene {
  std::shared_ptr<const Detector> detector;
  LabelledScores scores;
  v1::Evaluation evaluation;
  std::vector<double> p_values;  // beside scores.scores

  ReportInput input(const std::string& file) const { return {*detector, scores, evaluation, file}; }
  void NameAll(const std::string& name) {
    for (size_t row = 0; row < scores.row_labels.size(); ++row) scores.names.Add(name);
  }
};

Scene MakeScene(size_t entities, size_t rows, const std::string& feature, bool time_ordered) {
  Scene scene{.detector = MakeTinyDetector({.window = 1})};
  Random random(5);
  scene.scores.feature_names = {feature, "pressure", "temperature"};
  scene.scores.p_values = PValueCounts(scene.detector->calibration().resolution());
  for (size_t entity = 0; entity < entities; ++entity) {
    scene.scores.begins.push_back(static_cast<uint32_t>(entity * rows));
    if (entities > 1) scene.scores.entities.push_back(absl::StrCat(feature, entity));
    for (size_t i = 0; i < rows; ++i) {
      const uint8_t label = i % 97 < 5 ? 1 : 0;
      scene.scores.row_labels.push_back(label);
      if (i % 50 == 7) continue;  // no score
      scene.scores.rows.push_back(static_cast<uint32_t>(entity * rows + i));
      scene.scores.scores.push_back(static_cast<float>(std::exp(random.Normal()) * (label != 0 ? 2 : 0.4)));
      scene.scores.labels.push_back(label);
      scene.p_values.push_back(static_cast<double>(1 + random.NextUint64() % 401) / 401.0);
      if (label == 0) scene.scores.p_values.Add(scene.p_values.back());
    }
  }
  scene.scores.leads = {{.anomalous = 3, .normal = 1}, {}, {.anomalous = 0, .normal = 7}};
  Verdict verdict{.state = Verdict::State::kScored, .anomalous = true, .score = 5.5f, .p_value = 1 / 401.0};
  scene.scores.strongest = {{.begin = 90,
                             .end = 100,
                             .peak = 97,
                             .verdict = verdict,
                             .contributions = {{.feature = 0, .share = 0.75f, .observed = NAN, .expected = 2.5f}}}};
  scene.evaluation = Evaluate(*scene.detector, scene.scores, time_ordered);
  return scene;
}

// Every row has a score in hindsight but the first of each entity.
void AddHindsight(Scene* scene) {
  HindsightScores& later = scene->scores.hindsight;
  Random random(6);
  for (uint32_t row = 0; row < scene->scores.row_labels.size(); ++row) {
    const auto entity = std::ranges::find(scene->scores.begins, row);
    if (entity != scene->scores.begins.end()) {
      later.begins.push_back(static_cast<uint32_t>(later.scores.size()));
      continue;
    }
    later.rows.push_back(row);
    later.labels.push_back(scene->scores.row_labels[row]);
    later.scores.push_back(static_cast<float>(std::exp(random.Normal()) * (later.labels.back() != 0 ? 4 : 0.4)));
  }
  auto calibration = Calibration::Create(std::vector<float>(99, 1), /*false_positive_rate=*/0.05, {});
  EXPECT_TRUE(calibration.ok()) << calibration.status();
  scene->detector = MakeTinyDetector({.window = 2, .hindsight = HindsightModel{{}, *std::move(calibration)}});
  scene->evaluation = Evaluate(*scene->detector, scene->scores, scene->evaluation.time_ordered());
}

TEST(ReportPageTest, NamesFromFilesAreTextAndNothingElse) {
  Scene scene = MakeScene(2, 400, kHostile, true);
  scene.NameAll(kHostile);
  scene.evaluation.set_model(kHostile);
  const std::string page = ReportPage(scene.input(kHostile));
  EXPECT_EQ(std::vector<std::string>(absl::StrSplit(page, "</script")).size(), 3u) << "the page's own two";
  EXPECT_THAT(page, Not(HasSubstr("<b>")));
  const std::string json = ReportData(scene.input(kHostile));
  EXPECT_THAT(json, Not(HasSubstr("<")));
  EXPECT_THAT(page, HasSubstr(json));
  const Struct parsed = Parse(json);
  // Text comes back as it was, but that control bytes and backslashes are shown as C writes them and long names are
  // cut.
  EXPECT_THAT(parsed.fields().at("data").string_value(), HasSubstr("</script><b>"));
  EXPECT_THAT(List(parsed, "leads").values(1).list_value().values(0).string_value(), HasSubstr("</script><b>"));
  EXPECT_EQ(parsed.fields().at("evaluation").struct_value().fields().at("model").string_value(), kHostile);
}

TEST(ReportPageTest, NeedsNothingBesideIt) {
  const std::string page = ReportPage(MakeScene(1, 400, "flow", true).input("x.csv"));
  // The one address is the name of SVG.
  std::vector<std::string> parts = absl::StrSplit(page, "://");
  EXPECT_EQ(parts.size(), 2u);
  EXPECT_THAT(page, HasSubstr("http://www.w3.org/2000/svg"));
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  for (const char* word : {"src=", "@import", "url(", "href=\"http", "import("})
    EXPECT_THAT(page, Not(HasSubstr(word)));
}

TEST(ReportPageTest, ColumnsAreTheRowsWhereThereIsRoom) {
  const Scene scene = MakeScene(1, 400, "flow", true);
  const Struct parsed = Parse(ReportData(scene.input("x.csv")));
  const Struct& entity = List(parsed, "entities").values(0).struct_value();
  const ListValue& high = List(entity, "high");
  ASSERT_EQ(high.values_size(), 400);
  size_t i = 0;
  for (int row = 0; row < 400; ++row) {
    if (row % 50 == 7) {
      EXPECT_EQ(high.values(row).kind_case(), google::protobuf::Value::kNullValue) << row;
    } else {
      const double score = scene.scores.scores[i++];
      EXPECT_NEAR(high.values(row).number_value(), score, 5e-4 * score) << row;
    }
  }
  const ListValue& ranges = List(entity, "ranges");
  ASSERT_EQ(ranges.values_size(), 5);
  EXPECT_EQ(ranges.values(1).list_value().values(0).number_value(), 97);
  EXPECT_EQ(ranges.values(1).list_value().values(1).number_value(), 102);
  EXPECT_EQ(entity.fields().count("low"), 0u);
  const Struct& alarm = List(parsed, "alarms").values(0).struct_value();
  EXPECT_EQ(alarm.fields().at("first").number_value(), 91);
  EXPECT_EQ(alarm.fields().at("last").number_value(), 100);
  EXPECT_EQ(alarm.fields().at("anomalous").number_value(), 3);
}

TEST(ReportPageTest, AScoreInHindsightStandsInItsRowsColumn) {
  for (const size_t rows : {400u, 30'000u}) {
    Scene scene = MakeScene(2, rows, "flow", true);
    EXPECT_EQ(Parse(ReportData(scene.input("x.csv"))).fields().at("hindsight").kind_case(),
              google::protobuf::Value::kNullValue);
    AddHindsight(&scene);
    const HindsightScores& later = scene.scores.hindsight;
    const Struct parsed = Parse(ReportData(scene.input("x.csv")));
    for (size_t number = 0; number < 2; ++number) {
      const Struct& entity = List(parsed, "entities").values(static_cast<int>(number)).struct_value();
      const auto stride = static_cast<size_t>(entity.fields().at("stride").number_value());
      EXPECT_EQ(stride, rows == 400 ? 1 : 3);
      const ListValue& high = List(entity, "hindsight_high");
      std::vector<double> highest(static_cast<size_t>(high.values_size()), -1), lowest(highest.size(), 1e9);
      ASSERT_EQ(highest.size(), rows / stride);
      for (size_t i = 0; i < later.rows.size(); ++i) {
        if (later.rows[i] / rows != number) continue;
        const size_t column = later.rows[i] % rows / stride;
        highest[column] = std::max<double>(highest[column], later.scores[i]);
        lowest[column] = std::min<double>(lowest[column], later.scores[i]);
      }
      ASSERT_EQ(entity.fields().contains("hindsight_low"), stride > 1);
      for (int c = 0; c < high.values_size(); ++c) {
        if (highest[c] < 0) {
          EXPECT_EQ(high.values(c).kind_case(), google::protobuf::Value::kNullValue) << c;
          continue;
        }
        ASSERT_NEAR(high.values(c).number_value(), highest[c], 5e-4 * highest[c]) << c;
        if (stride == 1) continue;
        ASSERT_NEAR(List(entity, "hindsight_low").values(c).number_value(), lowest[c], 5e-4 * lowest[c]) << c;
      }
    }
    const Struct& hindsight = parsed.fields().at("hindsight").struct_value();
    EXPECT_EQ(hindsight.fields().at("target").number_value(), 0.05);
    // The area under its steps is near the AUROC, which is another than the live one.
    double area = 0, rate = 0;
    for (const auto& point : List(hindsight, "curve").values()) {
      const double next = point.list_value().values(0).number_value();
      area += (next - rate) * point.list_value().values(1).number_value();
      rate = next;
    }
    EXPECT_NEAR(area, scene.evaluation.hindsight().auroc(), 0.01);
    EXPECT_GT(area, scene.evaluation.auroc() + 0.02);
  }
}

TEST(ReportPageTest, AnAlarmSaysWhetherItIsByTheReadingsThemselves) {
  Scene scene = MakeScene(1, 400, "flow", true);
  scene.scores.strongest.push_back(scene.scores.strongest.front());
  scene.scores.strongest.back().verdict.by_t_squared = true;
  const Struct parsed = Parse(ReportData(scene.input("x.csv")));
  const ListValue& alarms = List(parsed, "alarms");
  const auto said = [&](int i) { return alarms.values(i).struct_value().fields().at("by_t_squared").bool_value(); };
  EXPECT_FALSE(said(0));
  EXPECT_TRUE(said(1));
}

TEST(ReportPageTest, OfAMillionRowsThePeaksStayAndThePageIsSmall) {
  Scene scene = MakeScene(1, 1'000'000, "flow", true);
  scene.NameAll("2026-01-01T00:00:00.000Z");
  AddHindsight(&scene);
  scene.scores.scores[654'321] = 12345;
  const std::string page = ReportPage(scene.input("x.csv"));
  EXPECT_LT(page.size(), 2u << 20);
  const Struct parsed = Parse(ReportData(scene.input("x.csv")));
  const Struct& entity = List(parsed, "entities").values(0).struct_value();
  const auto stride = static_cast<size_t>(entity.fields().at("stride").number_value());
  EXPECT_EQ(stride, (1'000'000 + kMaxReportColumns - 1) / kMaxReportColumns);
  const ListValue& high = List(entity, "high");
  const ListValue& low = List(entity, "low");
  std::vector<double> highest(high.values_size(), 0), lowest(high.values_size(), 1e9);
  for (size_t i = 0; i < scene.scores.rows.size(); ++i) {
    const size_t column = scene.scores.rows[i] / stride;
    highest[column] = std::max<double>(highest[column], scene.scores.scores[i]);
    lowest[column] = std::min<double>(lowest[column], scene.scores.scores[i]);
  }
  for (size_t c = 0; c < highest.size(); ++c) {
    ASSERT_NEAR(high.values(static_cast<int>(c)).number_value(), highest[c], 5e-4 * highest[c]) << c;
    ASSERT_NEAR(low.values(static_cast<int>(c)).number_value(), lowest[c], 5e-4 * lowest[c]) << c;
  }
  EXPECT_EQ(*std::ranges::max_element(highest), 12345);
}

TEST(ReportPageTest, OfManyEntitiesTheFirstAreDrawn) {
  const Scene scene = MakeScene(kMaxReportEntities + 40, 900, "flow", true);
  const std::string json = ReportData(scene.input("x.csv"));
  EXPECT_LT(json.size(), 2u << 20);
  const Struct parsed = Parse(json);
  EXPECT_EQ(parsed.fields().at("entity_count").number_value(), kMaxReportEntities + 40);
  ASSERT_EQ(static_cast<size_t>(List(parsed, "entities").values_size()), kMaxReportEntities);
  const Struct& last = List(parsed, "entities").values(kMaxReportEntities - 1).struct_value();
  EXPECT_EQ(last.fields().at("name").string_value(), absl::StrCat("flow", kMaxReportEntities - 1));
  EXPECT_EQ(List(last, "high").values_size(), 300);
}

TEST(ReportPageTest, TheCalibrationCurveCountsPValues) {
  const Scene scene = MakeScene(1, 3000, "flow", true);
  const Struct parsed = Parse(ReportData(scene.input("x.csv")));
  const ListValue& curve = List(parsed, "calibration");
  ASSERT_EQ(curve.values_size(), 60);
  EXPECT_NEAR(curve.values(0).list_value().values(0).number_value(), 1 / 401.0, 1e-6);
  for (const auto& point : curve.values()) {
    const double alpha = point.list_value().values(0).number_value();
    // alpha comes in four digits: the share lies between those of its neighbours.
    double below = 0, above = 0, normal = 0;
    for (size_t i = 0; i < scene.scores.rows.size(); ++i) {
      if (scene.scores.labels[i] != 0) continue;
      normal += 1;
      below += scene.p_values[i] <= alpha * 0.9995 ? 1 : 0;
      above += scene.p_values[i] <= alpha * 1.0005 ? 1 : 0;
    }
    EXPECT_GE(point.list_value().values(1).number_value(), 0.9995 * below / normal) << alpha;
    EXPECT_LE(point.list_value().values(1).number_value(), 1.0005 * above / normal) << alpha;
  }
  EXPECT_EQ(curve.values(59).list_value().values(0).number_value(), 1);
  EXPECT_EQ(curve.values(59).list_value().values(1).number_value(), 1);
}

TEST(ReportPageTest, RowsWithoutTimeAreDotsOfTwoKinds) {
  Scene scene = MakeScene(1, 400, "flow", false);
  for (size_t i = 0; i < 400; ++i) scene.scores.names.Add(absl::StrCat("blk_", i));
  const Struct parsed = Parse(ReportData(scene.input("x.csv")));
  const Struct& entity = List(parsed, "entities").values(0).struct_value();
  const ListValue& anomalous = List(entity, "anomalous");
  ASSERT_EQ(anomalous.values_size(), 400);
  for (int row = 0; row < 400; ++row) {
    EXPECT_EQ(anomalous.values(row).has_number_value(), row % 97 < 5 && row % 50 != 7) << row;
  }
  EXPECT_EQ(List(entity, "ranges").values_size(), 0);
  EXPECT_EQ(List(entity, "names").values(399).string_value(), "blk_399");
  EXPECT_EQ(List(parsed, "alarms").values(0).struct_value().fields().at("name").string_value(), "blk_97");
}

TEST(ReportPageTest, OneClassAloneHasNoCurve) {
  Scene scene = MakeScene(1, 400, "flow", true);
  std::ranges::fill(scene.scores.row_labels, uint8_t{0});
  std::ranges::fill(scene.scores.labels, uint8_t{0});
  scene.evaluation = Evaluate(*scene.detector, scene.scores, true);
  const Struct parsed = Parse(ReportData(scene.input("x.csv")));
  EXPECT_EQ(List(parsed, "curve").values_size(), 0);
  EXPECT_EQ(parsed.fields().at("evaluation").struct_value().fields().at("auroc").string_value(), "NaN");
}

}  // namespace
}  // namespace astray
