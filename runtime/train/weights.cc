#include "runtime/train/weights.h"

#include <cstring>

#include "kernels/base/error.h"
#include "runtime/train/checkpoint.h"

namespace gsplit {

namespace fs = std::filesystem;

HostTensors tensors_of(const ParameterSet& parameters, MatrixView flat, const std::string& prefix) {
  HostTensors tensors{.data = parameters.read(flat), .list = {}};
  const std::size_t width = size_of(flat.dtype);
  for (const Parameter& parameter : parameters.list()) {
    const std::span<const std::byte> data =
        std::span(tensors.data)
            .subspan(static_cast<std::size_t>(parameter.offset) * width,
                     static_cast<std::size_t>(parameter.size()) * width);
    tensors.list.emplace_back(
        prefix + parameter.name,
        Tensor{flat.dtype == DType::kF64 ? "F64" : "F32", parameter.shape, data});
  }
  return tensors;
}

namespace {

/// The elements of a tensor in the type that `out` has, one after another.
template <class T>
void convert(const SafetensorsFile& file, const std::string& name, const Tensor& tensor,
             std::span<T> out) {
  const auto copy_from = [&](auto stored) {
    const std::byte* from = tensor.data.data();  // at any address: the format aligns nothing
    for (T& element : out) {
      std::memcpy(&stored, from, sizeof(stored));
      element = static_cast<T>(stored);
      from += sizeof(stored);
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
}

}  // namespace

void load_tensors(const SafetensorsFile& file, const ParameterSet& parameters, MatrixView flat,
                  const std::string& prefix) {
  dispatch_compute(flat.dtype, [&](auto type) {
    using T = decltype(type);
    std::vector<T> host(static_cast<std::size_t>(flat.cols));  // padding is 0
    for (const Parameter& parameter : parameters.list()) {
      const std::string name = prefix + parameter.name;
      const Tensor& tensor = file.at(name);
      if (tensor.shape != parameter.shape) {
        throw UsageError(file.path().string() + ": " + name + " has another shape than the model",
                         "give weights of the same model, widths and classes");
      }
      convert<T>(file, name, tensor,
                 std::span(host).subspan(static_cast<std::size_t>(parameter.offset),
                                         static_cast<std::size_t>(parameter.size())));
    }
    parameters.write(std::as_bytes(std::span(host)), flat);
  });
}

void broadcast_from_first(const ParameterSet& parameters, MatrixView flat,
                          Communicator& communicator) {
  std::vector<std::byte> host = parameters.read(flat);
  communicator.broadcast(host, 0);
  parameters.write(host, flat);
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
