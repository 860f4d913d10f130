// Denoising autoencoders on 8 x 8 images of handwritten digits.
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "engine/base/random.h"
#include "engine/data/csv_reader.h"
#include "tests/proofs/proof_training.h"

namespace astray {
namespace {

constexpr size_t kPixels = 64, kTraining = 1500;

struct Digits {
  std::vector<float> images;  // of pixels in [0, 1]
  std::vector<int> digits;
  size_t size() const { return digits.size(); }
  std::vector<float> Part(size_t begin, size_t end) const {
    return {images.begin() + static_cast<std::ptrdiff_t>(begin * kPixels),
            images.begin() + static_cast<std::ptrdiff_t>(end * kPixels)};
  }
};

// Empty where the data is missing.
Digits ReadDigits() {
  Digits read;
  const auto data = ReadCsv(DataPath("digits/digits.csv.gz").string(), {});
  if (!data.ok()) return read;
  EXPECT_EQ(data->features(), kPixels + 1);
  for (size_t i = 0; i < data->rows(); ++i) {
    for (size_t j = 0; j < kPixels; ++j) read.images.push_back(data->row(i)[j] / 16);
    read.digits.push_back(static_cast<int>(data->row(i)[kPixels]));
  }
  return read;
}

double MeanSquare(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

// Of images with a peak of 1, in decibels.
double Psnr(const std::vector<float>& image, const std::vector<float>& clean) {
  return -10 * std::log10(MeanSquare(image, clean));
}

TEST(Proof, AConvolutionalNetworkRemovesNoiseFromDigits) {
  const Digits digits = ReadDigits();
  if (digits.size() == 0) GTEST_SKIP() << "no digits; set ASTRAY_DATA_DIR";
  const std::vector<float> clean = digits.Part(kTraining, digits.size());
  for (const uint64_t seed : {1, 2, 3}) {
    const Network network =
        TrainOn(digits.Part(0, kTraining), kPixels,
                "features { scaling: MIN_MAX window: 1 shape { height: 8 width: 8 channels: 1 } } network { preset: "
                "CONVOLUTIONAL } corruption { clipped_gaussian { sigma: 0.25 } } training { max_steps: 1200 patience: "
                "100 schedule: COSINE batch_size: 64 adam { learning_rate: 0.004 } }",
                seed);
    std::vector<float> noisy = clean;
    Random random(seed, 3);
    for (float& pixel : noisy) pixel = std::clamp(pixel + static_cast<float>(0.25 * random.Normal()), 0.0f, 1.0f);
    const double before = Psnr(noisy, clean), after = Psnr(Reconstruct(network, noisy), clean);
    std::printf("seed %d: %.2f dB noisy, %.2f dB denoised: a gain of %.2f dB\n", static_cast<int>(seed), before, after,
                after - before);
    EXPECT_GT(after - before, 3.0) << "dB, seed " << seed;
  }
}

using Matrix = Eigen::MatrixXd;

// A classifier that knows nothing of the autoencoder: 64 hidden relu units and a softmax, by gradient descent with
// momentum on all images at once.
class Classifier {
 public:
  Classifier(const std::vector<float>& images, const std::vector<int>& digits) {
    const Matrix x = ToMatrix(images), wanted = OneHot(digits);
    Random random(1);
    for (Matrix* m : {&first_, &second_}) {
      for (double& w : m->reshaped()) w = 0.2 * random.Normal();
    }
    Matrix first_speed = Matrix::Zero(first_.rows(), first_.cols());
    Matrix second_speed = Matrix::Zero(second_.rows(), second_.cols());
    for (int step = 0; step < 600; ++step) {
      const Matrix hidden = Hidden(x), slope = (Probabilities(hidden) - wanted) / static_cast<double>(x.rows());
      const Matrix below = BehindRelu(slope, hidden);
      second_speed = 0.9 * second_speed - 0.3 * WithOnes(hidden).transpose() * slope;
      first_speed = 0.9 * first_speed - 0.3 * WithOnes(x).transpose() * below;
      second_ += second_speed;
      first_ += first_speed;
    }
  }

  double Accuracy(const std::vector<float>& images, std::span<const int> digits) const {
    const Matrix p = Probabilities(Hidden(ToMatrix(images)));
    double right = 0;
    for (Eigen::Index i = 0; i < p.rows(); ++i) {
      Eigen::Index best = 0;
      p.row(i).maxCoeff(&best);
      right += best == digits[static_cast<size_t>(i)];
    }
    return right / static_cast<double>(p.rows());
  }

  // The fast gradient sign method (Goodfellow et al. 2015): every pixel moves by `size`, the way the loss rises.
  std::vector<float> Attack(const std::vector<float>& images, std::span<const int> digits, double size) const {
    const Matrix hidden = Hidden(ToMatrix(images));
    const Matrix slope =
        BehindRelu(Probabilities(hidden) - OneHot(digits), hidden) * first_.topRows(kPixels).transpose();
    std::vector<float> attacked = images;
    for (size_t k = 0; k < attacked.size(); ++k) {
      const auto row = static_cast<Eigen::Index>(k / kPixels), column = static_cast<Eigen::Index>(k % kPixels);
      attacked[k] = std::clamp(attacked[k] + static_cast<float>(slope(row, column) > 0 ? size : -size), 0.0f, 1.0f);
    }
    return attacked;
  }

 private:
  static Matrix ToMatrix(const std::vector<float>& images) {
    return Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, kPixels, Eigen::RowMajor>>(
               images.data(), static_cast<Eigen::Index>(images.size() / kPixels), kPixels)
        .cast<double>();
  }
  static Matrix OneHot(std::span<const int> digits) {
    Matrix wanted = Matrix::Zero(static_cast<Eigen::Index>(digits.size()), 10);
    for (size_t i = 0; i < digits.size(); ++i) wanted(static_cast<Eigen::Index>(i), digits[i]) = 1;
    return wanted;
  }
  // A column of ones for the bias, which is the last row of the weights.
  static Matrix WithOnes(const Matrix& x) {
    Matrix with(x.rows(), x.cols() + 1);
    with << x, Matrix::Ones(x.rows(), 1);
    return with;
  }
  Matrix Hidden(const Matrix& x) const { return (WithOnes(x) * first_).cwiseMax(0); }
  Matrix Probabilities(const Matrix& hidden) const {
    Matrix z = WithOnes(hidden) * second_;
    z = (z.colwise() - z.rowwise().maxCoeff()).array().exp();
    return z.array().colwise() / z.rowwise().sum().array();
  }
  Matrix BehindRelu(const Matrix& slope, const Matrix& hidden) const {
    const Matrix below = slope * second_.topRows(second_.rows() - 1).transpose();
    return (hidden.array() > 0).select(below, 0);
  }

  Matrix first_ = Matrix(kPixels + 1, 64), second_ = Matrix(65, 10);
};

TEST(Proof, PurificationUndoesAnAttackOnAClassifier) {
  const Digits digits = ReadDigits();
  if (digits.size() == 0) GTEST_SKIP() << "no digits; set ASTRAY_DATA_DIR";
  const std::span<const int> truth = std::span(digits.digits).subspan(kTraining);
  const std::vector<float> clean = digits.Part(kTraining, digits.size());
  const Classifier classifier(digits.Part(0, kTraining), {digits.digits.begin(), digits.digits.begin() + kTraining});
  const std::vector<float> attacked = classifier.Attack(clean, truth, 0.15);
  const double before = classifier.Accuracy(clean, truth), fooled = classifier.Accuracy(attacked, truth);
  EXPECT_GT(before, 0.9);
  EXPECT_LT(fooled, 0.4) << "the attack is to be one";
  for (const uint64_t seed : {1, 2, 3}) {
    const Network network = TrainOn(
        digits.Part(0, kTraining), kPixels,
        "features { scaling: MIN_MAX window: 1 } network { encoder: 256 encoder: 256 } corruption { gaussian { sigma: "
        "0.25 } } training { max_steps: 1500 patience: 100 schedule: COSINE }",
        seed);
    const auto purify = [&](const std::vector<float>& images) {
      return Reconstruct(network, Reconstruct(network, images));  // two passes
    };
    const double purified = classifier.Accuracy(purify(attacked), truth);
    const double harmless = classifier.Accuracy(purify(clean), truth);
    std::printf("seed %d: accuracy %.3f clean, %.3f attacked, %.3f attacked and purified, %.3f clean and purified\n",
                static_cast<int>(seed), before, fooled, purified, harmless);
    EXPECT_GT((purified - fooled) / (before - fooled), 0.55) << "share of what was lost, seed " << seed;
    EXPECT_GT(harmless, before - 0.03) << "what was not attacked is left alone";
  }
}

}  // namespace
}  // namespace astray
