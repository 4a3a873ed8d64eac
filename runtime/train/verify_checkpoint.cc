#include "runtime/train/verify_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "kernels/backend.h"
#include "runtime/nn/model.h"
#include "runtime/train/config.h"

namespace gsplit {
namespace {

constexpr const char* kModel = "model.safetensors";
constexpr const char* kBest = "best.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";

/// The last extent of the first matrix of layer 0, the length of the last vector of the last layer:
/// what the data, and not the config, decide of a model.
struct Widths {
  std::int64_t in = 0;
  std::int64_t out = 0;
};

std::optional<Widths> widths_of(const SafetensorsFile& model, std::size_t layers) {
  Widths widths;
  const std::string last = fmt::format("convs.{}.", layers - 1);
  for (const auto& [name, tensor] : model.tensors()) {
    if (name.starts_with("convs.0.") && tensor.shape.size() == 2 && widths.in == 0) {
      widths.in = tensor.shape[1];
    }
    if (name.starts_with(last) && tensor.shape.size() == 1) widths.out = tensor.shape[0];
  }
  return widths.in > 0 && widths.out > 0 ? std::optional(widths) : std::nullopt;
}

/// As torch.optim names what the optimizer keeps of each weight.
std::vector<std::string> optimizer_prefixes(const TrainConfig& config) {
  if (config.optimizer != "sgd") return {"exp_avg.", "exp_avg_sq."};
  return config.momentum > 0 ? std::vector<std::string>{"momentum_buffer."}
                             : std::vector<std::string>{};
}

bool all_finite(const Tensor& tensor) {
  const auto finite = [&](auto zero) {
    using T = decltype(zero);
    const std::span values(reinterpret_cast<const T*>(tensor.data.data()),
                           tensor.data.size() / sizeof(T));
    return std::all_of(values.begin(), values.end(), [](T x) { return std::isfinite(x); });
  };
  return tensor.dtype == "F64" ? finite(double{}) : finite(float{});
}

class CheckpointVerifier {
 public:
  explicit CheckpointVerifier(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  std::vector<std::string> run() {
    verify_manifest();
    try {
      config_ = from_yaml(checkpoint_.manifest().config, manifest().string());
      verify_tensors();
    } catch (const Error& error) {
      findings_.emplace_back(error.what());
    }
    return std::move(findings_);
  }

 private:
  std::filesystem::path manifest() const { return checkpoint_.directory() / "manifest.json"; }
  void add(const std::filesystem::path& file, const std::string& fault) {
    findings_.push_back(file.string() + " " + fault);
  }

  void verify_manifest() {
    const CheckpointManifest& found = checkpoint_.manifest();
    const std::string& hex = found.dataset_fingerprint;
    if (hex.size() != 64 || hex.find_first_not_of("0123456789abcdef") != hex.npos) {
      add(manifest(), "has no fingerprint of a dataset");
    }
    const std::string name = checkpoint_.directory().filename().string();
    if (name.starts_with("step-") && name != fmt::format("step-{}", found.step)) {
      add(manifest(), fmt::format("is of step {}", found.step));
    }
    if (!checkpoint_.has(kOptimizer)) return;
    const auto steps = found.state.find("optimizer_steps");
    if (steps == found.state.end() || *steps != found.step) {
      add(manifest(), fmt::format("says another number of optimizer steps than {}", found.step));
    }
  }

  void verify_tensors() {
    if (!checkpoint_.has(kModel)) return add(manifest(), fmt::format("names no {}", kModel));
    const SafetensorsFile weights = checkpoint_.tensors(kModel);
    const auto widths = widths_of(weights, config_.fanout.size());
    if (!widths) return add(weights.path(), "holds no model of the layers that config says");
    const auto backend = make_cpu_backend(1);
    const auto stream = backend->memory().create_stream();
    const GcnScales scales;
    Model model({.type = config_.model,
                 .num_layers = static_cast<int>(config_.fanout.size()),
                 .in_width = widths->in,
                 .hidden_width = config_.hidden,
                 .out_width = widths->out,
                 .heads = config_.heads,
                 .layer_norm = config_.norm == "layer",
                 .dtype = config_.precision},
                scales, *backend, *stream);
    const std::vector<Parameter>& parameters = model.parameters().list();
    verify_file(weights, parameters, {""});
    if (checkpoint_.has(kBest)) verify_file(checkpoint_.tensors(kBest), parameters, {""});
    if (checkpoint_.has(kOptimizer)) {
      verify_file(checkpoint_.tensors(kOptimizer), parameters, optimizer_prefixes(config_));
    }
  }

  /// The file holds one tensor for each parameter and prefix, and no other.
  void verify_file(const SafetensorsFile& file, const std::vector<Parameter>& parameters,
                   const std::vector<std::string>& prefixes) {
    for (const std::string& prefix : prefixes) {
      for (const Parameter& parameter : parameters) verify_tensor(file, parameter, prefix);
    }
    const std::size_t expected = parameters.size() * prefixes.size();
    if (file.tensors().size() != expected) {
      add(file.path(),
          fmt::format("holds {} tensors, expected {}", file.tensors().size(), expected));
    }
  }

  void verify_tensor(const SafetensorsFile& file, const Parameter& parameter,
                     const std::string& prefix) {
    const std::string name = prefix + parameter.name;
    const auto found = file.tensors().find(name);
    if (found == file.tensors().end()) return add(file.path(), "lacks the tensor " + name);
    const Tensor& tensor = found->second;
    const char* const dtype = config_.precision == DType::kF64 ? "F64" : "F32";
    if (tensor.dtype != dtype) {
      return add(file.path(),
                 fmt::format("holds {} as {}, expected {}", name, tensor.dtype, dtype));
    }
    if (tensor.shape != parameter.shape) {
      return add(file.path(), fmt::format("holds {} of another shape than config says", name));
    }
    if (!all_finite(tensor)) add(file.path(), fmt::format("holds NaN or infinities in {}", name));
  }

  const Checkpoint& checkpoint_;
  TrainConfig config_;
  std::vector<std::string> findings_;
};

}  // namespace

std::vector<std::string> verify_checkpoint(const Checkpoint& checkpoint) {
  return CheckpointVerifier(checkpoint).run();
}

}  // namespace gsplit
