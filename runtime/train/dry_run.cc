#include "runtime/train/dry_run.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "graph/json_input.h"
#include "graph/small_file.h"
#include "runtime/train/evaluator.h"

namespace gsplit {
namespace {

std::uint64_t directory_bytes(const std::filesystem::path& directory) {
  std::uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  return bytes;
}

std::uint64_t matrix_bytes(std::int64_t rows, std::int64_t cols, DType dtype) {
  return static_cast<std::uint64_t>(rows) * static_cast<std::uint64_t>(cols) * size_of(dtype);
}

/// Program, libraries, MPI and gRPC with their threads, as measured.
constexpr std::uint64_t kProcessBytes = std::uint64_t{100} << 20;

/// Full-neighbour evaluation holds the input and the output of one layer, in files where they do
/// not fit the memory, and the rows that a piece of the nodes reads; features are mapped.
std::uint64_t evaluation_bytes(Model& model, std::uint64_t own_nodes, std::uint64_t all_nodes,
                               DType dtype) {
  const std::uint64_t read = std::min(all_nodes, static_cast<std::uint64_t>(kEdgesPerPiece));
  std::uint64_t largest = 0;
  for (std::size_t l = 0; l < model.num_layers(); ++l) {
    const Conv& conv = model.conv(l);
    const std::int64_t width = (l == 0 ? 0 : conv.in_width()) + conv.out_width();
    largest = std::max(largest,
                       matrix_bytes(static_cast<std::int64_t>(own_nodes), width, dtype) +
                           matrix_bytes(static_cast<std::int64_t>(read), conv.in_width(), dtype));
  }
  return largest;
}

std::string mebibytes(std::uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

/// quality.json's shuffle_rows; nothing where there is no such file.
std::string expected_shuffle(const std::filesystem::path& partition) {
  const std::filesystem::path file = partition / "quality.json";
  std::error_code unreadable;
  if (!std::filesystem::is_regular_file(file, unreadable)) return "unknown";
  const auto json = parse_json<nlohmann::json>(read_small_file(file, kMostJsonBytes));
  if (!json.is_object() || !json.contains("shuffle_rows") || !json["shuffle_rows"].is_number()) {
    return "unknown";
  }
  return fmt::format("{:.0f} rows", json["shuffle_rows"].get<double>());
}

/// Where each worker has the whole graph.
std::string shuffle_of_whole_graphs(const TrainConfig& config, std::size_t workers) {
  if (config.cache == "partition") return "input rows that other workers keep, not counted here";
  if (config.mode != "p3" || workers == 1) return "none";
  return "sums of the first layer, which gsplit bench --volumes counts";
}

std::string plan_line(const TrainConfig& config, const Partition& partition, std::size_t workers) {
  const std::string fanout = format_fanout(config.fanout);
  const int owners = config.owners_among(static_cast<int>(workers));
  if (owners == 1) {
    return fmt::format("plan: mode {}, {} workers, each with the whole graph, fanout {}",
                       config.mode, workers, fanout);
  }
  const std::string groups =
      config.mode == "hybrid" ? fmt::format(" in groups of {}", owners) : std::string();
  return fmt::format("plan: mode {}, route pull, {} workers{}, partition by {}, fanout {}",
                     config.mode, workers, groups, partition.info().method, fanout);
}

}  // namespace

std::uint64_t WorkerEstimate::peak_bytes() const {
  // What a step takes stays allocated while evaluation runs.
  return kProcessBytes + shard_bytes + sampler_bytes + cache_bytes + weight_bytes + batch_bytes +
         evaluation_bytes;
}

DryRun::DryRun(const TrainConfig& config, const Partition& partition, const Shard& shard,
               Trainer& trainer)
    : config_(config), trainer_(trainer) {
  Model& model = trainer.model();
  const OptimizerState& state = trainer.optimizer_state();
  estimate_.shard_bytes = directory_bytes(shard_directory(partition.directory(), shard.part()));
  const std::int64_t weights = model.parameters().values().cols;
  const std::int64_t rounded = config.precision == DType::kBF16 ? weights : 0;
  estimate_.weight_bytes = 2 * matrix_bytes(1, weights, model.parameters().dtype()) +
                           matrix_bytes(1, rounded, config.precision) + state.first_moment.bytes() +
                           state.second_moment.bytes();
  estimate_.sampler_bytes = trainer.sampler_data().bytes();
  estimate_.cache_bytes = trainer.cache_bytes();
  if (config.eval_fanout.empty()) {
    estimate_.evaluation_bytes = evaluation_bytes(
        model, shard.num_nodes(), partition.info().num_nodes, model.parameters().dtype());
  }
}

std::uint64_t DryRun::bytes_of(const MiniBatch& batch) {
  Model& model = trainer_.model();
  std::uint64_t bytes = 0;
  for (std::size_t l = 0; l < batch.layers.size(); ++l) {
    const Block& block = batch.layers[l].block;
    const std::uint64_t gradients = l > 0 ? 2 : 1;  // input features have none
    bytes +=
        gradients * matrix_bytes(block.num_sources(), model.conv(l).in_width(), config_.precision);
    bytes += 2 * matrix_bytes(block.num_destinations, model.conv(l).out_width(), config_.precision);
    bytes += (l > 0 ? 2 : 1) * block.num_edges() * sizeof(RowIndex) +
             block.weights.size() * sizeof(float);
  }
  return bytes;
}

void DryRun::sample(const StepPlan& plan) {
  const MiniBatch& batch = trainer_.sample(plan);
  estimate_.batches += 1;
  estimate_.batch_bytes = std::max(estimate_.batch_bytes, bytes_of(batch));
  estimate_.edges += batch.num_edges();
  estimate_.input_rows += batch.layers.front().block.num_needed();
  for (const SampledLayer& layer : batch.layers) {
    estimate_.received_rows += layer.block.num_received;
  }
}

void print_dry_run(const TrainConfig& config, const Partition& partition, const DryRunFacts& facts,
                   std::span<const WorkerEstimate> workers, const Log& log) {
  log.info(fmt::format("dry run: {} steps, {} an epoch, batch {}", facts.total_steps,
                       facts.steps_per_epoch, config.batch_size));
  log.info(plan_line(config, partition, workers.size()));
  std::uint64_t received = 0;
  for (std::size_t p = 0; p < workers.size(); ++p) {
    const WorkerEstimate& worker = workers[p];
    received += worker.received_rows;
    log.info(fmt::format(
        "worker {}: memory {} (process {}, weights and optimizer {}, mini-batch {}, "
        "evaluation {}, sampler {}, feature cache {}, mapped shard {}); {} edges and {} "
        "input rows a step",
        p, mebibytes(worker.peak_bytes()), mebibytes(kProcessBytes), mebibytes(worker.weight_bytes),
        mebibytes(worker.batch_bytes), mebibytes(worker.evaluation_bytes),
        mebibytes(worker.sampler_bytes), mebibytes(worker.cache_bytes),
        mebibytes(worker.shard_bytes), worker.edges / worker.batches,
        worker.input_rows / worker.batches));
  }
  if (partition.info().num_parts == 1) {
    log.info("expected shuffle: " + shuffle_of_whole_graphs(config, workers.size()));
    return;
  }
  const std::uint64_t batches = workers.front().batches;
  log.info(fmt::format("expected shuffle: {} a step by quality.json, {} in the {} sampled",
                       expected_shuffle(partition.directory()), received / batches, batches));
}

}  // namespace gsplit
