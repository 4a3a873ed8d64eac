// Checkpoints whose checksums hold, and whose content is not what their config says.
#include "runtime/train/verify_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "kernels/backend.h"
#include "runtime/nn/model.h"
#include "runtime/train/config.h"
#include "runtime/train/weights.h"
#include "tests/graph/temporary_directory.h"

namespace gsplit {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Tensors = std::vector<std::pair<std::string, Tensor>>;

/// What a checkpoint is written from, to be changed before.
struct Content {
  TrainConfig config;
  CheckpointManifest manifest;
  Tensors model, optimizer, best;
  std::string directory = "step-7";
};

class VerifyCheckpoint : public testing::Test {
 protected:
  /// A checkpoint as a run writes it, after `change`.
  std::vector<std::string> verify(TrainConfig config, const std::function<void(Content&)>& change) {
    const auto backend = make_cpu_backend(1);
    const auto stream = backend->memory().create_stream();
    const GcnScales scales;
    Model model({.type = config.model,
                 .num_layers = static_cast<int>(config.fanout.size()),
                 .in_width = 6,
                 .hidden_width = config.hidden,
                 .out_width = 3,
                 .heads = config.heads,
                 .layer_norm = config.norm == "layer",
                 .dtype = config.precision},
                scales, *backend, *stream);
    const ParameterSet& parameters = model.parameters();
    const MatrixView values = model.parameters().values();
    Content content;
    content.config = config;
    content.manifest.step = 7;
    content.manifest.dataset_fingerprint = std::string(64, 'a');
    content.manifest.state = {{"optimizer_steps", 7}};
    const HostTensors weights = tensors_of(parameters, values);
    const HostTensors first = tensors_of(parameters, values, "exp_avg.");
    const HostTensors second = tensors_of(parameters, values, "exp_avg_sq.");
    content.model = content.best = weights.list;
    content.optimizer = first.list;
    content.optimizer.insert(content.optimizer.end(), second.list.begin(), second.list.end());
    change(content);
    content.manifest.config = to_yaml(content.config);
    const std::filesystem::path directory =
        directory_ / std::to_string(made_++) / content.directory;
    std::filesystem::create_directories(directory.parent_path());
    CheckpointWriter writer(directory);
    writer.add("model.safetensors", content.model);
    if (!content.optimizer.empty()) writer.add("optimizer.safetensors", content.optimizer);
    if (!content.best.empty()) writer.add("best.safetensors", content.best);
    writer.commit(content.manifest);
    return verify_checkpoint(Checkpoint::open(directory));
  }
  static TrainConfig config() {
    TrainConfig config;
    config.dataset = "data";
    config.run_dir = "run";
    config.hidden = 8;
    return config;
  }
  void expect_found(const std::function<void(Content&)>& change, const std::string& file,
                    const std::string& fault) {
    const std::vector<std::string> findings = verify(config(), change);
    ASSERT_FALSE(findings.empty()) << fault;
    EXPECT_THAT(findings.front(), AllOf(HasSubstr(file), HasSubstr(fault)));
  }

  TemporaryDirectory directory_;
  int made_ = 0;
};

TEST_F(VerifyCheckpoint, WhatRunsWriteHasNoFindings) {
  for (const char* model : {"sage", "gcn", "gat", "gin"}) {
    for (const char* norm : {"none", "layer"}) {
      TrainConfig of = config();
      of.model = model;
      of.norm = norm;
      EXPECT_THAT(verify(of, [](Content&) {}), IsEmpty()) << model;
      of.precision = DType::kF64;
      of.fanout = {4};
      EXPECT_THAT(verify(of, [](Content&) {}), IsEmpty()) << model;
    }
  }
  EXPECT_THAT(verify(config(),
                     [](Content& content) {  // as best/ and final/
                       content.directory = "best";
                       content.optimizer.clear();
                       content.best.clear();
                       content.manifest.state = {};
                     }),
              IsEmpty());
}

TEST_F(VerifyCheckpoint, EveryBrokenInvariantIsNamed) {
  std::vector<float> bad(6 * 8, 0);
  bad[5] = NAN;
  const std::string model = "model.safetensors";
  const std::string manifest = "manifest.json";
  expect_found([](Content& c) { c.config.hidden = 16; }, model, "of another shape than config");
  expect_found([](Content& c) { c.config.fanout = {5, 5}; }, model, "holds 9 tensors, expected 6");
  expect_found([](Content& c) { c.config.fanout = {5, 5, 5, 5}; }, model, "no model of the layers");
  expect_found([](Content& c) { c.config.model = "gcn"; }, model, "lacks the tensor convs.0.");
  expect_found([](Content& c) { c.config.norm = "layer"; }, model, "lacks the tensor norms.0");
  expect_found([](Content& c) { c.config.precision = DType::kF64; }, model, "as F32, expected F64");
  expect_found([](Content& c) { c.model.erase(c.model.begin() + 1); }, model, "lacks the tensor");
  expect_found(
      [](Content& c) { std::swap(c.model[0].second.shape[0], c.model[0].second.shape[1]); }, model,
      "shape");
  expect_found([&](Content& c) { c.model[0].second.data = std::as_bytes(std::span(bad)); }, model,
               "NaN or infinities in convs.0.lin_l.weight");
  expect_found([&](Content& c) { c.best[0].second.data = std::as_bytes(std::span(bad)); },
               "best.safetensors", "NaN or infinities in convs.0.lin_l.weight");
  expect_found([](Content& c) { c.optimizer.pop_back(); }, "optimizer.safetensors",
               "lacks the tensor exp_avg_sq.");
  expect_found([](Content& c) { c.config.optimizer = "sgd"; }, "optimizer.safetensors",
               "lacks the tensor momentum_buffer.");
  expect_found([](Content& c) { c.manifest.step = 8; }, manifest, "is of step 8");
  expect_found([](Content& c) { c.manifest.state["optimizer_steps"] = 6; }, manifest,
               "another number of optimizer steps than 7");
  expect_found([](Content& c) { c.manifest.state = {}; }, manifest, "optimizer steps");
  expect_found([](Content& c) { c.manifest.dataset_fingerprint = "abc"; }, manifest,
               "no fingerprint");
}

}  // namespace
}  // namespace gsplit
