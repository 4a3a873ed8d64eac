// gsplit generate: writes a synthetic dataset.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <limits>
#include <memory>
#include <thread>

#include "graph/features.h"
#include "graph/generate.h"
#include "runtime/cli/command.h"

namespace gsplit {
namespace {

struct GenerateFlags {
  std::string kind = "sbm";
  std::string feature_dtype = "fp32";
  SbmOptions sbm;
  std::string out;
  int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
};

RmatOptions rmat_of(const SbmOptions& options) {
  return {.nodes = options.nodes,
          .degree = options.degree,
          .features = options.features,
          .feature_dtype = options.feature_dtype,
          .classes = options.classes,
          .seed = options.seed,
          .splits = options.splits()};
}

ExitCode generate(const GenerateFlags& flags) {
  if (flags.kind != "sbm" && flags.kind != "rmat") {
    throw UsageError("--kind " + flags.kind + " is not available", "available: sbm, rmat");
  }
  SbmOptions options = flags.sbm;
  options.feature_dtype = feature_dtype_from_name(flags.feature_dtype);
  const auto start = std::chrono::steady_clock::now();
  if (flags.kind == "rmat") {
    generate_rmat(rmat_of(options), flags.out, flags.threads);
  } else {
    generate_sbm(options, flags.out, flags.threads);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::cout << fmt::format("wrote {}: {} nodes of degree {:g}, {} features, {} classes, {:.1f} s\n",
                           flags.out, flags.sbm.nodes, flags.sbm.degree, flags.sbm.features,
                           flags.sbm.classes, seconds.count())
            << std::flush;
  return ExitCode::kDone;
}

}  // namespace

void add_generate_command(CLI::App& app, Action& action) {
  auto flags = std::make_shared<GenerateFlags>();
  // A negative number would wrap to a large one.
  const CLI::Range positive(std::int64_t{1}, std::numeric_limits<std::int64_t>::max());
  CLI::App* command = app.add_subcommand("generate", "Write a synthetic dataset");
  command->add_option("--kind", flags->kind,
                      "sbm: degree-corrected stochastic block model; rmat: R-MAT with Graph500's "
                      "parameters, directed, classes by in-degree");
  command->add_option("--nodes", flags->sbm.nodes, "Number of nodes")->required()->check(positive);
  command->add_option("--degree", flags->sbm.degree, "Directed edges / nodes")->required();
  command->add_option("--features", flags->sbm.features, "Floats a node")
      ->required()
      ->check(positive);
  command->add_option("--feature-dtype", flags->feature_dtype, "fp32, fp16 or bf16: as stored");
  command->add_option("--classes", flags->sbm.classes, "Number of classes")
      ->required()
      ->check(positive);
  command->add_option("--seed", flags->sbm.seed, "Same seed, same files");
  command->add_option("--train-share", flags->sbm.train_share, "Share of training nodes");
  command->add_option("--validation-share", flags->sbm.validation_share,
                      "Share of validation nodes");
  command->add_option("--test-share", flags->sbm.test_share, "Share of test nodes");
  command->add_option("--out", flags->out, "Directory to make; must not exist")->required();
  command->add_option("--threads", flags->threads, "Threads; the files do not depend on it")
      ->check(CLI::Range(1, 4096));
  command->callback([flags, &action] { action = [flags] { return generate(*flags); }; });
}

}  // namespace gsplit
