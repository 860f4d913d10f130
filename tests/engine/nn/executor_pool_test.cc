#include "engine/nn/executor_pool.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tests/testing/reference_network.h"

namespace astray {
namespace {

TEST(ExecutorPool, ManyThreadsGetWhatOneThreadGets) {
  Network network = *Network::Create(testing::DenseSpec({20, 32, 4, 32, 20}, v1::RELU, v1::LINEAR));
  Random random(1);
  network.Initialise(random);
  ExecutorPool pool(std::move(network));
  std::vector<float> input(30 * 20), expected(30 * 20);
  random.FillNormal(input);
  ASSERT_TRUE((*pool.Acquire())->Forward(30, input, expected).ok());

  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      std::vector<float> output(30 * 20);
      for (int i = 0; i < 50; ++i) {
        auto lease = pool.Acquire();
        ASSERT_TRUE(lease.ok()) << lease.status();
        ASSERT_TRUE((*lease)->Forward(30, input, output).ok());
        ASSERT_EQ(output, expected);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace astray
