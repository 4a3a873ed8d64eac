#include "runtime/train/inference.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "comm/world.h"
#include "graph/dataset.h"
#include "graph/npy.h"
#include "partition/prepare.h"
#include "runtime/train/config.h"
#include "runtime/train/evaluator.h"
#include "runtime/train/resources.h"
#include "runtime/train/run_directory.h"
#include "runtime/train/trainer.h"
#include "runtime/train/weights.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::minutes kDeadline{5};  // of one exchange between threads of this process

TrainConfig training_config(const fs::path& checkpoint) {
  const fs::path manifest = checkpoint / "manifest.json";
  std::ifstream in(manifest);
  const auto json = nlohmann::json::parse(in, nullptr, false);
  if (!json.is_object() || !json.contains("config") || !json["config"].is_string()) {
    throw UsageError(manifest.string() + " is damaged", "give another checkpoint");
  }
  return from_yaml(json["config"].get<std::string>(), manifest.string());
}

std::vector<std::uint64_t> wanted_nodes(const fs::path& file, std::uint64_t num_nodes) {
  std::vector<std::uint64_t> nodes;
  if (file.empty()) {
    nodes.resize(num_nodes);
    std::iota(nodes.begin(), nodes.end(), std::uint64_t{0});
    return nodes;
  }
  NpyArray::open(file).visit_integers([&](auto ids) {
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

std::int32_t largest(const Matrix& logits, std::int64_t row) {
  std::int32_t best = 0;
  dispatch_compute(logits.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* const values = logits.view().row<T>(row);
    best = static_cast<std::int32_t>(std::max_element(values, values + logits.cols()) - values);
  });
  return best;
}

/// The work of one rank thread: classes of all own nodes into `classes`, by OriginalId. Each rank
/// writes its own nodes.
void predict_own(const TrainConfig& training, const fs::path& weights, const Partition& partition,
                 int threads, Communicator& communicator, std::span<std::int32_t> classes) {
  const Shard shard = Shard::open(partition, communicator.rank());
  const auto backend = make_cpu_backend(threads);
  const auto stream = backend->memory().create_stream();
  Progress progress;
  Context context{*backend, *stream, communicator, progress, {}};
  Trainer trainer(training, shard, partition.info().bounds,
                  static_cast<std::int64_t>(partition.info().num_classes), context);
  load_weights(weights, trainer.model().parameters());
  std::vector<LocalId> nodes(shard.num_nodes());
  for (std::size_t i = 0; i < nodes.size(); ++i) nodes[i] = LocalId{static_cast<std::uint32_t>(i)};
  Evaluator evaluator({}, shard, trainer.input_rows(), trainer.model(), trainer.sampler(), context);
  const Matrix logits = evaluator.logits(nodes);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    classes[value(shard.original_ids()[i])] = largest(logits, static_cast<std::int64_t>(i));
  }
}

void write_predictions(const fs::path& out, std::span<const std::uint64_t> nodes,
                       std::span<const std::int32_t> classes) {
  std::vector<std::int32_t> chosen;
  for (std::uint64_t node : nodes) chosen.push_back(classes[node]);
  fs::path draft = out;
  draft.replace_filename("." + out.filename().string());
  write_npy<std::int32_t>(draft, chosen, {chosen.size()});
  fs::rename(draft, out);
}

}  // namespace

ExitCode run_inference(const InferenceConfig& config, const Log& log) {
  const fs::path checkpoint = checkpoint_of(config.weights);
  const TrainConfig training = training_config(checkpoint);
  const Dataset dataset = open_dataset(config.dataset);
  const std::vector<std::uint64_t> nodes = wanted_nodes(config.nodes, dataset.num_nodes);
  const int threads = threads_per_worker(config.threads, config.workers);
  const Partition partition = prepare_partition(dataset,
                                                {.parts = config.workers,
                                                 .fanout = training.fanout,
                                                 .seed = training.seed,
                                                 .threads = threads_per_worker(config.threads, 1)},
                                                log);
  std::vector<std::int32_t> classes(dataset.num_nodes);
  run_local_ranks(config.workers, kDeadline, [&](Communicator& communicator) {
    predict_own(training, checkpoint / "model.safetensors", partition, threads, communicator,
                classes);
  });
  write_predictions(config.out, nodes, classes);
  log.info("wrote the classes of " + std::to_string(nodes.size()) + " nodes to " +
           config.out.string());
  return ExitCode::kDone;
}

}  // namespace gsplit
