#include "engine/data/csv_writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>

#include "engine/base/random.h"
#include "engine/data/csv_reader.h"

namespace astray {
namespace {

TEST(FormatFloat, IsTheShortestThatReadsBack) {
  EXPECT_EQ(FormatFloat(0.1f), "0.1");
  EXPECT_EQ(FormatFloat(-2), "-2");
  EXPECT_EQ(FormatFloat(std::numeric_limits<float>::max()), "3.4028235e+38");
  EXPECT_EQ(FormatFloat(std::numeric_limits<float>::quiet_NaN()), "");
}

TEST(FormatCsv, QuotesWhatWouldNotReadBack) {
  Dataset data;
  data.feature_names = {"\xef\xbb\xbfmark"};
  data.values = {1, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_EQ(FormatCsv(data), "\"\xef\xbb\xbfmark\"\n1\n\"\"\n");
}

TEST(FormatCsv, ReadsBackBitForBit) {
  Dataset data;
  data.feature_names = {"a", "odd, \"name\""};
  Random random(3);
  while (data.values.size() < 4000) {
    const uint32_t bits = static_cast<uint32_t>(random.NextUint64());
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    if (std::isfinite(value)) data.values.push_back(value);
  }
  data.values[5] = std::numeric_limits<float>::max();
  data.values[7] = std::numeric_limits<float>::quiet_NaN();
  for (size_t i = 0; i < data.rows(); ++i) {
    data.timestamps.push_back("t" + std::to_string(i));
    data.labels.push_back(i % 3 == 0);
    data.culprits.push_back(i % 3 == 0 ? "a;b" : "");
  }
  std::istringstream text(FormatCsv(data));
  auto reader = CsvReader::FromStream(&text, "t.csv", {.label_column = "label", .culprit_column = "culprits"});
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->feature_names(), data.feature_names);
  Row row;
  for (size_t i = 0; i < data.rows(); ++i) {
    ASSERT_TRUE(*(*reader)->Next(&row));
    for (size_t j = 0; j < 2; ++j) {
      if (std::isnan(data.row(i)[j])) {
        EXPECT_TRUE(std::isnan(row.values[j]));
      } else {
        ASSERT_EQ(row.values[j], data.row(i)[j]) << i;
      }
    }
    EXPECT_EQ(row.timestamp, data.timestamps[i]);
    EXPECT_EQ(row.label, data.labels[i]);
    EXPECT_EQ(row.culprits, data.culprits[i]);
  }
  EXPECT_FALSE(*(*reader)->Next(&row));
}

}  // namespace
}  // namespace astray
