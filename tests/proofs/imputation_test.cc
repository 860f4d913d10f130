// Missing values: imputed by self-consistency, against the column mean and PCA; and counts that were lost.
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>
#include <cstdio>

#include "engine/base/random.h"
#include "engine/data/csv_reader.h"
#include "engine/train/train_job.h"
#include "tests/proofs/proof_training.h"

namespace astray {
namespace {

using Matrix = Eigen::MatrixXd;

Matrix ToMatrix(std::span<const float> values, size_t width) {
  return Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(
             values.data(), static_cast<Eigen::Index>(values.size() / width), static_cast<Eigen::Index>(width))
      .cast<double>();
}

// Columns with no spread in training have nothing to impute.
struct Standardised {
  explicit Standardised(const Matrix& training) {
    mean = training.colwise().mean();
    deviation =
        ((training.rowwise() - mean).colwise().squaredNorm() / static_cast<double>(training.rows())).cwiseSqrt();
    for (double& d : deviation) d = d < 1e-9 ? 1e12 : d;
  }
  Matrix Apply(const Matrix& rows) const { return (rows.rowwise() - mean).array().rowwise() / deviation.array(); }
  Eigen::RowVectorXd mean, deviation;
};

// Iterated projection onto `components` principal axes, as scikit-learn users write it: from 0, the mean.
Matrix ImputeByPca(const Matrix& axes, Eigen::Index components, const Matrix& rows, const Matrix& missing) {
  const Matrix basis = axes.leftCols(components);
  Matrix guess = (missing.array() > 0).select(0, rows);
  for (int i = 0; i < 100; ++i) guess = (missing.array() > 0).select(guess * basis * basis.transpose(), rows);
  return guess;
}

double RootMeanSquare(const Matrix& a, const Matrix& b, const Matrix& missing) {
  return std::sqrt(((a - b).array() * missing.array()).square().sum() / missing.sum());
}

Matrix Missing(Eigen::Index rows, Eigen::Index columns, double rate, uint64_t seed) {
  Random random(seed, 7);
  Matrix missing = Matrix::Zero(rows, columns);
  for (double& m : missing.reshaped()) m = random.Uniform() < rate ? 1 : 0;
  return missing;
}

struct Errors {
  double mean = 0, pca = 0, ours = 0, converged = 0;
};

class Imputation {
 public:
  Imputation(const Dataset& training, const Dataset& fresh, uint64_t seed)
      : detector_(TrainDetector(training, seed)), width_(training.features()), fresh_(&fresh) {
    const Matrix rows = ToMatrix(training.values, width_);
    scale_.emplace(rows);
    const Matrix x = scale_->Apply(rows);
    axes_ = Eigen::SelfAdjointEigenSolver<Matrix>(x.transpose() * x).eigenvectors().rowwise().reverse();
    chosen_on_ = x.topRows(std::min<Eigen::Index>(x.rows(), 400));
  }

  Errors At(double rate, uint64_t seed) const {
    const Matrix truth = scale_->Apply(ToMatrix(fresh_->values, width_));
    const Matrix missing = Missing(truth.rows(), truth.cols(), rate, seed);
    Errors errors;
    errors.mean = RootMeanSquare(Matrix::Zero(truth.rows(), truth.cols()), truth, missing);
    errors.pca = RootMeanSquare(ImputeByPca(axes_, BestComponents(rate, seed), truth, missing), truth, missing);

    ScratchVector<float> gaps = fresh_->values;
    for (Eigen::Index i = 0; i < truth.rows(); ++i) {
      for (Eigen::Index j = 0; j < truth.cols(); ++j) {
        if (missing(i, j) > 0) gaps[static_cast<size_t>(i * truth.cols() + j)] = std::nanf("");
      }
    }
    ScoreResult result;
    EXPECT_TRUE(detector_->Score(gaps, {.imputation = true}, &result).ok());
    errors.ours = RootMeanSquare(scale_->Apply(ToMatrix(result.imputed, width_)), truth, missing);
    for (const ImputationOutcome& outcome : result.imputations) errors.converged += outcome.converged;
    errors.converged /= static_cast<double>(result.imputations.size());
    return errors;
  }

 private:
  static std::shared_ptr<const Detector> TrainDetector(const Dataset& training, uint64_t seed) {
    const auto trained = Train(MakeRecipe("features { window: 1 }", training.features(), seed), training, {});
    EXPECT_TRUE(trained.ok()) << trained.status();
    return trained->detector;
  }

  // On training rows with gaps of the same kind: the number that imputes them best.
  Eigen::Index BestComponents(double rate, uint64_t seed) const {
    const Matrix missing = Missing(chosen_on_.rows(), chosen_on_.cols(), rate, seed + 100);
    Eigen::Index best = 1;
    double least = 1e300;
    for (Eigen::Index k = 1; k < std::min<Eigen::Index>(20, chosen_on_.cols()); ++k) {
      const double error = RootMeanSquare(ImputeByPca(axes_, k, chosen_on_, missing), chosen_on_, missing);
      if (error < least) {
        least = error;
        best = k;
      }
    }
    return best;
  }

  std::shared_ptr<const Detector> detector_;
  size_t width_;
  const Dataset* fresh_;
  std::optional<Standardised> scale_;
  Matrix axes_, chosen_on_;
};

TEST(Proof, ImputationBeatsTheColumnMeanAndPca) {
  bool found = false;
  for (const std::string name : {"pendigits", "vowels", "optdigits"}) {
    CsvOptions options;
    options.label_column = "label";
    const auto training = ReadCsv(DataPath("adbench/" + name + "_train.csv.gz").string(), options);
    auto fresh = ReadCsv(DataPath("adbench/" + name + "_test.csv.gz").string(), options);
    if (!training.ok() || !fresh.ok()) continue;
    found = true;
    fresh->DropAnomalies();
    const Dataset few = Rows(*fresh, 0, std::min<size_t>(fresh->rows(), 800));
    for (const uint64_t seed : {1, 2}) {
      const Imputation imputation(Rows(*training, 0, training->rows()), few, seed);
      for (const double rate : {0.1, 0.3, 0.5}) {
        const Errors errors = imputation.At(rate, seed);
        std::printf(
            "%-10s seed %d, %2.0f %% missing: error %.3f (mean %.3f, PCA %.3f); %.1f %% of the rows converged\n",
            name.c_str(), static_cast<int>(seed), 100 * rate, errors.ours, errors.mean, errors.pca,
            100 * errors.converged);
        EXPECT_LT(errors.ours, errors.mean) << name << " " << rate;
        EXPECT_LT(errors.ours, errors.pca) << name << " " << rate;
      }
    }
  }
  if (!found) GTEST_SKIP() << "no data; set ASTRAY_DATA_DIR";
}

// Counts of 20 genes in cells of one hidden state: negative binomial around a mean that follows the state, a third of
// them lost to 0. What the network makes of a cell is to be the mean before the loss.
TEST(Proof, ALikelihoodOfCountsBeatsSquaredErrorOnLostCounts) {
  constexpr size_t kGenes = 20, kCells = 3000;
  constexpr double kDispersion = 2, kLost = 0.35, kUnobserved = 0.1;
  for (const uint64_t seed : {1, 2, 3}) {
    Random random(seed, 11);
    std::vector<double> a(kGenes), b(kGenes);
    for (size_t j = 0; j < kGenes; ++j) {
      a[j] = 2 + 0.7 * random.Normal();
      b[j] = 0.8 * random.Normal();
    }
    const auto gamma = [&](double shape) {  // Marsaglia & Tsang 2000
      const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
      while (true) {
        const double x = random.Normal(), v = std::pow(1 + c * x, 3);
        if (v > 0 && std::log(random.Uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
      }
    };
    const auto poisson = [&](double mean) {
      int count = 0;
      for (double t = -std::log(random.Uniform()); t < mean; t -= std::log(random.Uniform())) ++count;
      return count;
    };
    Dataset cells;
    for (size_t j = 0; j < kGenes; ++j) cells.feature_names.push_back("gene" + std::to_string(j));
    std::vector<double> means;
    std::vector<bool> lost;
    for (size_t i = 0; i < kCells; ++i) {
      const double state = random.Normal();
      for (size_t j = 0; j < kGenes; ++j) {
        const double mean = std::exp(a[j] + b[j] * state);
        means.push_back(mean);
        lost.push_back(random.Uniform() < kLost);
        const int count = poisson(mean / kDispersion * gamma(kDispersion));
        const float value = lost.back() ? 0.0f : static_cast<float>(count);
        cells.values.push_back(random.Uniform() < kUnobserved ? std::nanf("") : value);
      }
    }
    // Of ln(1 + mean), where the count was lost.
    const auto error = [&](const std::string& loss) {
      const auto trained = Train(MakeRecipe("features { window: 1 scaling: LOG1P } network { encoder: 64 encoder: 2 } "
                                            "corruption { masking { keep_probability: 0.8 } } training { max_steps: "
                                            "2000 patience: 100 schedule: COSINE } loss: " +
                                                loss,
                                            kGenes, seed),
                                 cells, {});
      EXPECT_TRUE(trained.ok()) << trained.status();
      ScoreResult result;
      EXPECT_TRUE(trained->detector->Score(cells.values, {.reconstruction = true}, &result).ok());
      double sum = 0, count = 0;
      for (size_t k = 0; k < means.size(); ++k) {
        if (!lost[k]) continue;
        const double difference = std::log1p(std::max(0.0f, result.reconstruction[k])) - std::log1p(means[k]);
        sum += difference * difference;
        ++count;
      }
      return std::sqrt(sum / count);
    };
    const double squared = error("MEAN_SQUARED_ERROR"), likelihood = error("ZERO_INFLATED_NEGATIVE_BINOMIAL");
    std::printf("seed %d: error of ln(1 + mean) at lost counts %.3f by squared error, %.3f by likelihood\n",
                static_cast<int>(seed), squared, likelihood);
    EXPECT_LT(likelihood, 0.6 * squared) << "seed " << seed;
  }
}

}  // namespace
}  // namespace astray
