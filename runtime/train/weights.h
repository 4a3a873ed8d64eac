// Weights, and whatever else has their shape, as tensors of safetensors files; and where trained
// weights lie: what --init-from, `gsplit evaluate` and `gsplit infer` take.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "runtime/nn/parameters.h"
#include "runtime/train/safetensors.h"

namespace gsplit {

/// Tensors by name, and the host's copy of the data that they refer to.
struct HostTensors {
  std::vector<std::byte> data;
  std::vector<std::pair<std::string, Tensor>> list;
};

/// The tensors of `flat`, (1, n) in the layout of `parameters` in device memory, named `prefix` +
/// the parameter's name.
HostTensors tensors_of(const ParameterSet& parameters, MatrixView flat,
                       const std::string& prefix = "");

/// Copies the tensors of those names into `flat`, in device memory. UsageError where one is missing
/// or of another shape, or neither fp32 nor fp64.
void load_tensors(const SafetensorsFile& file, const ParameterSet& parameters, MatrixView flat,
                  const std::string& prefix = "");

/// Gives every worker what rank 0 has in `flat`, (1, n) in the layout of `parameters` in device
/// memory. Collective.
void broadcast_from_first(const ParameterSet& parameters, MatrixView flat,
                          Communicator& communicator);

/// Copies the weights of a model.safetensors into `parameters`; errors as load_tensors.
void load_weights(const std::filesystem::path& file, ParameterSet& parameters);

/// Directory of the checkpoint that `path` means: itself, or of a run directory the best one, else
/// the final one, else the latest one to resume from. Throws UsageError where there is none.
std::filesystem::path checkpoint_of(const std::filesystem::path& path);

/// The safetensors file that `path` means: itself, or that of checkpoint_of(path), whose checksums
/// are verified.
std::filesystem::path weights_file_of(const std::filesystem::path& path);

}  // namespace gsplit
