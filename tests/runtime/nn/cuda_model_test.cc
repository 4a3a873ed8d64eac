// Whole models on GPUs against the same on the CPU, from the same weights at each of 50 steps; the
// GPUs of one host, one a worker.
#include "kernels/device_module.h"
#include "tests/runtime/nn/pass.h"

namespace gsplit {
namespace {

using namespace test;

class OnGpus : public testing::TestWithParam<std::tuple<ModelCase, int, Spmm>> {
 protected:
  void SetUp() override {
    const OpenedModule opened = open_device_module();
    if (opened.module == nullptr) GTEST_SKIP() << opened.problem;
    const DeviceReport report = opened.module->report();
    if (!report.problem.empty()) GTEST_SKIP() << report.problem;
    if (report.devices.size() < static_cast<std::size_t>(workers())) {
      GTEST_SKIP() << report.devices.size() << " GPUs for " << workers() << " workers";
    }
    make_backend_ = [opened, spmm = std::get<2>(GetParam())](int rank) {
      return opened.module->make_backend({.device = rank, .spmm = spmm});
    };
  }
  const ModelCase& model() const { return std::get<0>(GetParam()); }
  int workers() const { return std::get<1>(GetParam()); }

  MakeBackend make_backend_;
};

TEST_P(OnGpus, LossAndGradientsAreTheCpusAtEachOf50Steps) {
  Problem problem = random_problem(model(), DType::kF32);
  std::map<std::string, Values> weights = initial_weights(problem);
  for (std::uint32_t step = 1; step <= 50; ++step) {
    problem.key.step = step;
    const Result cpu = run(problem, 1, weights);
    const Result gpus = run(problem, workers(), weights, make_backend_);
    EXPECT_NEAR(gpus.loss, cpu.loss, 1e-5 * cpu.loss) << "step " << step;
    ASSERT_EQ(gpus.gradients.size(), cpu.gradients.size());
    for (auto& [name, values] : weights) {
      const Values& gradient = cpu.gradients.at(name);
      EXPECT_LT(relative_error(gpus.gradients.at(name), gradient), 1e-5)
          << name << " step " << step;
      for (std::size_t i = 0; i < values.size(); ++i) values[i] -= 0.1 * gradient[i];
    }
  }
}

TEST_P(OnGpus, TwiceGivesTheSameBits) {
  const Problem problem = random_problem(model(), DType::kF32);
  const Result first = run(problem, workers(), {}, make_backend_);
  const Result second = run(problem, workers(), {}, make_backend_);
  EXPECT_EQ(first.gradients, second.gradients);
  EXPECT_EQ(first.logits, second.logits);
}

std::string name_of_case(const testing::TestParamInfo<std::tuple<ModelCase, int, Spmm>>& info) {
  return testing::PrintToString(std::get<0>(info.param)) + "_" +
         std::to_string(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(
    Types, OnGpus,
    testing::Combine(testing::Values(ModelCase{"sage", false}, ModelCase{"gcn", false},
                                     ModelCase{"gin", false}, ModelCase{"gat", false},
                                     ModelCase{"gat", true}, ModelCase{"sage", true, true},
                                     ModelCase{"gcn", true, true}),
                     testing::Values(1, 2, 4), testing::Values(Spmm::kOwn)),
    name_of_case);
INSTANTIATE_TEST_SUITE_P(Cusparse, OnGpus,
                         testing::Combine(testing::Values(ModelCase{"sage", false},
                                                          ModelCase{"gcn", true, true},
                                                          ModelCase{"gin", false}),
                                          testing::Values(2), testing::Values(Spmm::kCusparse)),
                         name_of_case);

}  // namespace
}  // namespace gsplit
