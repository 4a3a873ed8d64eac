#include "runtime/train/inference.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "comm/host_route.h"
#include "comm/world.h"
#include "graph/dataset.h"
#include "graph/npy.h"
#include "partition/prepare.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/config.h"
#include "runtime/train/evaluator.h"
#include "runtime/train/placement.h"
#include "runtime/train/resources.h"
#include "runtime/train/trainer.h"
#include "runtime/train/weights.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::minutes kDeadline{5};  // of one exchange between threads of this process

std::vector<std::uint64_t> wanted_nodes(const fs::path& file, std::uint64_t num_nodes) {
  std::vector<std::uint64_t> nodes;
  if (file.empty()) {
    nodes.resize(num_nodes);
    std::iota(nodes.begin(), nodes.end(), std::uint64_t{0});
    return nodes;
  }
  const NpyArray array = NpyArray::open(file);
  if (array.shape().size() != 1) {
    throw UsageError(
        "--nodes " + file.string() + " has " + std::to_string(array.shape().size()) + " dimensions",
        "give one list of node ids, such as a.ravel()");
  }
  array.visit_integers([&](auto ids) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      // A negative id becomes a huge one and is out of range as well.
      const auto id = static_cast<std::uint64_t>(ids[i]);
      if (id >= num_nodes) {
        throw UsageError("--nodes " + file.string() + ": entry " + std::to_string(i) +
                             " is no node of the dataset",
                         "give ids from 0 to " + std::to_string(num_nodes - 1));
      }
      nodes.push_back(id);
    }
  });
  return nodes;
}

struct TrainedModel {
  fs::path weights;
  TrainConfig training;
  Dataset dataset;
  Partition partition;
};

/// A file can be written there, as far as that can be told before the work begins.
void check_output(const fs::path& out, const std::string& flag) {
  if (fs::is_directory(out)) {
    throw UsageError(flag + " " + out.string() + " is a directory", "give the name of a file");
  }
  const fs::path folder = out.has_parent_path() ? out.parent_path() : fs::path(".");
  if (!fs::is_directory(folder)) {
    throw UsageError(flag + " " + out.string() + ": there is no directory " + folder.string(),
                     "make it first");
  }
}

void check_outputs(const InferenceConfig& config) {
  check_output(config.out, "--out");
  if (config.embeddings.empty()) return;
  check_output(config.embeddings, "--embeddings");
  if (fs::weakly_canonical(config.embeddings) == fs::weakly_canonical(config.out)) {
    throw UsageError("--out and --embeddings are both " + config.out.string(),
                     "give two different files");
  }
}

TrainedModel open_trained(const InferenceSource& source, const Log& log) {
  const Checkpoint checkpoint = Checkpoint::open(checkpoint_of(source.weights));
  TrainedModel model{.weights = checkpoint.directory() / "model.safetensors",
                     .training = from_yaml(checkpoint.manifest().config,
                                           checkpoint.directory().string() + "/manifest.json"),
                     .dataset = open_dataset(source.dataset),
                     .partition = {}};
  model.training.class_weights = TrainConfig{}.class_weights;  // nothing is trained: no file needed
  // All neighbours are taken: nothing is drawn.
  if (!model.training.uses_edge_weights()) model.training.edge_weights = "none";
  model.training.sampler = TrainConfig{}.sampler;
  model.partition =
      prepare_partition(model.dataset,
                        {.parts = source.workers,
                         .fanout = model.training.fanout,
                         .seed = model.training.seed,
                         .threads = threads_per_worker(source.threads, num_allowed_cores())},
                        log);
  return model;
}

/// Calls body(shard, evaluator, rank) on each rank thread.
template <class Body>
void for_each_shard(const TrainedModel& model, const InferenceSource& source, Body&& body) {
  const int threads = threads_per_worker(source.threads, num_allowed_cores() / source.workers);
  run_local_ranks(source.workers, kDeadline, [&](Communicator& communicator) {
    const Shard shard = Shard::open(model.partition, communicator.rank());
    const auto backend = make_cpu_backend(threads);
    const auto stream = backend->memory().create_stream();
    Progress progress;
    HostRoute row_traffic(communicator, *backend);
    Context context{*backend, *backend, *stream, communicator, row_traffic, progress, {}};
    Trainer trainer(model.training, shard, model.partition.info().bounds,
                    static_cast<std::int64_t>(model.partition.info().num_classes), context);
    load_weights(model.weights, trainer.model().parameters());
    Evaluator evaluator({.local_workers = source.workers}, shard, trainer.input_rows(),
                        trainer.model(), trainer.sampler(), context);
    body(shard, evaluator, communicator.rank());
  });
}

/// Outputs of all nodes, by OriginalId. Of `classes` and `labels` the one of the task is filled.
struct Outputs {
  std::vector<std::int32_t> classes;
  std::vector<std::uint8_t> labels;  ///< (nodes, classes) of 0 and 1
  std::vector<float> embeddings;     ///< (nodes, width); empty where not asked for
  std::size_t width = 0;
};

/// Copies the rows of own nodes to their places. Each rank writes its own nodes.
void place_rows(const Matrix& rows, const Shard& shard, Outputs& outputs) {
  dispatch_compute(rows.dtype(), [&](auto type) {
    using T = decltype(type);
    for (std::size_t i = 0; i < shard.num_nodes(); ++i) {
      const T* const row = rows.view().row<T>(static_cast<std::int64_t>(i));
      float* const place =
          outputs.embeddings.data() + value(shard.original_ids()[i]) * outputs.width;
      std::transform(row, row + outputs.width, place, [](T x) { return static_cast<float>(x); });
    }
  });
}

/// The class with the largest logit, or the labels whose logit is positive.
void place_predictions(const Matrix& logits, const Shard& shard, Outputs& outputs) {
  const std::size_t classes = shard.num_classes();
  dispatch_compute(logits.dtype(), [&](auto type) {
    using T = decltype(type);
    for (std::size_t i = 0; i < shard.num_nodes(); ++i) {
      const T* const row = logits.view().row<T>(static_cast<std::int64_t>(i));
      const std::uint64_t node = value(shard.original_ids()[i]);
      if (shard.task() == Task::kMultiClass) {
        outputs.classes[node] =
            static_cast<std::int32_t>(std::max_element(row, row + classes) - row);
      } else {
        std::transform(row, row + classes, outputs.labels.data() + node * classes,
                       [](T x) -> std::uint8_t { return x > 0; });
      }
    }
  });
}

void infer_own(const Shard& shard, Evaluator& evaluator, Outputs& outputs) {
  std::vector<LocalId> nodes(shard.num_nodes());
  for (std::size_t i = 0; i < nodes.size(); ++i) nodes[i] = LocalId{static_cast<std::uint32_t>(i)};
  Matrix logits;
  if (outputs.embeddings.empty()) {
    logits = evaluator.logits(nodes);
  } else {
    const Matrix embeddings = evaluator.embeddings();
    place_rows(embeddings, shard, outputs);
    logits = evaluator.logits(nodes, embeddings);
  }
  place_predictions(logits, shard, outputs);
}

/// Writes the rows of `nodes` under a name that begins with a dot, then renames the file.
template <class T>
void write_rows(const fs::path& out, std::span<const std::uint64_t> nodes, std::span<const T> rows,
                std::size_t width, std::vector<std::uint64_t> shape) {
  fs::path draft = out;
  draft.replace_filename("." + out.filename().string());
  NpyWriter writer(draft, npy_type_of<T>::value, std::move(shape));
  std::span<T> target = writer.as<T>();
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const auto row = rows.subspan(nodes[i] * width, width);
    std::copy(row.begin(), row.end(), target.subspan(i * width).begin());
  }
  writer.close();
  fs::rename(draft, out);
}

void write_predictions(const fs::path& out, const Dataset& dataset,
                       std::span<const std::uint64_t> nodes, const Outputs& outputs,
                       const Log& log) {
  const bool multi_label = dataset.task == Task::kMultiLabel;
  if (multi_label) {
    write_rows<std::uint8_t>(out, nodes, outputs.labels, dataset.num_classes,
                             {nodes.size(), dataset.num_classes});
  } else {
    write_rows<std::int32_t>(out, nodes, outputs.classes, 1, {nodes.size()});
  }
  log.info(fmt::format("wrote the {} of {} nodes to {}", multi_label ? "labels" : "classes",
                       nodes.size(), out.string()));
}

std::string percent(const Score& score) {
  return score.nodes == 0 ? "-" : fmt::format("{:.2f} %", 100 * score.accuracy());
}

nlohmann::json accuracy_or_null(const Score& score) {
  return score.nodes == 0 ? nlohmann::json() : nlohmann::json(score.accuracy());
}

}  // namespace

ExitCode run_inference(const InferenceConfig& config, const Log& log) {
  check_outputs(config);
  const TrainedModel model = open_trained(config.source, log);
  const std::uint64_t num_nodes = model.dataset.num_nodes;
  const std::vector<std::uint64_t> nodes = wanted_nodes(config.nodes, num_nodes);
  Outputs outputs;
  if (model.dataset.task == Task::kMultiClass) {
    outputs.classes.resize(num_nodes);
  } else {
    outputs.labels.resize(num_nodes * model.dataset.num_classes);
  }
  if (!config.embeddings.empty()) {
    if (model.training.fanout.size() < 2) {
      throw UsageError("--embeddings: the model has one layer, hence no hidden one",
                       "leave --embeddings away");
    }
    outputs.width = static_cast<std::size_t>(model.training.hidden);
    outputs.embeddings.resize(num_nodes * outputs.width);
  }
  for_each_shard(model, config.source, [&](const Shard& shard, Evaluator& evaluator, int) {
    infer_own(shard, evaluator, outputs);
  });
  write_predictions(config.out, model.dataset, nodes, outputs, log);
  if (!config.embeddings.empty()) {
    write_rows<float>(config.embeddings, nodes, outputs.embeddings, outputs.width,
                      {nodes.size(), outputs.width});
    log.info(fmt::format("wrote their embeddings to {}", config.embeddings.string()));
  }
  return ExitCode::kDone;
}

SplitScores evaluate_weights(const InferenceSource& source, const Log& log) {
  const TrainedModel model = open_trained(source, log);
  SplitScores result;
  for_each_shard(model, source, [&](const Shard& shard, Evaluator& evaluator, int rank) {
    const std::vector<Score> scores =
        evaluator.scores({shard.train_nodes(), shard.validation_nodes(), shard.test_nodes()});
    if (rank == 0) result = {shard.task(), scores[0], scores[1], scores[2]};
  });
  return result;
}

std::string as_text(const SplitScores& scores) {
  return fmt::format("{}: train {}, validation {}, test {}", metric_of(scores.task),
                     percent(scores.train), percent(scores.validation), percent(scores.test));
}

std::string as_json(const SplitScores& scores) {
  const nlohmann::ordered_json json{{"metric", metric_of(scores.task)},
                                    {"train_acc", accuracy_or_null(scores.train)},
                                    {"valid_acc", accuracy_or_null(scores.validation)},
                                    {"test_acc", accuracy_or_null(scores.test)},
                                    {"train_nodes", scores.train.nodes},
                                    {"valid_nodes", scores.validation.nodes},
                                    {"test_nodes", scores.test.nodes}};
  return json.dump();
}

}  // namespace gsplit
