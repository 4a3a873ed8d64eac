#include "runtime/train/weights.h"

#include <cstring>

#include "kernels/base/error.h"
#include "runtime/train/checkpoint.h"

namespace gsplit {

namespace fs = std::filesystem;

std::vector<std::pair<std::string, Tensor>> tensors_of(const ParameterSet& parameters,
                                                       MatrixView flat, const std::string& prefix) {
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (std::size_t i = 0; i < parameters.list().size(); ++i) {
    const Parameter& parameter = parameters.list()[i];
    const MatrixView part = parameters.part_of(flat, {i});
    const std::size_t bytes = static_cast<std::size_t>(parameter.size()) * size_of(flat.dtype);
    tensors.emplace_back(prefix + parameter.name,
                         Tensor{flat.dtype == DType::kF64 ? "F64" : "F32",
                                parameter.shape,
                                {static_cast<const std::byte*>(part.data), bytes}});
  }
  return tensors;
}

void load_tensors(const SafetensorsFile& file, const ParameterSet& parameters, MatrixView flat,
                  const std::string& prefix) {
  for (std::size_t i = 0; i < parameters.list().size(); ++i) {
    const Parameter& parameter = parameters.list()[i];
    const std::string name = prefix + parameter.name;
    const Tensor& tensor = file.at(name);
    if (tensor.shape != parameter.shape) {
      throw UsageError(file.path().string() + ": " + name + " has another shape than the model",
                       "give weights of the same model, widths and classes");
    }
    dispatch_compute(flat.dtype, [&](auto type) {
      using T = decltype(type);
      T* const out = parameters.part_of(flat, {i}).template row<T>(0);
      const auto copy_from = [&](auto stored) {
        const std::byte* from = tensor.data.data();  // at any address: the format aligns nothing
        for (std::int64_t e = 0; e < parameter.size(); ++e, from += sizeof(stored)) {
          std::memcpy(&stored, from, sizeof(stored));
          out[e] = static_cast<T>(stored);
        }
      };
      if (tensor.dtype == "F64") {
        copy_from(double{});
      } else if (tensor.dtype == "F32") {
        copy_from(float{});
      } else {
        throw UsageError(file.path().string() + ": " + name + " is " + tensor.dtype,
                         "give fp32 or fp64 weights");
      }
    });
  }
}

void load_weights(const fs::path& file, ParameterSet& parameters) {
  load_tensors(SafetensorsFile::open(file), parameters, parameters.values());
}

fs::path checkpoint_of(const fs::path& path) {
  const fs::path checkpoints = path / "checkpoints";
  for (const fs::path& candidate : {path, checkpoints / "best", checkpoints / "final"}) {
    if (fs::exists(candidate / "manifest.json")) return candidate;
  }
  const std::vector<StepCheckpoint> steps = list_step_checkpoints(checkpoints);
  if (!steps.empty()) return steps.front().directory;
  throw UsageError(path.string() + " holds no weights",
                   "give a run directory or one of its checkpoints");
}

fs::path weights_file_of(const fs::path& path) {
  if (fs::is_regular_file(path)) return path;
  return Checkpoint::open(checkpoint_of(path)).directory() / "model.safetensors";
}

}  // namespace gsplit
