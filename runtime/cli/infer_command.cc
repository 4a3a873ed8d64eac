// gsplit infer.
#include <CLI/CLI.hpp>
#include <memory>

#include "runtime/cli/command.h"
#include "runtime/cli/log.h"
#include "runtime/train/inference.h"

namespace gsplit {

void add_infer_command(CLI::App& app, Action& action) {
  CLI::App* const infer =
      app.add_subcommand("infer", "Predict with trained weights, full neighbourhood");
  const auto config = std::make_shared<InferenceConfig>();
  infer->add_option("weights", config->weights, "run directory (its best weights) or checkpoint")
      ->required();
  infer->add_option("dataset", config->dataset, "dataset directory")->required();
  infer->add_option("--nodes", config->nodes, ".npy of node ids; default: all in order");
  infer->add_option("--out", config->out, ".npy of predicted classes to write")->required();
  infer->add_option("--workers", config->workers, "rank threads")->check(CLI::Range(1, 1024));
  infer->add_option("--threads", config->threads, "per worker; 0: cores / workers")
      ->check(CLI::Range(0, 4096));
  infer->callback(
      [config, &action] { action = [config] { return run_inference(*config, make_log(false)); }; });
}

}  // namespace gsplit
