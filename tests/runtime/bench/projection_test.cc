// Projections: by hand on round numbers, and what must hold of any.
#include "runtime/bench/projection.h"

#include <gtest/gtest.h>

#include <fstream>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

const DeviceRates kRound{.name = "round",
                         .workers_per_host = 4,
                         .sampled_edges = 1e6,
                         .dense_flops = 1e9,
                         .memory_bytes = 1e9,
                         .load_bytes = 1e6,
                         .peer_bytes = 1e6,
                         .network_bytes = 1e5,
                         .exchange = 1e-3,
                         .step = 1e-2};

VolumeLine line_of(int workers) {
  return {.mode = "split",
          .workers = workers,
          .batch_size = 100,
          .edges = 4000,
          .input_rows = 800,
          .cached_rows = 200,
          .gflop = 0.4,
          .moved_bytes = 4e7,
          .pull_bytes = workers > 1 ? 8000.0 : 0.0,
          .load_edges = workers > 1 ? 1.5 : 1,
          .load_inputs = workers > 1 ? 1.25 : 1};
}

TEST(Projection, IsCountsOverRates) {
  const ProjectionOptions options{.layers = 2, .row_bytes = 100, .weights = 1000, .num_train = 250};
  const Projection four = project(line_of(4), kRound, options);
  EXPECT_DOUBLE_EQ(four.sample, 4000 * 1.5 / 4 / 1e6);
  EXPECT_DOUBLE_EQ(four.load, 800 * 100 * 1.25 / 4 / 1e6);
  EXPECT_DOUBLE_EQ(four.compute, 1.5 / 4 * (0.4 + 0.04));
  EXPECT_DOUBLE_EQ(four.shuffle, 2000 / 1e6 + 8 * 1e-3);
  EXPECT_DOUBLE_EQ(four.gradients, 2 * 4000 * 0.75 / 1e6 + 2e-3);
  EXPECT_DOUBLE_EQ(four.step, 1e-2);
  EXPECT_DOUBLE_EQ(four.epoch, 3 * four.total());  // the last batch is short, and a step
}

TEST(Projection, OneWorkerSendsNothing) {
  const Projection one = project(line_of(1), kRound, {.row_bytes = 100, .num_train = 100});
  EXPECT_EQ(one.shuffle, 0);
  EXPECT_EQ(one.gradients, 0);
}

TEST(Projection, RowsOfACacheAreNotLoaded) {
  const ProjectionOptions without{.row_bytes = 100, .num_train = 100};
  ProjectionOptions with = without;
  with.cached = true;
  EXPECT_DOUBLE_EQ(project(line_of(4), kRound, with).load,
                   0.75 * project(line_of(4), kRound, without).load);
}

TEST(Projection, FeaturesOnDevicesAreFetchedInModeDataAlone) {
  const ProjectionOptions options{.row_bytes = 100, .num_train = 100, .on_device = true};
  VolumeLine line = line_of(4);
  EXPECT_EQ(project(line, kRound, options).load, 0);
  line.mode = "data";
  EXPECT_DOUBLE_EQ(project(line, kRound, options).load, 800 * 100 * 1.25 / 4 * 0.75 / 1e6 + 2e-3);
}

TEST(Projection, OtherHostsHaveTheSlowerLink) {
  const ProjectionOptions options{.layers = 1, .row_bytes = 100, .num_train = 100};
  const Projection eight = project(line_of(8), kRound, options);
  // Of seven peers three are on the host.
  EXPECT_DOUBLE_EQ(eight.shuffle, 1000 * (3.0 / 7 / 1e6 + 4.0 / 7 / 1e5) + 4e-3);
}

class Rates : public testing::Test {
 protected:
  std::string refusal(const std::string& text) {
    const std::string file = testing::TempDir() + "rates.yaml";
    std::ofstream(file) << text;
    try {
      read_device_rates(file);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(Rates, OfTheTreeAreRead) {
  for (const char* const name : {"v100_nvlink", "h100_nvlink"}) {
    const DeviceRates rates =
        read_device_rates(std::string(GSPLIT_SOURCE_DIR) + "/bench/rates/" + name + ".yaml");
    EXPECT_FALSE(rates.name.empty());
    EXPECT_GE(rates.workers_per_host, 4);
    EXPECT_GT(rates.peer_bytes, rates.network_bytes);
  }
}

TEST_F(Rates, ThatAreWrongAreNamed) {
  EXPECT_NE(refusal("name: x\n").find("is missing"), std::string::npos);
  EXPECT_NE(refusal("step: -1\n").find("step is not a positive number"), std::string::npos);
  EXPECT_NE(refusal("step: .nan\n").find("step is not a positive number"), std::string::npos);
  EXPECT_NE(refusal("speed: 1\n").find("unknown key speed"), std::string::npos);
  EXPECT_NE(refusal("[1, 2]\n").find("holds no rates"), std::string::npos);
  EXPECT_NE(refusal("a: [\n").find("no YAML"), std::string::npos);
}

}  // namespace
}  // namespace gsplit
