#include "runtime/train/checkpointer.h"

#include <fmt/core.h>

#include "graph/sha256.h"
#include "kernels/base/error.h"
#include "runtime/train/flag_differences.h"
#include "runtime/train/patience.h"
#include "runtime/train/weights.h"

namespace gsplit {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kModel = "model.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";

/// A flat vector of the optimizer and torch.optim's name for it.
struct OptimizerVector {
  std::string prefix;
  MatrixView values;
};

std::vector<OptimizerVector> vectors_of(OptimizerState& optimizer) {
  std::vector<OptimizerVector> vectors;
  const bool sgd = optimizer.second_moment.rows() == 0;
  if (optimizer.first_moment.rows() > 0) {
    vectors.push_back({sgd ? "momentum_buffer." : "exp_avg.", optimizer.first_moment.view()});
  }
  if (!sgd) vectors.push_back({"exp_avg_sq.", optimizer.second_moment.view()});
  return vectors;
}

Json to_json(const LoopState& state) {
  return {{"evaluated", state.evaluated},
          {"early_stopping",
           {{"last_epoch", state.early_stopping.last_epoch},
            {"best_epoch", state.early_stopping.best_epoch},
            {"best_accuracy", state.early_stopping.best_accuracy}}}};
}

LoopState loop_state(std::uint64_t step, const Json& json) {
  const Json& early = json.at("early_stopping");
  return {.step = step,
          .evaluated = json.at("evaluated"),
          .early_stopping = {.last_epoch = early.at("last_epoch"),
                             .best_epoch = early.at("best_epoch"),
                             .best_accuracy = early.at("best_accuracy")}};
}

void check_same_run(const TrainConfig& config, const Checkpoint& checkpoint,
                    const std::string& dataset_fingerprint) {
  const CheckpointManifest& manifest = checkpoint.manifest();
  const std::string origin = checkpoint.directory().string();
  if (manifest.dataset_fingerprint != dataset_fingerprint) {
    throw UsageError("--resume: " + origin + " was trained on other data than " +
                         (config.dataset.empty() ? config.partition : config.dataset.string()),
                     "give the same dataset, or start a new run in another --run-dir");
  }
  for (const FlagDifference& flag :
       resume_differences(from_yaml(manifest.config, origin), config)) {
    throw UsageError(fmt::format("--resume: --{} {} would change the run, which has {}", flag.name,
                                 flag.now, flag.before),
                     "leave the flag away, or start a new run in another --run-dir");
  }
}

}  // namespace

std::optional<Checkpoint> find_checkpoint(const TrainConfig& config,
                                          const std::string& dataset_fingerprint, const Log& log) {
  const std::optional<Checkpoint> checkpoint =
      latest_step_checkpoint(RunDirectory(config.run_dir).checkpoints(), log);
  if (checkpoint) {
    check_same_run(config, *checkpoint, dataset_fingerprint);
    log.info("resumes after step " + std::to_string(checkpoint->manifest().step));
  } else {
    log.info("--resume: " + config.run_dir.string() +
             " holds no committed checkpoint, the run starts from the beginning");
  }
  return checkpoint;
}

Checkpointer::Checkpointer(const TrainConfig& config, ParameterSet& parameters,
                           OptimizerState& optimizer, Context& context)
    : config_(config), parameters_(parameters), optimizer_(optimizer), context_(context) {}

bool Checkpointer::minutes_are_over() const {
  const std::chrono::duration<double, std::ratio<60>> passed =
      std::chrono::steady_clock::now() - last_time_;
  return config_.checkpoint_minutes > 0 && passed.count() >= config_.checkpoint_minutes;
}

bool Checkpointer::due(std::uint64_t step) const {
  return config_.checkpoint_every_steps > 0 && step % config_.checkpoint_every_steps == 0;
}

void Checkpointer::save(const LoopState& state, Recorder* recorder) {
  if (state.step == last_step_) return;
  const PhaseScope phase(context_.progress, Phase::kCheckpoint);
  require_agreement(state);
  if (recorder != nullptr) write(state, *recorder);
  await_files(context_.communicator);
  last_step_ = state.step;
  last_time_ = std::chrono::steady_clock::now();
}

void Checkpointer::require_agreement(const LoopState& state) {
  Sha256 hash;
  hash.add(state.step);
  hash.add(parameters_.read(parameters_.values()));
  for (const OptimizerVector& vector : vectors_of(optimizer_)) {
    hash.add(parameters_.read(vector.values));
  }
  const std::vector<Sha256Digest> digests = context_.communicator.all_gather_value(hash.digest());
  for (std::size_t rank = 1; rank < digests.size(); ++rank) {
    if (digests[rank] == digests.front()) continue;
    throw SystemError(fmt::format("rank {} has other weights than rank 0 after step {}, so no "
                                  "checkpoint is written",
                                  rank, state.step),
                      "start gsplit on hosts of one kind, check their memory, and --resume");
  }
}

void Checkpointer::write(const LoopState& state, Recorder& recorder) {
  RunDirectory& directory = recorder.directory();
  directory.flush_events();
  CheckpointWriter writer(step_checkpoint_directory(directory.checkpoints(), state.step));
  writer.add(kModel, tensors_of(parameters_, parameters_.values()).list);
  std::vector<HostTensors> vectors;  // own what `moments` refer to
  std::vector<std::pair<std::string, Tensor>> moments;
  for (const OptimizerVector& vector : vectors_of(optimizer_)) {
    vectors.push_back(tensors_of(parameters_, vector.values, vector.prefix));
    moments.insert(moments.end(), vectors.back().list.begin(), vectors.back().list.end());
  }
  writer.add(kOptimizer, moments);
  recorder.add_best_weights(writer);
  writer.commit({.step = state.step,
                 .epoch = recorder.epochs_done(),
                 .config = to_yaml(config_),
                 .dataset_fingerprint = recorder.dataset_fingerprint(),
                 .state = {{"loop", to_json(state)},
                           {"optimizer_steps", optimizer_.steps},
                           {"recorder", recorder.state()}}});
  recorder.checkpoint(state.step, fmt::format("checkpoints/step-{}", state.step));
  remove_old_step_checkpoints(directory.checkpoints(), config_.keep);
}

LoopState Checkpointer::read(const Checkpoint& checkpoint) {
  try {
    const CheckpointManifest& manifest = checkpoint.manifest();
    load_tensors(checkpoint.tensors(kModel), parameters_, parameters_.values());
    for (const OptimizerVector& vector : vectors_of(optimizer_)) {
      load_tensors(checkpoint.tensors(kOptimizer), parameters_, vector.values, vector.prefix);
    }
    optimizer_.steps = manifest.state.at("optimizer_steps");
    return loop_state(manifest.step, manifest.state.at("loop"));
  } catch (const Json::exception& error) {
    throw UsageError(checkpoint.directory().string() + " cannot be resumed from: " + error.what(),
                     "remove it, and the one before it is used");
  }
}

LoopState Checkpointer::restore(const std::optional<Checkpoint>& checkpoint) {
  LoopState state;
  if (checkpoint) state = read(*checkpoint);
  Communicator& communicator = context_.communicator;
  communicator.broadcast(std::as_writable_bytes(std::span(&state, 1)), 0);
  if (state.step == 0) return state;
  communicator.broadcast(std::as_writable_bytes(std::span(&optimizer_.steps, 1)), 0);
  broadcast_from_first(parameters_, parameters_.values(), communicator);
  for (const OptimizerVector& vector : vectors_of(optimizer_)) {
    broadcast_from_first(parameters_, vector.values, communicator);
  }
  last_step_ = state.step;
  return state;
}

}  // namespace gsplit
