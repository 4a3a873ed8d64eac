// gsplit infer and gsplit evaluate.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "runtime/cli/command.h"
#include "runtime/cli/log.h"
#include "runtime/train/inference.h"

namespace gsplit {
namespace {

void add_source(CLI::App& app, InferenceSource& source) {
  app.add_option("weights", source.weights, "run directory (its best weights) or checkpoint")
      ->required();
  app.add_option("dataset", source.dataset, "dataset directory")->required();
  app.add_option("--workers", source.workers, "rank threads")->check(CLI::Range(1, 1024));
  app.add_option("--threads", source.threads, "per worker; 0: cores / workers")
      ->check(CLI::Range(0, 4096));
}

}  // namespace

void add_infer_command(CLI::App& app, Action& action) {
  CLI::App* const infer =
      app.add_subcommand("infer", "Predict with trained weights, full neighbourhood");
  const auto config = std::make_shared<InferenceConfig>();
  add_source(*infer, config->source);
  infer->add_option("--nodes", config->nodes, ".npy of node ids; default: all in order");
  infer
      ->add_option("--out", config->out,
                   ".npy of predicted classes, or of rows of 0 and 1 for several labels, to write")
      ->required();
  infer->add_option("--embeddings", config->embeddings,
                    ".npy of outputs of the last hidden layer to write, fp32");
  infer->callback(
      [config, &action] { action = [config] { return run_inference(*config, make_log(false)); }; });
}

void add_evaluate_command(CLI::App& app, Action& action) {
  struct Flags {
    InferenceSource source;
    bool json = false;
  };
  CLI::App* const evaluate = app.add_subcommand(
      "evaluate",
      "Accuracy, or micro-F1 for several labels, of trained weights, full neighbourhood");
  const auto flags = std::make_shared<Flags>();
  add_source(*evaluate, flags->source);
  evaluate->add_flag("--json", flags->json, "print one JSON object and nothing else");
  evaluate->callback([flags, &action] {
    action = [flags] {
      const SplitScores scores = evaluate_weights(flags->source, make_log(flags->json));
      std::cout << (flags->json ? as_json(scores) : as_text(scores)) << std::endl;
      return ExitCode::kDone;
    };
  });
}

}  // namespace gsplit
