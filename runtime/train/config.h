// Everything that `gsplit train` was told, after its flags were checked. The names of the fields
// are the names of the flags; CONTRACT of the command line in docs/formats.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/dtype.h"

namespace gsplit {

struct TrainConfig {
  std::filesystem::path dataset;
  std::filesystem::path run_dir;
  bool overwrite = false;
  bool resume = false;   ///< go on from the latest checkpoint of run_dir; not in config.yaml
  bool dry_run = false;  ///< print the estimates and stop; not in config.yaml
  std::uint32_t seeds =
      1;  ///< runs with this many seeds from `seed` on; each run's file has its own

  std::string model = "sage";
  std::vector<std::int32_t> fanout{
      15, 10, 5};                   ///< nearest the seeds first; -1 is full; one entry per layer
  std::string sampler = "uniform";  ///< uniform, labor or weighted
  std::int64_t hidden = 256;
  int heads = 4;  ///< gat
  double dropout = 0.5;
  double attn_dropout = 0;    ///< gat
  std::string norm = "none";  ///< none or layer
  bool residual = false;
  std::string normalize_features = "none";  ///< none or row
  double input_dropout = 0;                 ///< of input rows
  /// auto: where the features of all workers are more than half of the available memory; or always,
  /// never
  std::string read_ahead = "auto";
  std::string edge_weights = "auto";  ///< auto: where model and dataset have them; or none

  std::uint32_t batch_size = 1024;  ///< seeds of one step over all workers
  std::uint32_t epochs = 10;
  std::uint64_t max_steps = 0;  ///< over the whole run, wins over epochs; 0: not given
  bool drop_last = false;
  double lr = 0.003;
  std::string lr_schedule = "constant";  ///< constant, cosine or step
  std::uint64_t warmup_steps = 0;
  std::uint32_t lr_step_epochs = 10;  ///< step: epochs between two drops
  double lr_gamma = 0.1;              ///< step: factor of a drop
  std::string optimizer = "adam";     ///< adam, adamw or sgd
  double momentum = 0.9;              ///< sgd
  double weight_decay = 0;            ///< L2; adamw: decoupled
  double clip_norm = 0;               ///< largest norm of all gradients together; 0: off
  std::uint32_t early_stop = 0;       ///< epochs without a better validation accuracy; 0: off
  std::filesystem::path init_from;    ///< weights to start from
  /// none, balanced, or a .npy with one weight per class
  std::string class_weights = "none";
  std::uint64_t seed = 0;

  /// split: every node has one owner; data: each worker has the whole graph and a slice of the
  /// batch; p3: the same, but the first layer is computed from slices of the features'
  /// columns; hybrid: split in groups of `group_size` workers, each with a slice; auto is settled
  /// before anything is prepared
  std::string mode = "split";
  /// none, replicate or partition: where the hottest feature rows are kept in memory
  std::string cache = "none";
  /// In [0, 1]; rows a worker keeps: of all (data), of as many as it owns (split)
  double cache_budget = 0.2;
  int group_size = 0;           ///< hybrid; else 0
  std::string device = "auto";  ///< auto, cpu or cuda; auto is settled before a worker begins
  std::string partition = "auto";
  DType precision = DType::kF32;
  std::string wire = "fp32";  ///< of rows and gradients between workers; or bf16
  /// auto, pull, push, project or mixed: what travels between workers
  std::string route = "auto";
  std::string cover = "auto";  ///< of route mixed: auto, exact or linear
  /// auto, aggregate or transform: what a convolution does first
  std::string order = "auto";
  std::string spmm = "own";     ///< who aggregates on GPUs: own or cusparse
  std::string matmul = "fp32";  ///< of products on GPUs: fp32 or tf32
  /// auto, device, pinned or host: where GPUs read the graph and the features from
  std::string gpu_graph = "auto";
  std::string gpu_features = "auto";
  double gpu_data = 0.5;  ///< share of free memory that auto fills with them
  /// auto, or a share of own rows in [0, 1]: what GPUs cache of features in host memory
  std::string gpu_cache = "auto";
  int workers = 0;                           ///< rank threads of this process; 0: one per NUMA node
  int threads = 0;                           ///< per worker; 0: cores / workers of this host
  std::string bind = "auto";                 ///< auto, none or cores (placement.h)
  std::string prefetch = "auto";             ///< steps prepared ahead: auto, or 0 to 8
  std::uint32_t eval_every = 1;              ///< epochs; 0: only once at the end
  std::vector<std::int32_t> eval_fanout;     ///< as fanout; empty: all neighbours
  std::uint64_t checkpoint_every_steps = 0;  ///< 0: off
  double checkpoint_minutes = 10;            ///< 0: off
  std::uint32_t keep = 3;                    ///< checkpoints to go on from that are kept
  std::chrono::milliseconds deadline{30000};
  std::string metrics_port;          ///< [ADDRESS:]PORT for Prometheus; empty: none
  std::string trace_steps = "auto";  ///< auto, none, all or a list: TraceSteps
  std::filesystem::path dump_blocks;
  /// Where rank 0's coordinator listens: HOST or HOST:PORT; empty: it finds out; not in config.yaml
  std::string coordinator_bind;
  /// A coordinator in a process of its own, and what it is met with; empty: rank 0's, which tells;
  /// not in config.yaml
  std::string coordinator;
  std::filesystem::path tls_ca;
  std::filesystem::path token_file;

  /// Whether a dataset's edge weights take part in aggregation. Where they steer the sampler they
  /// are in its estimate already.
  bool uses_edge_weights() const {
    return edge_weights == "auto" && sampler != "weighted" && (model == "sage" || model == "gcn");
  }
  /// Workers among whom the nodes of the graph are divided, of so many.
  int owners_among(int workers) const {
    if (mode == "hybrid") return group_size;
    return mode == "data" || mode == "p3" ? 1 : workers;
  }
  /// Nothing: auto.
  std::optional<double> gpu_cache_share() const {
    if (gpu_cache == "auto") return std::nullopt;
    return std::stod(gpu_cache);
  }
  /// Fanouts as the sampler takes them: input layer first.
  std::vector<std::int32_t> fanouts_from_input() const { return {fanout.rbegin(), fanout.rend()}; }
};

/// "15,10,5" or "full,10"; UsageError naming `flag` otherwise.
std::vector<std::int32_t> parse_fanout(const std::string& text, const std::string& flag);
/// The same for --eval-fanout: "full" is empty, else as many entries as `layers`.
std::vector<std::int32_t> parse_eval_fanout(const std::string& text, std::size_t layers);
std::string format_fanout(const std::vector<std::int32_t>& fanout);

DType parse_precision(const std::string& name);

/// The content of config.yaml: one key per flag, enough to run it again with --config.
std::string to_yaml(const TrainConfig& config);
/// Reads it back. UsageError naming `origin` where it is no such file.
TrainConfig from_yaml(const std::string& yaml, const std::string& origin);

}  // namespace gsplit
