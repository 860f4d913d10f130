// Claims of the literature that a denoising autoencoder must bear out, each on data whose truth is known.
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>
#include <functional>
#include <vector>

#include "engine/base/random.h"
#include "engine/detect/ranking.h"
#include "engine/train/train_job.h"
#include "tests/proofs/proof_training.h"

namespace astray {
namespace {

// Baldi & Hornik 1989: a linear autoencoder spans the principal subspace; small noise does not turn it.
TEST(Proof, ALinearUndercompleteNetworkSpansThePrincipalSubspace) {
  constexpr size_t kWidth = 10, kRows = 4000, kCode = 3;
  for (const uint64_t seed : {1, 2, 3}) {
    Random random(seed);
    Eigen::MatrixXd mixing(kWidth, kWidth);
    for (auto& m : mixing.reshaped()) m = random.Normal();
    const Eigen::MatrixXd axes = Eigen::HouseholderQR<Eigen::MatrixXd>(mixing).householderQ();
    std::vector<float> rows;
    for (size_t i = 0; i < kRows; ++i) {
      Eigen::VectorXd x = Eigen::VectorXd::Zero(kWidth);
      for (size_t j = 0; j < kWidth; ++j) {
        const double deviation = j < kCode ? 2.0 - 0.4 * static_cast<double>(j) : 0.4;
        x += deviation * random.Normal() * axes.col(static_cast<Eigen::Index>(j));
      }
      for (const double value : x) rows.push_back(static_cast<float>(value));
    }
    const Network network =
        TrainOn(rows, kWidth,
                "network { encoder: 3 activation: LINEAR } corruption { gaussian { sigma: 0.1 } } "
                "training { max_steps: 4000 patience: 1000 schedule: COSINE adam { learning_rate: 0.01 } }",
                seed);
    // The decoder's weights [kWidth x kCode] span what can come out.
    const Eigen::MatrixXd decoder = Eigen::Map<const Eigen::Matrix<float, kWidth, kCode, Eigen::RowMajor>>(
                                        network.parameters().data() + network.offsets(1).weights)
                                        .cast<double>();
    const Eigen::MatrixXd learned = Eigen::JacobiSVD<Eigen::MatrixXd>(decoder, Eigen::ComputeThinU).matrixU();
    const Eigen::MatrixXd x = Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, kWidth, Eigen::RowMajor>>(
                                  rows.data(), kRows * 9 / 10, kWidth)
                                  .cast<double>();
    const Eigen::MatrixXd centred = x.rowwise() - x.colwise().mean();
    const Eigen::MatrixXd principal =
        Eigen::JacobiSVD<Eigen::MatrixXd>(centred, Eigen::ComputeThinV).matrixV().leftCols(kCode);
    const Eigen::VectorXd cosines = Eigen::JacobiSVD<Eigen::MatrixXd>(learned.transpose() * principal).singularValues();
    const double largest_angle = std::acos(std::min(1.0, cosines.minCoeff())) * 180 / M_PI;
    std::printf("seed %d: largest principal angle %.2f degrees\n", static_cast<int>(seed), largest_angle);
    EXPECT_LT(largest_angle, 2.0) << "degrees, seed " << seed;
  }
}

struct Point {
  double x = 0, y = 0;
};

// The mean cosine between (reconstruction - input) / sigma² and the gradient of the log-density, over corrupted points;
// a gradient of (0, 0) leaves its point out.
double MeanCosine(const std::vector<float>& clean, double sigma, uint64_t seed,
                  const std::function<Point(Point)>& gradient) {
  const Network network =
      TrainOn(clean, 2,
              "network { encoder: 128 encoder: 64 } corruption { gaussian { sigma: " + std::to_string(sigma) +
                  " } } training { max_steps: 6000 patience: 1000 schedule: COSINE } ",
              seed);
  Random random(seed, 2);
  std::vector<float> corrupted(clean.begin(), clean.begin() + 2000);
  for (float& value : corrupted) value += static_cast<float>(sigma * random.Normal());
  const std::vector<float> rebuilt = Reconstruct(network, corrupted);
  double sum = 0, points = 0;
  for (size_t i = 0; i < corrupted.size(); i += 2) {
    const Point step = {rebuilt[i] - corrupted[i], rebuilt[i + 1] - corrupted[i + 1]};
    const Point slope = gradient({corrupted[i], corrupted[i + 1]});
    if (slope.x == 0 && slope.y == 0) continue;
    ++points;
    sum += (step.x * slope.x + step.y * slope.y) / (std::hypot(step.x, step.y) * std::hypot(slope.x, slope.y));
  }
  EXPECT_GT(points, 600);
  std::printf("seed %d: mean cosine %.4f over %.0f points\n", static_cast<int>(seed), sum / points, points);
  return sum / points;
}

// Alain & Bengio 2014: (r(x) - x) / sigma² estimates d log p / dx.
TEST(Proof, ReconstructionPointsUpTheDensityOfAMixture) {
  constexpr double kSpread = 0.3;
  const std::vector<Point> centres = {{-1, 0}, {1, 0}, {0, 1.7}};
  for (const uint64_t seed : {1, 2, 3}) {
    Random random(seed);
    std::vector<float> clean;
    for (int i = 0; i < 30'000; ++i) {
      const Point centre = centres[random.UniformInt(3)];
      clean.push_back(static_cast<float>(centre.x + kSpread * random.Normal()));
      clean.push_back(static_cast<float>(centre.y + kSpread * random.Normal()));
    }
    const double cosine = MeanCosine(clean, 0.2, seed, [&](Point at) {
      // d log sum_k exp(-|at - c_k|² / 2s²) / d at
      Point slope;
      double total = 0;
      for (const Point& c : centres) {
        const double dx = c.x - at.x, dy = c.y - at.y;
        const double weight = std::exp(-(dx * dx + dy * dy) / (2 * kSpread * kSpread));
        slope.x += weight * dx;
        slope.y += weight * dy;
        total += weight;
      }
      return Point{slope.x / total, slope.y / total};
    });
    EXPECT_GT(cosine, 0.95) << "seed " << seed;
  }
}

TEST(Proof, ReconstructionPointsUpTheDensityOfARing) {
  for (const uint64_t seed : {1, 2, 3}) {
    Random random(seed);
    std::vector<float> clean;
    constexpr double kRadius = 1.5, kSpread = 0.25;
    for (int i = 0; i < 30'000; ++i) {
      const double angle = 2 * M_PI * random.Uniform(), radius = kRadius + kSpread * random.Normal();
      clean.push_back(static_cast<float>(radius * std::cos(angle)));
      clean.push_back(static_cast<float>(radius * std::sin(angle)));
    }
    // log p = -(r - R)² / 2s² - log r: along the radius. On the ridge itself, within a quarter of s, it points nowhere.
    const double cosine = MeanCosine(clean, 0.2, seed, [&](Point at) {
      const double r = std::hypot(at.x, at.y), slope = (kRadius - r) / (kSpread * kSpread) - 1 / r;
      if (std::abs(kRadius - kSpread * kSpread / kRadius - r) < kSpread / 4) return Point{};
      return Point{slope * at.x / r, slope * at.y / r};
    });
    EXPECT_GT(cosine, 0.95) << "seed " << seed;
  }
}

// Four strokes of six pixels and a code of two: every stroke that lost a pixel comes back nearer to what it was.
TEST(Proof, SixPixelStrokesAreRepaired) {
  const std::vector<std::vector<float>> strokes = {
      {1, 1, 1, 0, 0, 0}, {1, 1, 0, 0, 0, 0}, {0, 0, 0, 1, 1, 1}, {0, 0, 0, 0, 1, 1}};
  for (const uint64_t seed : {1, 2, 3}) {
    std::vector<float> rows;
    for (int i = 0; i < 400; ++i) rows.insert(rows.end(), strokes[i % 4].begin(), strokes[i % 4].end());
    // 30 % of the pixels go out, 3 % go on.
    const Network network =
        TrainOn(rows, 6,
                "features { scaling: MIN_MAX } network { encoder: 2 activation: TANH output_activation: SIGMOID } "
                "corruption { masking { keep_probability: 0.7 } } corruption { salt_and_pepper { probability: 0.06 } } "
                "training { max_steps: 2500 patience: 1000 adam { learning_rate: 0.02 } }",
                seed);
    for (const std::vector<float>& stroke : strokes) {
      for (size_t pixel = 0; pixel < 6; ++pixel) {
        if (stroke[pixel] == 0) continue;
        std::vector<float> corrupted = stroke;
        corrupted[pixel] = 0;
        const std::vector<float> rebuilt = Reconstruct(network, corrupted);
        double error = 0;
        for (size_t j = 0; j < 6; ++j) error += (rebuilt[j] - stroke[j]) * (rebuilt[j] - stroke[j]) / 6;
        EXPECT_LT(error, 1.0 / 6) << "the corrupted input's own error; seed " << seed << ", pixel " << pixel;
      }
    }
  }
}

// Eight sensors that follow one angle.
Dataset Circle(size_t rows, uint64_t seed) {
  Dataset data;
  for (int j = 0; j < 8; ++j) data.feature_names.push_back("s" + std::to_string(j));
  Random random(seed);
  for (size_t i = 0; i < rows; ++i) {
    const double t = 2 * M_PI * random.Uniform();
    for (int j = 0; j < 8; ++j) {
      data.values.push_back(static_cast<float>(std::sin((1 + j % 4) * t + j) + 0.15 * random.Normal()));
    }
  }
  return data;
}

// Vincent et al. 2008: with as many units as it likes, an autoencoder that sees clean inputs learns the identity and
// rebuilds anything; what it has to repair keeps it from that.
TEST(Proof, DenoisingBeatsCopying) {
  double gained = 0;
  for (const uint64_t seed : {1, 2, 3}) {
    const Dataset normal = Circle(3000, 10 + seed), fresh = Circle(2000, 20 + seed);
    // Anomalies: in each second row one sensor takes another row's value, normal by itself.
    ScratchVector<float> rows = fresh.values;
    std::vector<uint8_t> labels(2000);
    Random random(seed);
    for (size_t i = 0; i < 2000; i += 2) {
      const size_t sensor = random.UniformInt(8);
      rows[i * 8 + sensor] = fresh.values[random.UniformInt(2000) * 8 + sensor];
      labels[i] = 1;
    }
    const auto auroc = [&](const std::string& corruption, double* noise_gain) {
      const auto trained = Train(MakeRecipe("features { window: 1 } network { encoder: 128 encoder: 128 } "
                                            "training { max_steps: 4000 patience: 1000 schedule: COSINE } " +
                                                corruption,
                                            8, seed),
                                 normal, {});
      EXPECT_TRUE(trained.ok()) << trained.status();
      *noise_gain = trained->report.comparison().noise_gain();
      ScoreResult result;
      EXPECT_TRUE(trained->detector->Score(rows, {}, &result).ok());
      std::vector<float> scores;
      for (const Verdict& verdict : result.verdicts) scores.push_back(verdict.error);
      return Auroc(scores, labels);
    };
    double plain_gain = 0, denoising_gain = 0;
    const double plain = auroc("corruption { gaussian { sigma: 0.0001 } }", &plain_gain);
    const double denoising = auroc("corruption { gaussian { sigma: 0.5 } }", &denoising_gain);
    EXPECT_GT(plain_gain, 0.9) << "share of a disturbance that comes through: the identity";
    EXPECT_LT(denoising_gain, 0.5);
    EXPECT_GT(denoising, plain) << "AUROC, seed " << seed;
    gained += (denoising - plain) / 3;
    std::printf("seed %d: AUROC %.3f copying, %.3f denoising; noise gain %.2f, %.2f\n", static_cast<int>(seed), plain,
                denoising, plain_gain, denoising_gain);
  }
  EXPECT_GT(gained, 0.01) << "AUROC, mean over the seeds";
}

}  // namespace
}  // namespace astray
