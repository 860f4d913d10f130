// The distance from prototypes, by itself and in an error (score_kind.h).
#include "engine/detect/nearest_prototype.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/detect/error_formula.h"
#include "engine/detect/score_kind.h"
#include "engine/detect/score_scale.h"
#include "tests/testing/each_target.h"

namespace astray {
namespace {

using ::testing::HasSubstr;

// Points and the metric that they were measured with.
struct Prototypes {
  Eigen::MatrixXd points, metric;  // [count x features], [features x features]
  v1::PrototypeScale scale;
};

Prototypes MakePrototypes(Eigen::Index features, Eigen::Index count, double unit, uint64_t seed) {
  Random random(seed);
  const bool paired = static_cast<size_t>(features) <= kMaxPairedFeatures;
  Prototypes made;
  Eigen::MatrixXd root = Eigen::MatrixXd::Zero(features, features);
  for (Eigen::Index a = 0; a < features; ++a) {
    for (Eigen::Index b = paired ? 0 : a; b <= a; ++b) {
      root(a, b) = static_cast<float>(a == b ? 1 + random.Uniform() : 0.5 * random.Normal());
      made.scale.add_metric(static_cast<float>(root(a, b)));
    }
  }
  made.metric = root * root.transpose();
  made.points.resize(count, features);
  for (Eigen::Index i = 0; i < count; ++i) {
    for (Eigen::Index f = 0; f < features; ++f) made.points(i, f) = random.Normal();
    const Eigen::RowVectorXd measured = made.points.row(i) * root;
    for (Eigen::Index f = 0; f < features; ++f) made.scale.add_point(static_cast<float>(measured[f]));
  }
  made.scale.set_unit(unit);
  EXPECT_TRUE(CheckPrototypes(made.scale, static_cast<size_t>(features)).ok());
  return made;
}

double Expected(const Prototypes& made, const Eigen::RowVectorXd& row) {
  double nearest = std::numeric_limits<double>::infinity();
  for (Eigen::Index i = 0; i < made.points.rows(); ++i) {
    const Eigen::RowVectorXd apart = row - made.points.row(i);
    nearest = std::min(nearest, apart.dot(apart * made.metric));
  }
  return nearest / made.scale.unit();
}

// Rows with what a network made of them, some readings missing.
struct Rows {
  std::vector<float> input, output, observed;
  std::vector<uint32_t> missing;
  size_t features;

  RebuiltVectors vectors() const {
    return {.count = missing.size(),
            .width = features,
            .outputs = features,
            .input = input.data(),
            .output = output.data(),
            .observed = observed.data(),
            .missing = missing.data()};
  }
  Eigen::RowVectorXd filled(size_t i) const {
    Eigen::RowVectorXd row(static_cast<Eigen::Index>(features));
    for (size_t f = 0; f < features; ++f) {
      const size_t j = i * features + f;
      row[static_cast<Eigen::Index>(f)] = observed[j] == 0 ? output[j] : input[j];
    }
    return row;
  }
};

Rows MakeRows(size_t count, size_t features, double share_missing, uint64_t seed) {
  Random random(seed);
  Rows rows{.input = {}, .output = {}, .observed = {}, .missing = std::vector<uint32_t>(count), .features = features};
  for (size_t i = 0; i < count * features; ++i) {
    rows.output.push_back(static_cast<float>(random.Normal()));
    const bool missing = i / features % 2 == 1 && random.Uniform() < share_missing;
    rows.missing[i / features] += missing ? 1 : 0;
    rows.observed.push_back(missing ? 0.0f : 1.0f);
    rows.input.push_back(missing ? 99.0f : rows.output.back() + static_cast<float>(0.3 * random.Normal()));
  }
  return rows;
}

TEST(NearestPrototype, IsAsFarAsTheFormulaSays) {
  for (const size_t features : {1, 3, 8, 13, 128, 129, 150}) {
    for (const Eigen::Index count : {1, 8, 21}) {
      const Prototypes made = MakePrototypes(static_cast<Eigen::Index>(features), count, 2.5, 7 + features);
      const NearestPrototype nearest(made.scale, features);
      const Rows rows = MakeRows(12, features, 0.4, features);
      NearestPrototype::Scratch scratch;
      std::vector<double> distances(12);
      for (const size_t together : {size_t{1}, size_t{3}, size_t{12}}) {
        for (size_t i = 0; i < 12; i += together) {
          nearest.SquaredDistances(rows.vectors(), i, together, &scratch, &distances[i]);
        }
        for (size_t i = 0; i < 12; ++i) {
          const double expected = Expected(made, rows.filled(i));
          EXPECT_NEAR(distances[i], expected, 1e-4 * expected) << features << " " << count << " " << together;
        }
      }
    }
  }
}

TEST(NearestPrototype, APointIsAtNoDistanceFromItself) {
  // As far out as a scaled reading can be, where rounding is most.
  v1::PrototypeScale scale;
  for (const float value : {1.0f, 0.5f, 2.0f}) scale.add_metric(value);
  for (const float value : {1e4f, -2e4f, 3.0f, 4.0f}) scale.add_point(value);
  scale.set_unit(1);
  const NearestPrototype nearest(scale, 2);
  NearestPrototype::Scratch scratch;
  const std::vector<float> ones(2, 1.0f), row = {1.5e4f, -1e4f};  // Lᵀ of it is the first point
  double distance = -1;
  nearest.SquaredDistances(
      {.count = 1, .width = 2, .outputs = 2, .input = row.data(), .output = row.data(), .observed = ones.data()}, 0, 1,
      &scratch, &distance);
  EXPECT_GE(distance, 0);
  EXPECT_LT(distance, 1e-5);
}

// Σ a_i b_i: eight sums side by side, then added up in pairs, halves first.
double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  std::array<double, 8> sums = {};
  for (size_t i = 0; i < a.size(); ++i) sums[i % 8] += a[i] * b[i];
  for (size_t half = 4; half > 0; half /= 2) {
    for (size_t k = 0; k < half; ++k) sums[k] += sums[k + half];
  }
  return sums[0];
}

// By all points, in double precision.
double MeasureAll(const v1::PrototypeScale& scale, std::span<const float> row) {
  const size_t features = row.size();
  std::vector<double> y(features);
  for (size_t b = 0; b < features; ++b) {
    if (features > kMaxPairedFeatures) {
      y[b] = double{row[b]} * scale.metric(static_cast<int>(b));
      continue;
    }
    for (size_t a = b; a < features; ++a) {
      y[b] += double{row[a]} * scale.metric(static_cast<int>(a * (a + 1) / 2 + b));
    }
  }
  double nearest = std::numeric_limits<double>::infinity();
  for (auto point = scale.point().begin(); point != scale.point().end(); point += static_cast<int>(features)) {
    const std::vector<double> q(point, point + static_cast<int>(features));
    nearest = std::min(nearest, Dot(q, q) - 2 * Dot(y, q));
  }
  nearest += Dot(y, y);
  return nearest < 0 ? 0 : nearest / scale.unit();
}

// Floats choose which points are measured: also where these hardly differ, and where floats overflow or are too small.
TEST(NearestPrototype, IsAsFarAsMeasuringEveryPointSaysToTheLastBit) {
  for (const size_t features : {1, 3, 38, 128, 150}) {
    for (const double size : {1e-24, 1e-3, 1.0, 1e4, 1e17, 1e25}) {
      Random random(features);
      Prototypes made = MakePrototypes(static_cast<Eigen::Index>(features), 100, 0.5, features);
      for (float& value : *made.scale.mutable_point()) value = static_cast<float>(size * value);
      // Every third point once more, but for the last bit of one number.
      for (int at = 0; at < 100 * static_cast<int>(features); at += 3 * static_cast<int>(features)) {
        for (size_t f = 0; f < features; ++f) made.scale.add_point(made.scale.point(at + static_cast<int>(f)));
        float& last = *(made.scale.mutable_point()->end() - 1);
        last = std::nextafter(last, HUGE_VALF);
      }
      Rows rows = MakeRows(50, features, 0, features);
      for (float& value : rows.input) value = static_cast<float>(size * value);
      OnEachTarget([&] {
        const NearestPrototype nearest(made.scale, features);
        NearestPrototype::Scratch scratch;
        std::vector<double> distances(50);
        for (size_t i = 0; i < 50; i += NearestPrototype::kMostRows) {
          nearest.SquaredDistances(rows.vectors(), i, std::min(NearestPrototype::kMostRows, 50 - i), &scratch,
                                   &distances[i]);
        }
        for (size_t i = 0; i < 50; ++i) {
          const double expected = MeasureAll(made.scale, std::span(rows.input).subspan(i * features, features));
          ASSERT_EQ(std::bit_cast<uint64_t>(distances[i]), std::bit_cast<uint64_t>(expected))
              << features << " features of size " << size << ", row " << i << ": " << distances[i] << " " << expected;
        }
      });
    }
  }
}

v1::ScoreScale WithPrototypes(v1::ScoreKind kind, const v1::PrototypeScale& prototypes, const Rows& normal) {
  v1::ScoreRecipe recipe;
  recipe.set_kind(kind);
  auto scale = FitScoreScale(recipe, normal.features, normal.features, {normal.input, normal.output, normal.observed});
  EXPECT_TRUE(scale.ok()) << scale.status();
  if (kind == v1::TRAINING_LOSS) scale->set_loss(v1::HUBER);
  *scale->mutable_prototypes() = prototypes;
  EXPECT_TRUE(CheckScoreScale(*scale, normal.features, normal.features).ok());
  return *scale;
}

constexpr v1::ScoreKind kKinds[] = {v1::MEAN_SQUARED,  v1::FEATURE_NORMALISED, v1::WORST_FEATURE, v1::WINDOW_NORMALISED,
                                    v1::WINDOW_SCALES, v1::MAHALANOBIS,        v1::TRAINING_LOSS};

TEST(NearestPrototype, AnErrorIsTheMeanOfResidualAndDistance) {
  constexpr size_t kFeatures = 5;
  const Prototypes made = MakePrototypes(kFeatures, 6, 0.7, 3);
  for (const v1::ScoreKind kind : kKinds) {
    v1::ScoreScale scale = WithPrototypes(kind, made.scale, MakeRows(50, kFeatures, 0, 1));
    Rows rows = MakeRows(40, kFeatures, 0.5, 2);
    std::fill_n(rows.observed.begin() + 7 * kFeatures, kFeatures, 0.0f);
    rows.missing[7] = kFeatures;
    std::copy_n(rows.output.begin() + 4 * kFeatures, kFeatures, rows.input.begin() + 4 * kFeatures);
    ErrorFormula::Scratch scratch;
    const ErrorFormula formula(scale);
    scale.clear_prototypes();
    std::vector<float> residual(40);
    ErrorFormula(scale).Errors(rows.vectors(), &scratch, residual);
    std::vector<float> first;
    OnEachTarget([&] {
      std::vector<float> errors(40);
      formula.Errors(rows.vectors(), &scratch, errors);
      if (first.empty()) first = errors;
      for (size_t i = 0; i < 40; ++i) {
        ASSERT_EQ(std::bit_cast<uint32_t>(errors[i]), std::bit_cast<uint32_t>(first[i])) << v1::ScoreKind_Name(kind);
        std::vector<float> parts(kFeatures);
        const RebuiltVectors one = {.count = 1,
                                    .width = kFeatures,
                                    .outputs = kFeatures,
                                    .input = &rows.input[i * kFeatures],
                                    .output = &rows.output[i * kFeatures],
                                    .observed = &rows.observed[i * kFeatures]};
        const float explained = formula.Explain(one, &scratch, parts).error;
        ASSERT_EQ(std::bit_cast<uint32_t>(explained), std::bit_cast<uint32_t>(errors[i])) << v1::ScoreKind_Name(kind);
        if (i == 7) {
          EXPECT_TRUE(std::isnan(errors[i])) << "nothing observed";
          continue;
        }
        EXPECT_NEAR(std::accumulate(parts.begin(), parts.end(), 0.0), errors[i], 1e-5 * errors[i]);
      }
    });
    EXPECT_EQ(first[4], 0) << "no residual";
    for (size_t i = 0; i < 40; ++i) {
      if (i == 7) continue;
      const double expected = std::sqrt(residual[i] * (Expected(made, rows.filled(i)) + 0.1));
      EXPECT_NEAR(first[i], expected, 1e-4 * expected) << v1::ScoreKind_Name(kind) << " " << i;
    }
  }
}

TEST(NearestPrototype, AnOutputThatOverflowedIsTheLargestError) {
  const Prototypes made = MakePrototypes(2, 3, 1, 3);
  const ErrorFormula formula(WithPrototypes(v1::MEAN_SQUARED, made.scale, MakeRows(50, 2, 0, 1)));
  Rows rows = MakeRows(1, 2, 0, 2);
  rows.output[1] = std::numeric_limits<float>::infinity();
  rows.observed[1] = 0;
  rows.missing[0] = 1;
  float error = 0;
  ErrorFormula::Scratch scratch;
  formula.Errors(rows.vectors(), &scratch, std::span(&error, 1));
  EXPECT_EQ(error, std::numeric_limits<float>::max());
}

TEST(NearestPrototype, AScaleThatCannotBeIsRefused) {
  const Prototypes made = MakePrototypes(3, 4, 1, 5);
  const auto refused = [&](const std::function<void(v1::PrototypeScale&)>& change) {
    v1::PrototypeScale scale = made.scale;
    change(scale);
    return std::string(CheckPrototypes(scale, 3).message());
  };
  EXPECT_EQ(refused([](auto& s) { s.mutable_metric()->RemoveLast(); }),
            "score: prototypes: metric: expected 6 values, got 5");
  EXPECT_THAT(refused([](auto& s) { s.set_metric(2, std::nanf("")); }),
              HasSubstr("score: prototypes: metric 2: expected a finite number, got"));
  EXPECT_EQ(refused([](auto& s) { s.clear_point(); }),
            "score: prototypes: point: expected 1 to 3072 values, a multiple of 3, got 0");
  EXPECT_THAT(refused([](auto& s) { s.add_point(1); }), HasSubstr("point: expected 1 to 3072 values"));
  EXPECT_THAT(refused([](auto& s) {
                while (s.point_size() <= 3072) s.add_point(1);
                s.add_point(1), s.add_point(1);
              }),
              HasSubstr("got 3075"));
  EXPECT_THAT(refused([](auto& s) { s.set_point(1, HUGE_VALF); }), HasSubstr("point 1: expected a finite number"));
  for (const double unit : {0.0, -1.0, HUGE_VAL, std::nan("")}) {
    EXPECT_THAT(refused([&](auto& s) { s.set_unit(unit); }),
                HasSubstr("score: prototypes: unit: expected a finite number above 0, got"));
  }
  EXPECT_EQ(CheckPrototypes(MakePrototypes(200, 1, 1, 1).scale, 200).message(), "");
  v1::PrototypeScale wide;
  wide.mutable_metric()->Resize(200, 1);
  wide.mutable_point()->Resize(200 * 164, 1);
  wide.set_unit(1);
  EXPECT_THAT(std::string(CheckPrototypes(wide, 200).message()), HasSubstr("1 to 32768 values"));

  v1::ScoreScale scale = WithPrototypes(v1::MEAN_SQUARED, made.scale, MakeRows(50, 3, 0, 1));
  EXPECT_EQ(CheckScoreScale(scale, 3, 6).message(),
            "score: prototypes: expected none for windows, nor beside t_squared");
  scale.mutable_prototypes()->set_unit(0);
  EXPECT_THAT(std::string(CheckScoreScale(scale, 3, 3).message()), HasSubstr("prototypes: unit"));
  scale.set_features(0);
  EXPECT_THAT(std::string(CheckScoreScale(scale, 3, 3).message()), HasSubstr("features: expected 3"));
}

}  // namespace
}  // namespace astray
