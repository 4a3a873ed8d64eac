// gsplit infer and gsplit evaluate: full-neighbour outputs of trained weights, layer by layer, on
// rank threads of this process.
#pragma once

#include <filesystem>
#include <string>

#include "kernels/base/error.h"
#include "kernels/base/log.h"
#include "runtime/train/evaluator.h"

namespace gsplit {

/// Trained weights and the data to use them on.
struct InferenceSource {
  std::filesystem::path weights;  ///< a run directory (its best weights) or a checkpoint directory
  std::filesystem::path dataset;
  int workers = 1;
  int threads = 0;
};

struct InferenceConfig {
  InferenceSource source;
  std::filesystem::path nodes;       ///< .npy of OriginalIds; empty: all nodes in order
  std::filesystem::path out;         ///< .npy of i4 (nodes), the predicted class of each; of a
                                     ///< multi-label dataset u1 (nodes, classes), 0 or 1
  std::filesystem::path embeddings;  ///< .npy of f4 (nodes, hidden), outputs of the last hidden
                                     ///< layer; empty: not written
};

struct SplitScores {
  Task task = Task::kMultiClass;
  Score train;
  Score validation;
  Score test;
};

/// UsageError where `nodes` is no list of nodes of the dataset, or an output file cannot be there;
/// nothing is written then.
ExitCode run_inference(const InferenceConfig& config, const Log& log);

SplitScores evaluate_weights(const InferenceSource& source, const Log& log);
/// One line for a terminal, or one JSON object; an empty split is "-", or null.
std::string as_text(const SplitScores& scores);
std::string as_json(const SplitScores& scores);

}  // namespace gsplit
