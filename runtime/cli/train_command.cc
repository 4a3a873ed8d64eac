// gsplit train: its flags, their checks, and --config.
#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>

#include "comm/world.h"
#include "partition/prepare.h"
#include "runtime/cli/command.h"
#include "runtime/cli/log.h"
#include "runtime/train/job_metrics.h"
#include "runtime/train/run.h"
#include "runtime/train/run_data.h"
#include "runtime/train/trace_steps.h"

namespace gsplit {
namespace {

/// Flags as typed, before they are checked.
struct TrainFlags {
  TrainConfig config;
  std::filesystem::path dataset;  ///< as an argument: wins over --dataset
  std::string fanout = format_fanout(TrainConfig{}.fanout);
  std::string eval_fanout = "full";
  std::string precision = "fp32";
  double deadline_s = 30;
  double cache_budget = kNoBudget;

  static constexpr double kNoBudget = -1;  ///< not given
};

/// A directory, or the name of a method. What other hosts lack is found by their ranks, who can say
/// so.
void check_partition(const std::string& partition) {
  if (!names_directory(partition) || launcher_rank() != 0) return;
  const std::string here = on_this_host(partition);
  if (std::filesystem::exists(here)) return;
  throw UsageError("--partition " + here + " is neither a directory nor a method",
                   "choose auto, metis, stream, random, range, or what gsplit partition wrote");
}

/// A partition directory is data enough, but for what is counted in the whole graph.
void check_data(const TrainConfig& config) {
  if (!config.dataset.empty()) return;
  if (config.resume && launcher_rank() != 0) return;  // it may stand in rank 0's config.yaml
  if (!names_directory(config.partition)) {
    throw UsageError("no dataset given",
                     "give the dataset's directory: gsplit train DATASET ..., or --partition DIR");
  }
  if (config.cache != "none") {
    throw UsageError("--cache without a dataset, in which reads are counted",
                     "give the dataset beside --partition, on all hosts");
  }
}

void check_mode(const TrainConfig& config) {
  static const std::set<std::string> modes{"split", "data", "p3", "hybrid", "auto"};
  if (!modes.contains(config.mode)) {
    throw UsageError("--mode " + config.mode + " is unknown",
                     "choose split, data, p3, hybrid or auto");
  }
  if (config.mode == "p3" && config.model == "gat") {
    throw UsageError("--mode p3 with --model gat, whose attention needs whole rows",
                     "choose another mode, or sage, gcn or gin");
  }
}

void check_group_size(const TrainConfig& config) {
  const bool hybrid = config.mode == "hybrid";
  if (hybrid && config.group_size == 0) {
    throw UsageError("--mode hybrid without --group-size",
                     "give the number of workers of a group, such as those of a host");
  }
  if (!hybrid && config.group_size > 0) {
    throw UsageError("--group-size " + std::to_string(config.group_size) + " with --mode " +
                         config.mode + ", which has no groups",
                     "leave it away, or give --mode hybrid");
  }
}

void check_route(const TrainConfig& config) {
  const std::string given = "--route " + config.route;
  if (config.model == "gat" && (config.route == "push" || config.route == "mixed")) {
    throw UsageError(given + " with --model gat, whose attention has no partial sums",
                     "choose auto, pull or project");
  }
  if (config.route != "project") return;
  if (config.model == "gin") {
    throw UsageError(given + " with --model gin, which sums before it multiplies by weights",
                     "choose auto, pull, push or mixed");
  }
  if (config.order == "aggregate") {
    throw UsageError(given + " with --order aggregate", "it is --order transform; leave one away");
  }
}

/// The host keeps rows, so it gathers; and where it has copies of remote ones, it samples.
void check_cache_beside_gpu(const TrainConfig& config) {
  const auto check = [](const std::string& flag, const std::string& place) {
    if (place == "auto" || place == "host") return;
    throw UsageError(flag + " " + place + " with --cache, which is in the host's memory",
                     "leave one of them away");
  };
  check("--gpu-features", config.gpu_features);
  if (config.mode == "split") check("--gpu-graph", config.gpu_graph);
}

std::optional<double> parsed_number(const std::string& text) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, problem] = std::from_chars(text.data(), end, number);
  if (problem != std::errc{} || rest != end) return std::nullopt;
  return number;
}

/// A share is of rows that the GPU reads over the bus, chosen by counts that the dataset gives.
void check_gpu_cache(const TrainConfig& config) {
  if (config.gpu_cache == "auto") return;
  const std::optional<double> share = parsed_number(config.gpu_cache);
  if (!share || !(*share >= 0 && *share <= 1)) {
    throw UsageError("--gpu-cache has the value " + config.gpu_cache,
                     "give auto, or a share of the rows from 0 to 1, such as 0.2");
  }
  if (*share == 0) return;
  const std::string given = "--gpu-cache " + config.gpu_cache;
  if (config.cache != "none") {
    throw UsageError(given + " with --cache, which is in the host's memory",
                     "leave one of them away");
  }
  if (config.mode == "p3") {
    throw UsageError(given + " with --mode p3, whose GPUs read columns, not rows",
                     "leave one of them away");
  }
  if (config.gpu_features == "device" || config.gpu_features == "host") {
    throw UsageError(given + " with --gpu-features " + config.gpu_features,
                     "give --gpu-features pinned or auto");
  }
  if (config.dataset.empty() && !config.resume) {
    throw UsageError(given + " without a dataset, in which reads are counted",
                     "name the dataset, or give --gpu-cache 0");
  }
}

void check_cache(const TrainConfig& config, bool budget_given) {
  if (config.cache == "none") {
    if (!budget_given) return;
    throw UsageError("--cache-budget without --cache", "add --cache replicate or partition");
  }
  if (!(config.cache_budget >= 0 && config.cache_budget <= 1)) {  // Range lets NaN pass
    throw UsageError("--cache-budget is no number from 0 to 1", "it is a fraction, such as 0.2");
  }
  const std::string given = "--cache " + config.cache + " with --mode " + config.mode;
  if (config.mode == "split" && config.cache == "partition") {
    throw UsageError(given + ", where each row is at one worker already",
                     "choose --cache replicate, or --mode data");
  }
  if (config.mode != "split" && config.mode != "data") {
    throw UsageError(given + " is not there yet", "choose --mode split or data");
  }
  check_cache_beside_gpu(config);
}

void check_coordinator(const TrainConfig& config) {
  const bool apart = !config.coordinator.empty();
  if (config.tls_ca.empty() != config.token_file.empty() || (!apart && !config.tls_ca.empty())) {
    throw UsageError("--coordinator, --tls-ca and --token-file belong together",
                     "give all of them, or only --coordinator on the coordinator's own host");
  }
  if (apart && !config.coordinator_bind.empty()) {
    throw UsageError("--coordinator with --coordinator-bind", "leave one of them away");
  }
  if (apart && config.seeds > 1) {
    throw UsageError("--coordinator with --seeds, but a gsplit coordinator serves one run",
                     "leave one of them away");
  }
}

TrainConfig checked(const TrainFlags& flags) {
  TrainConfig config = flags.config;
  if (!flags.dataset.empty()) config.dataset = flags.dataset;
  check_data(config);
  // Those of the run before, where `auto` had become hybrid.
  if (config.resume && config.mode == "auto") config.group_size = 0;
  config.fanout = parse_fanout(flags.fanout, "--fanout");
  config.eval_fanout = parse_eval_fanout(flags.eval_fanout, config.fanout.size());
  config.precision = parse_precision(flags.precision);
  config.deadline = std::chrono::milliseconds(std::llround(flags.deadline_s * 1000));
  check_coordinator(config);
  TraceSteps::parse(config.trace_steps);
  if (!config.metrics_port.empty()) MetricsAddress::parse(config.metrics_port);
  check_mode(config);
  check_group_size(config);
  check_partition(config.partition);
  check_route(config);
  const bool budget_given = flags.cache_budget != TrainFlags::kNoBudget;
  if (budget_given) config.cache_budget = flags.cache_budget;
  check_cache(config, budget_given);
  check_gpu_cache(config);
  if (config.model == "gat" && config.hidden % config.heads != 0) {
    throw UsageError("--hidden " + std::to_string(config.hidden) + " is no multiple of --heads " +
                         std::to_string(config.heads),
                     "hidden is the width of all heads together");
  }
  if (config.sampler == "weighted" && config.edge_weights == "none") {
    throw UsageError("--sampler weighted with --edge-weights none", "leave one of them away");
  }
  if (config.early_stop > 0 && config.eval_every == 0) {
    throw UsageError("--early-stop " + std::to_string(config.early_stop) + " with --eval-every 0",
                     "it follows the validation accuracy: give --eval-every 1");
  }
  if (config.resume && config.overwrite) {
    throw UsageError("--resume with --overwrite", "give one of them");
  }
  if (config.workers > 1 && under_launcher()) {
    throw UsageError("--workers " + std::to_string(config.workers) +
                         " under a launcher, where every rank is one worker",
                     "leave --workers away, or start without mpirun");
  }
  return config;
}

/// A flag whose value must be one of those that this version has.
void add_choice(CLI::App& app, const std::string& flag, std::string& target,
                std::set<std::string> choices, const std::string& help) {
  app.add_option(flag, target, help)->check(CLI::IsMember(std::move(choices)));
}

void add_model_flags(CLI::App& app, TrainFlags& flags) {
  TrainConfig& config = flags.config;
  add_choice(app, "--model", config.model, {"sage", "gcn", "gat", "gin"}, "model");
  app.add_option("--fanout", flags.fanout,
                 "neighbours per layer, nearest the seeds first; full or -1: all");
  add_choice(
      app, "--sampler", config.sampler, {"uniform", "labor", "weighted"},
      "how neighbours are drawn; labor: fewer distinct ones (LABOR-0), the fanout on average; "
      "weighted: by the dataset's edge weights, which then play no other part");
  app.add_option("--hidden", config.hidden, "hidden width")->check(CLI::Range(1, 1 << 20));
  app.add_option("--heads", config.heads, "attention heads of gat; the last layer averages them")
      ->check(CLI::Range(1, 1024));
  app.add_option("--attn-dropout", config.attn_dropout, "of attention coefficients")
      ->check(CLI::Range(0.0, 0.999));
  add_choice(app, "--norm", config.norm, {"none", "layer"}, "normalisation of hidden layers");
  app.add_flag("--residual", config.residual, "add a hidden layer's input to its output");
  app.add_option("--dropout", config.dropout, "of hidden activations")
      ->check(CLI::Range(0.0, 0.999));
  add_choice(app, "--normalize-features", config.normalize_features, {"none", "row"},
             "row: shift all features to a smallest value of 0, rows to a sum of 1, as PyG");
  app.add_option("--input-dropout", config.input_dropout, "of input features")
      ->check(CLI::Range(0.0, 0.999));
  add_choice(app, "--read-ahead", config.read_ahead, {"auto", "always", "never"},
             "ask the disk for a step's feature rows together; auto: where features are more than "
             "half of the available memory");
  add_choice(app, "--bind", config.bind, {"auto", "none", "cores"},
             "bind each worker to cores of its own; auto: where a host has several NUMA nodes and "
             "the launcher has left several workers the same cores");
  app.add_option("--prefetch", config.prefetch,
                 "steps that are sampled and loaded while one is computed, 0 to 8; auto: 1 on GPUs "
                 "and where a host has cores that --threads leave free, else 0")
      ->check(CLI::IsMember({"auto", "0", "1", "2", "3", "4", "5", "6", "7", "8"}));
  add_choice(app, "--edge-weights", config.edge_weights, {"auto", "none"},
             "auto: sage and gcn use those of the dataset where it has some; none: all weigh 1");
  add_choice(
      app, "--precision", flags.precision, {"fp32", "bf16", "fp64"},
      "of a step's rows and products; bf16: stored in half the bytes, summed in fp32, weights "
      "in fp32; fp64 is the reference; bf16 and fp64 are of the CPU");
}

void add_loop_flags(CLI::App& app, TrainFlags& flags) {
  TrainConfig& config = flags.config;
  app.add_option("--batch-size", config.batch_size, "seeds of one step over all workers")
      ->check(CLI::Range(1u, 1u << 30));
  app.add_option("--epochs", config.epochs, "passes over the training nodes")
      ->check(CLI::Range(1u, 1u << 30));
  app.add_option("--max-steps", config.max_steps, "steps of the whole run; wins over --epochs")
      ->check(CLI::PositiveNumber);
  app.add_flag("--drop-last", config.drop_last, "leave out the short last batch of an epoch");
  app.add_option("--lr", config.lr, "learning rate")->check(CLI::NonNegativeNumber);
  app.add_option("--seed", config.seed, "of everything random in the run");
  app.add_option("--eval-every", config.eval_every,
                 "epochs between evaluations; 0: once at the end");
  app.add_option("--eval-fanout", flags.eval_fanout,
                 "full, or sampled neighbours per layer as in --fanout");
  app.add_option("--class-weights", config.class_weights,
                 "none, balanced, or a .npy with one weight per class (labels: of its positives)");
  app.add_option("--early-stop", config.early_stop,
                 "end after this many epochs without a better validation accuracy; 0: never")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--init-from", config.init_from,
                 "start from these weights: a safetensors file, a checkpoint or a run directory");
}

void add_optimizer_flags(CLI::App& app, TrainFlags& flags) {
  TrainConfig& config = flags.config;
  add_choice(app, "--optimizer", config.optimizer, {"adam", "adamw", "sgd"}, "optimizer");
  app.add_option("--momentum", config.momentum, "of sgd")->check(CLI::Range(0.0, 0.999999));
  app.add_option("--weight-decay", config.weight_decay, "L2; decoupled for adamw")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--clip-norm", config.clip_norm, "largest norm of all gradients together; 0: off")
      ->check(CLI::NonNegativeNumber);
  add_choice(app, "--lr-schedule", config.lr_schedule, {"constant", "cosine", "step"},
             "cosine: down to 0 at the end; step: times --lr-gamma every --lr-step-epochs");
  app.add_option("--warmup-steps", config.warmup_steps, "steps of linear rise to --lr at the start")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--lr-step-epochs", config.lr_step_epochs, "epochs between two drops of step")
      ->check(CLI::Range(1u, 1u << 30));
  app.add_option("--lr-gamma", config.lr_gamma, "factor of a drop")->check(CLI::Range(0.0, 1.0));
}

void add_system_flags(CLI::App& app, TrainFlags& flags) {
  TrainConfig& config = flags.config;
  app.add_option("--run-dir", config.run_dir, "directory for events, configuration and weights")
      ->required();
  app.add_flag("--overwrite", config.overwrite, "replace the run that --run-dir holds");
  app.add_flag(
      "--resume", config.resume,
      "go on from the latest checkpoint of --run-dir; flags not given are those of the run");
  app.add_option("--checkpoint-every-steps", config.checkpoint_every_steps,
                 "steps between checkpoints; 0: off")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--checkpoint-minutes", config.checkpoint_minutes,
                 "minutes between checkpoints; 0: off")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--keep", config.keep, "checkpoints to go on from that are kept")
      ->check(CLI::Range(1u, 1u << 20));
  app.add_flag("--dry-run", config.dry_run,
               "print memory, steps, plan and expected shuffle, and stop");
  app.add_option("--seeds", config.seeds,
                 "runs, with seeds from --seed on, in RUN_DIR/seed-K; prints mean and deviation")
      ->check(CLI::Range(1u, 1u << 20));
  app.add_option(
      "--partition", config.partition,
      "auto (metis where memory suffices, else stream), metis, stream, random, range, or a "
      "directory made by gsplit partition, {host} in it being the host's name");
  app.add_option(
      "--mode", config.mode,
      "split: every node of a mini-batch has one owner; data: each worker takes an equal "
      "slice of the batch and has the whole graph; hybrid: split within groups of workers, each of "
      "which takes a slice and has the whole graph; p3: as data, but workers divide the columns of "
      "the "
      "features, compute their parts of each other's first layer and exchange these; auto: of "
      "split, hybrid and data the one that a few counted batches and the rates of the host's cores "
      "say is fastest");
  app.add_option("--group-size", config.group_size, "workers of a group of mode hybrid")
      ->check(CLI::Range(1, 1024));
  add_choice(app, "--cache", config.cache, {"none", "replicate", "partition"},
             "keep the hottest feature rows in memory, by how often presampled batches read them; "
             "replicate: with --mode data the same ones at every worker, with --mode split at each "
             "those of other workers that it reads; partition (--mode data): each at one worker, "
             "from which the others fetch it");
  app.add_option(
         "--cache-budget", flags.cache_budget,
         "rows that a worker keeps, 0 to 1: with --mode data of all rows, with --mode split "
         "of as many as its shard has; 0.2")
      ->check(CLI::Range(0.0, 1.0));
  add_choice(app, "--device", config.device, {"auto", "cpu", "cuda"},
             "where workers compute; auto: one GPU each where there are enough, else the CPU");
  add_choice(app, "--wire", config.wire, {"fp32", "bf16"},
             "what rows and gradients are rounded to on their way between workers in training");
  add_choice(app, "--route", config.route, {"auto", "pull", "push", "project", "mixed"},
             "what travels from the owner of rows to who sums them: pull: rows; push: partial "
             "sums; mixed: as few of both as --cover finds; project: rows that the owner has "
             "multiplied by the weights; auto: of each layer of each batch what takes fewer bytes, "
             "of pull and mixed; gat and --device cuda: pull");
  add_choice(app, "--cover", config.cover, {"auto", "exact", "linear"},
             "how mixed chooses rows and sums: exact: as few as possible, by one thread of the "
             "host; linear: in linear time, where samples are drawn, GPUs included; about as few; "
             "auto: exact on the CPU, linear with --device cuda");
  add_choice(app, "--order", config.order, {"auto", "aggregate", "transform"},
             "what sage, gcn and gat do first: sum the rows of neighbours, or multiply them by the "
             "weights; auto: of each layer of each batch what costs less");
  add_choice(app, "--spmm", config.spmm, {"own", "cusparse"},
             "who aggregates on GPUs: gsplit's own kernel, or cuSPARSE to compare it with");
  add_choice(app, "--matmul", config.matmul, {"fp32", "tf32"},
             "matrix products on GPUs: in fp32, or by tensor cores from elements rounded to TF32");
  add_choice(app, "--gpu-graph", config.gpu_graph, {"auto", "device", "pinned", "host"},
             "where GPUs read the graph: in their memory, in page-locked host memory over the bus, "
             "or not at all: then the host samples; auto: the first that has room");
  add_choice(app, "--gpu-features", config.gpu_features, {"auto", "device", "pinned", "host"},
             "the same of the features; host: the host gathers rows");
  app.add_option("--gpu-data", config.gpu_data,
                 "share of free memory that auto fills with graph, features and cache")
      ->check(CLI::Range(0.0, 0.95));
  app.add_option(
      "--gpu-cache", config.gpu_cache,
      "share of its own feature rows, the hottest ones, that a GPU caches where it reads "
      "features from page-locked host memory; auto: what --gpu-data has room for; not with --mode "
      "p3");
  app.add_option("--workers", config.workers,
                 "rank threads of one process; 0: one per GPU, or per NUMA node on the CPU")
      ->check(CLI::Range(0, 1024));
  app.add_option("--threads", config.threads, "per worker; 0: cores / workers of this host")
      ->check(CLI::Range(0, 4096));
  app.add_option("--deadline", flags.deadline_s, "seconds after which a silent peer ends the run")
      ->check(CLI::Range(0.1, 86400.0));
  app.add_option("--coordinator-bind", config.coordinator_bind,
                 "address on which rank 0 serves the other workers: HOST or HOST:PORT; not given: "
                 "loopback where all are on one host, else the interfaces that the others reach");
  app.add_option("--coordinator", config.coordinator,
                 "HOST:PORT of a gsplit coordinator; not given: rank 0 has it");
  app.add_option("--tls-ca", config.tls_ca, "certificate of the --coordinator, or its authority's");
  app.add_option("--token-file", config.token_file,
                 "token of the --coordinator, in a file of mode 600");
  app.add_option(
      "--metrics-port", config.metrics_port,
      "figures for Prometheus over HTTP, by rank 0: a port on loopback, or ADDRESS:PORT; "
      "0: any free port; the log says where");
  app.add_option("--trace-steps", config.trace_steps,
                 "steps whose spans of time go to RUN_DIR/trace.json: auto (the first three, the "
                 "10th, 30th, 100th, ...), none, all, or such as 1-3,100");
  app.add_option("--dump-blocks", config.dump_blocks, "write the sampled blocks as text");
}

}  // namespace

void add_train_command(CLI::App& app, Action& action) {
  CLI::App* const train = app.add_subcommand("train", "Train a model by split or data parallelism");
  const auto flags = std::make_shared<TrainFlags>();
  // Where --config and the command line give the same flag, the later one counts.
  train->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  train->add_option("DATASET", flags->dataset,
                    "dataset directory (metadata.yaml); {host} in it and in --partition is the "
                    "host's name; not needed with --partition DIR");
  train->add_option("--dataset", flags->config.dataset, "the same, as config.yaml has it");
  add_model_flags(*train, *flags);
  add_loop_flags(*train, *flags);
  add_optimizer_flags(*train, *flags);
  add_system_flags(*train, *flags);
  // Expanded before parsing; declared for --help.
  train->add_option("--config", "YAML file with flags as keys; the command line wins");
  train->callback([flags, &action] {
    action = [config = checked(*flags)] {
      return run_training(config, make_log(launcher_rank() != 0));
    };
  });
}

}  // namespace gsplit
