// Forward and backward of whole models: against PyTorch Geometric's golden values, against finite
// differences, and any number of workers against one.
#include "runtime/nn/model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "runtime/nn/order.h"
#include "runtime/train/safetensors.h"
#include "tests/runtime/nn/pass.h"

namespace gsplit {
namespace {

using namespace test;

// --- Golden values of PyTorch Geometric ---------------------------------------------------------

Values values_of(const Tensor& tensor) {
  Values values;
  if (tensor.dtype == "I64") {
    for (std::size_t i = 0; i < tensor.data.size(); i += 8) {
      std::int64_t x = 0;
      std::memcpy(&x, tensor.data.data() + i, 8);
      values.push_back(static_cast<double>(x));
    }
  } else {
    for (std::size_t i = 0; i < tensor.data.size(); i += 4) {
      float x = 0;
      std::memcpy(&x, tensor.data.data() + i, 4);
      values.push_back(x);
    }
  }
  return values;
}

Problem golden_problem(const SafetensorsFile& file, const std::string& type, int layers,
                       DType dtype) {
  Problem problem;
  const Values edges = values_of(file.at("edge_index")), x = values_of(file.at("x"));
  const auto nodes = static_cast<std::size_t>(file.at("x").shape[0]);
  const auto width = static_cast<std::size_t>(file.at("x").shape[1]);
  problem.graph.resize(nodes);
  std::vector<std::vector<std::pair<Id, float>>> in_edges(nodes);
  const bool weighted = file.tensors().contains("edge_weight");
  const Values weights =
      weighted ? values_of(file.at("edge_weight")) : Values(edges.size() / 2, 1.0);
  for (std::size_t e = 0; e < edges.size() / 2; ++e) {
    in_edges[static_cast<Id>(edges[edges.size() / 2 + e])].emplace_back(
        static_cast<Id>(edges[e]), static_cast<float>(weights[e]));
  }
  if (weighted) problem.weights.resize(nodes);
  for (std::size_t v = 0; v < nodes; ++v) {
    std::sort(in_edges[v].begin(), in_edges[v].end());
    for (const auto& [source, weight] : in_edges[v]) {
      problem.graph[v].push_back(source);
      if (weighted) problem.weights[v].push_back(weight);
    }
    problem.features.emplace_back(x.begin() + static_cast<std::ptrdiff_t>(v * width),
                                  x.begin() + static_cast<std::ptrdiff_t>((v + 1) * width));
  }
  for (double label : values_of(file.at("labels"))) {
    problem.labels.push_back(static_cast<std::int32_t>(label));
  }
  problem.fanouts.assign(static_cast<std::size_t>(layers), kFullFanout);
  problem.model = {.type = type,
                   .num_layers = layers,
                   .in_width = static_cast<std::int64_t>(width),
                   .hidden_width = 16,
                   .out_width = file.at("logits").shape[1],
                   .dropout = 0,
                   .dtype = dtype};
  return problem;
}

struct GoldenCase {
  const char* type;
  int layers;
  bool weighted = false;
  std::string name() const {
    return std::string(type) + (weighted ? "_weighted_" : "_") + std::to_string(layers);
  }
  friend void PrintTo(const GoldenCase& model, std::ostream* out) { *out << model.name(); }
};

class Golden : public testing::TestWithParam<std::tuple<GoldenCase, int, DType>> {};

TEST_P(Golden, LogitsLossAndGradientsArePyGs) {
  const auto [model, workers, dtype] = GetParam();
  const SafetensorsFile file = SafetensorsFile::open(
      std::filesystem::path(GSPLIT_SOURCE_DIR) / "tests/golden" / (model.name() + ".safetensors"));
  std::map<std::string, Values> weights;
  for (const auto& [name, tensor] : file.tensors()) {
    if (name.starts_with("convs.")) weights[name] = values_of(tensor);
  }
  Problem problem = golden_problem(file, model.type, model.layers, dtype);

  for (Id v = 0; v < problem.graph.size(); ++v) problem.seeds.push_back(v);
  const Result everywhere = run(problem, workers, weights);
  Values logits;
  for (const auto& [node, row] : everywhere.logits)
    logits.insert(logits.end(), row.begin(), row.end());
  EXPECT_LT(relative_error(logits, values_of(file.at("logits"))), 1e-5);

  problem.seeds.clear();
  for (double node : values_of(file.at("train_nodes")))
    problem.seeds.push_back(static_cast<Id>(node));
  const Result training = run(problem, workers, weights);
  EXPECT_NEAR(training.loss, values_of(file.at("loss"))[0], 1e-5);
  for (const auto& [name, gradient] : training.gradients) {
    if (name.ends_with(".eps")) continue;  // not trained
    EXPECT_LT(relative_error(gradient, values_of(file.at(name + ".grad"))), 1e-4) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, Golden,
    testing::Combine(testing::Values(GoldenCase{"sage", 2}, GoldenCase{"sage", 3},
                                     GoldenCase{"gcn", 2}, GoldenCase{"gcn", 3},
                                     GoldenCase{"gin", 2}, GoldenCase{"gin", 3},
                                     GoldenCase{"gat", 2}, GoldenCase{"gat", 3},
                                     GoldenCase{"gcn", 2, true}),
                     testing::Values(1, 2, 4), testing::Values(DType::kF32, DType::kF64)));

// --- Properties on sampled blocks with dropout
// -----------------------------------------------------

class Models : public testing::TestWithParam<ModelCase> {};

TEST_P(Models, AnyNumberOfWorkersGivesTheSameGradients) {
  for (DType dtype : {DType::kF64, DType::kF32}) {
    const Problem problem = random_problem(GetParam(), dtype);
    const Result one = run(problem, 1);
    for (int workers : {2, 3, 4, 8}) {
      const Result several = run(problem, workers);
      const double tolerance = dtype == DType::kF64 ? 1e-13 : 1e-5;
      EXPECT_NEAR(several.loss, one.loss, tolerance * one.loss);
      EXPECT_EQ(several.logits.size(), one.logits.size());
      for (const auto& [name, gradient] : several.gradients) {
        EXPECT_LT(relative_error(gradient, one.gradients.at(name)), tolerance) << name;
      }
    }
  }
}

// Promise 1 in fp32: from the same weights, loss and every gradient agree at each of 50 steps.
TEST_P(Models, Fp32AgreesFromTheSameWeightsAtEachOf50Steps) {
  Problem problem = random_problem(GetParam(), DType::kF32);
  std::map<std::string, Values> weights = initial_weights(problem);
  for (std::uint32_t step = 1; step <= 50; ++step) {
    problem.key.step = step;
    const Result one = run(problem, 1, weights), four = run(problem, 4, weights);
    EXPECT_NEAR(four.loss, one.loss, 1e-5 * one.loss) << "step " << step;
    for (auto& [name, values] : weights) {
      const Values& gradient = one.gradients.at(name);
      EXPECT_LT(relative_error(four.gradients.at(name), gradient), 1e-5)
          << name << " step " << step;
      for (std::size_t i = 0; i < values.size(); ++i) values[i] -= 0.1 * gradient[i];
    }
  }
}

/// Euclidean norm of the differences of all gradients over that of those expected.
double relative_error_of_all(const Result& actual, const Result& expected) {
  double difference = 0, norm = 0;
  for (const auto& [name, gradient] : expected.gradients) {
    const Values& other = actual.gradients.at(name);
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      difference += (other[i] - gradient[i]) * (other[i] - gradient[i]);
      norm += gradient[i] * gradient[i];
    }
  }
  return std::sqrt(difference / norm);
}

/// The middle one of the sorted values.
double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void round_to_bf16(Values& values) {
  for (double& x : values) x = to_float(to_bfloat16(static_cast<float>(x)));
}

// From the same weights, at each of 20 steps, the loss in bf16 is within 2 % of fp32's. Gradients
// differ by what a flipped ReLU brings, in so small a model up to half of their norm; fp32 does the
// same from rounded features and weights. So their median is held against that one's.
TEST_P(Models, Bf16StaysAsNearFp32AsRoundedFeaturesAndWeightsDo) {
  Problem exact = random_problem(GetParam(), DType::kF32), rounded = exact;
  Problem bf16 = random_problem(GetParam(), DType::kBF16);
  for (Values& row : rounded.features) round_to_bf16(row);
  std::map<std::string, Values> weights = initial_weights(exact);
  std::vector<double> of_bf16, of_rounded;
  for (std::uint32_t step = 1; step <= 20; ++step) {
    exact.key.step = rounded.key.step = bf16.key.step = step;
    const Result expected = run(exact, 1, weights);
    for (const int workers : {1, 2, 4}) {
      const Result actual = run(bf16, workers, weights);
      EXPECT_NEAR(actual.loss, expected.loss, 0.02 * expected.loss) << "step " << step;
      of_bf16.push_back(relative_error_of_all(actual, expected));
      EXPECT_GT(of_bf16.back(), 1e-4) << "rows are not rounded";
    }
    std::map<std::string, Values> rounded_weights = weights;
    for (auto& [name, values] : rounded_weights) round_to_bf16(values);
    of_rounded.push_back(relative_error_of_all(run(rounded, 1, rounded_weights), expected));
    for (auto& [name, values] : weights) {
      const Values& gradient = expected.gradients.at(name);
      for (std::size_t i = 0; i < values.size(); ++i) values[i] -= 0.1 * gradient[i];
    }
  }
  EXPECT_LT(median(of_bf16), 3 * median(of_rounded));
}

TEST_P(Models, GradientsAreFiniteDifferences) {
  const Problem problem = random_problem(GetParam(), DType::kF64);
  std::map<std::string, Values> weights = initial_weights(problem);
  std::mt19937_64 random(1);
  for (auto& [name, values] : weights) {
    // Biases of 0 would leave rows that dropout has emptied on the kink of the ReLU.
    for (double& w : values) w += std::uniform_real_distribution<double>(-0.1, 0.1)(random);
  }
  const Result at = run(problem, 2, weights);
  constexpr double kStep = 1e-6;
  for (auto& [name, values] : weights) {
    for (int trial = 0; trial < 6; ++trial) {
      const std::size_t i = random() % values.size();
      if (name.ends_with(".eps")) continue;
      const double saved = values[i];
      values[i] = saved + kStep;
      const double above = run(problem, 2, weights).loss;
      values[i] = saved - kStep;
      const double below = run(problem, 2, weights).loss;
      values[i] = saved;
      EXPECT_NEAR(at.gradients.at(name)[i], (above - below) / (2 * kStep), 1e-8)
          << name << " " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Types, Models,
    testing::Values(ModelCase{"sage", false}, ModelCase{"gcn", false}, ModelCase{"gin", false},
                    ModelCase{"gat", false}, ModelCase{"sage", true}, ModelCase{"gcn", true},
                    ModelCase{"gin", true}, ModelCase{"gat", true}, ModelCase{"sage", false, true},
                    ModelCase{"gcn", false, true}, ModelCase{"sage", true, true},
                    ModelCase{"gcn", true, true}),
    [](const auto& info) { return testing::PrintToString(info.param); });

// --- Orders of operations -----------------------------------------------------------------------

class Orders : public testing::TestWithParam<ModelCase> {};

// Promise 1: summing first and transforming first are one answer, on any number of workers.
TEST_P(Orders, GiveTheSameLossAndGradients) {
  for (DType dtype : {DType::kF64, DType::kF32}) {
    Problem problem = random_problem(GetParam(), dtype);
    problem.model.order = Order::kAggregate;
    const Result reference = run(problem, 1);
    const double tolerance = dtype == DType::kF64 ? 1e-12 : 1e-5;
    for (Order order : {Order::kAggregate, Order::kTransform, Order::kAuto}) {
      problem.model.order = order;
      for (int workers : {1, 2, 4}) {
        const Result found = run(problem, workers);
        EXPECT_NEAR(found.loss, reference.loss, tolerance * reference.loss);
        for (const auto& [name, gradient] : found.gradients) {
          EXPECT_LT(relative_error(gradient, reference.gradients.at(name)), tolerance)
              << name << " order " << static_cast<int>(order) << " workers " << workers;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Orders,
                         testing::Values(ModelCase{"sage", false}, ModelCase{"gcn", false},
                                         ModelCase{"gat", false}, ModelCase{"gat", true},
                                         ModelCase{"sage", true, true},
                                         ModelCase{"gcn", true, true}),
                         [](const auto& info) { return testing::PrintToString(info.param); });

bool sums_first(const LinearPart& part, const BlockSize& size) {
  return cost_of(Order::kAggregate, part, size) < cost_of(Order::kTransform, part, size);
}

TEST(OrderCosts, FollowTheBlock) {
  // The input layer and the one after it of a products-shaped graph: sources are many times the
  // destinations.
  const LinearPart input{.in = 100, .out = 256, .heads = 4, .attention = true, .backward = true};
  EXPECT_TRUE(sums_first(input, {98259, 267980, 490000}));
  LinearPart hidden = input;
  hidden.in = 256;
  hidden.source_gradient = true;
  EXPECT_TRUE(sums_first(hidden, {13997, 98259, 139600}));
  // All nodes of a graph: every source is a destination, and each is read by many.
  const LinearPart narrowing{.in = 1433, .out = 16};
  EXPECT_FALSE(sums_first(narrowing, {2708, 2708, 10556}));
  EXPECT_FALSE(sums_first(hidden, {100000, 100000, 5000000}));
  // Few destinations of many sources.
  EXPECT_TRUE(sums_first({.in = 100, .out = 47, .backward = true}, {1024, 14000, 15217}));
}

// --- Edge weights against dense formulas --------------------------------------------------------

/// (nodes, width) = coefficients (nodes, nodes) * rows (nodes, width).
std::vector<Values> multiply(const std::vector<Values>& coefficients,
                             const std::vector<Values>& rows) {
  std::vector<Values> result(rows.size(), Values(rows.front().size(), 0.0));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t j = 0; j < rows.size(); ++j) {
      for (std::size_t c = 0; c < rows[j].size(); ++c) {
        result[i][c] += coefficients[i][j] * rows[j][c];
      }
    }
  }
  return result;
}

/// rows * weight^T, weight (out, in) row by row.
std::vector<Values> transform(const std::vector<Values>& rows, const Values& weight) {
  const std::size_t in = rows.front().size(), out = weight.size() / in;
  std::vector<Values> result(rows.size(), Values(out, 0.0));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t o = 0; o < out; ++o) {
      for (std::size_t c = 0; c < in; ++c) result[i][o] += rows[i][c] * weight[o * in + c];
    }
  }
  return result;
}

/// SAGE: w_ij / d_i, parallel edges added. GCN: w_ij / sqrt(D_i D_j) without loops, and 1 / D_i on
/// the diagonal, D_i = 1 + the weights of i's in-edges without loops.
std::vector<Values> dense_coefficients(const Problem& problem) {
  const std::size_t nodes = problem.graph.size();
  const bool gcn = problem.model.type == "gcn";
  std::vector<Values> dense(nodes, Values(nodes, 0.0));
  Values degrees(nodes, 1.0);
  for (std::size_t i = 0; i < nodes; ++i) {
    for (std::size_t e = 0; e < problem.graph[i].size(); ++e) {
      const Id j = problem.graph[i][e];
      const double weight = problem.weights[i][e];
      if (gcn && j == i) continue;
      dense[i][j] += gcn ? weight : weight / static_cast<double>(problem.graph[i].size());
      degrees[i] += weight;
    }
  }
  for (std::size_t i = 0; gcn && i < nodes; ++i) {
    dense[i][i] = 1;
    for (std::size_t j = 0; j < nodes; ++j) dense[i][j] /= std::sqrt(degrees[i] * degrees[j]);
  }
  return dense;
}

/// Logits of one layer over all in-neighbours.
std::vector<Values> dense_layer(const Problem& problem,
                                const std::map<std::string, Values>& weights) {
  const bool gcn = problem.model.type == "gcn";
  const std::vector<Values> aggregated = multiply(dense_coefficients(problem), problem.features);
  std::vector<Values> result =
      transform(aggregated, weights.at(gcn ? "convs.0.lin.weight" : "convs.0.lin_l.weight"));
  const Values& bias = weights.at(gcn ? "convs.0.bias" : "convs.0.lin_l.bias");
  std::vector<Values> own;
  if (!gcn) own = transform(problem.features, weights.at("convs.0.lin_r.weight"));
  for (std::size_t i = 0; i < result.size(); ++i) {
    for (std::size_t c = 0; c < bias.size(); ++c) {
      result[i][c] += bias[c] + (gcn ? 0 : own[i][c]);
    }
  }
  return result;
}

class Weighted : public testing::TestWithParam<const char*> {};

TEST_P(Weighted, OneLayerIsTheDenseFormula) {
  Problem problem = random_problem({GetParam(), false, true}, DType::kF64);
  problem.model.num_layers = 1;
  problem.fanouts = {kFullFanout};
  problem.seeds.clear();
  for (Id v = 0; v < problem.graph.size(); ++v) problem.seeds.push_back(v);
  const std::map<std::string, Values> weights = initial_weights(problem);
  const std::vector<Values> expected = dense_layer(problem, weights);
  for (int workers : {1, 3}) {
    const Result found = run(problem, workers, weights);
    for (Id v = 0; v < problem.graph.size(); ++v) {
      EXPECT_LT(relative_error(found.logits.at(v), expected[v]), 1e-12) << "node " << v;
    }
  }
}

// A weighted sample estimates the weighted whole: what is drawn counts d_i / drawn in GCN, and is
// divided by the number drawn in SAGE.
TEST_P(Weighted, SamplesHaveTheMeanOfTheFullNeighbourhood) {
  Problem problem = random_problem({GetParam(), false, true}, DType::kF64);
  problem.model.num_layers = 1;
  problem.fanouts = {20};
  problem.seeds.clear();
  for (Id v = 0; v < problem.graph.size(); ++v) {
    if (problem.graph[v].size() > 30) problem.seeds.push_back(v);
  }
  ASSERT_GT(problem.seeds.size(), 10u);
  const std::map<std::string, Values> weights = initial_weights(problem);
  const std::vector<Values> expected = dense_layer(problem, weights);
  constexpr std::uint32_t kSteps = 2000;
  std::map<Id, Values> sums, squares;
  for (problem.key.step = 1; problem.key.step <= kSteps; ++problem.key.step) {
    for (const auto& [node, logits] : run(problem, 1, weights).logits) {
      sums[node].resize(logits.size());
      squares[node].resize(logits.size());
      for (std::size_t c = 0; c < logits.size(); ++c) {
        sums[node][c] += logits[c];
        squares[node][c] += logits[c] * logits[c];
      }
    }
  }
  for (const auto& [node, sum] : sums) {
    for (std::size_t c = 0; c < sum.size(); ++c) {
      const double mean = sum[c] / kSteps;
      const double variance = squares[node][c] / kSteps - mean * mean;
      ASSERT_GT(variance, 0) << "node " << node << " is not sampled";
      EXPECT_NEAR(mean, expected[node][c], 5 * std::sqrt(variance / kSteps)) << "node " << node;
    }
  }
}

TEST_P(Weighted, OnesChangeNoBit) {
  for (DType dtype : {DType::kF32, DType::kF64}) {
    Problem problem = random_problem({GetParam(), false, true}, dtype);
    for (auto& row : problem.weights) std::fill(row.begin(), row.end(), 1.0f);
    const Result ones = run(problem, 3);
    problem.weights.clear();
    const Result none = run(problem, 3);
    // Not the loss: this test adds up that of the workers as they come.
    EXPECT_EQ(ones.logits, none.logits);
    EXPECT_EQ(ones.gradients, none.gradients);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Weighted, testing::Values("sage", "gcn"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace gsplit
