// gsplit infer: full-neighbour predictions of trained weights, layer by layer, on rank threads of
// this process.
#pragma once

#include <filesystem>

#include "kernels/base/error.h"
#include "kernels/base/log.h"

namespace gsplit {

struct InferenceConfig {
  std::filesystem::path weights;  ///< a run directory (its best weights) or a checkpoint directory
  std::filesystem::path dataset;
  std::filesystem::path nodes;  ///< .npy of OriginalIds; empty: all nodes in order
  std::filesystem::path out;    ///< .npy of i4 (nodes), the predicted class of each
  int workers = 1;
  int threads = 0;
};

ExitCode run_inference(const InferenceConfig& config, const Log& log);

}  // namespace gsplit
