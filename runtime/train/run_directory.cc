#include "runtime/train/run_directory.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/train/safetensors.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;

/// Seconds since 1970 with microseconds.
double now() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<double>(std::chrono::duration_cast<std::chrono::microseconds>(since).count()) /
         1e6;
}

/// Flushes a file or directory to the disk; best effort where the system cannot.
void flush(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  ::fsync(file);
  ::close(file);
}

void write_text(const fs::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  if (!out) {
    throw SystemError("cannot write " + path.string() + ": " + std::strerror(errno),
                      "check free space and permissions");
  }
  flush(path);
}

std::vector<std::pair<std::string, Tensor>> tensors_of(ParameterSet& parameters) {
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (std::size_t i = 0; i < parameters.list().size(); ++i) {
    const Parameter& parameter = parameters.list()[i];
    const MatrixView value = parameters.value({i});
    tensors.emplace_back(parameter.name, Tensor{parameters.dtype() == DType::kF64 ? "F64" : "F32",
                                                parameter.shape,
                                                {static_cast<const std::byte*>(value.data),
                                                 static_cast<std::size_t>(parameter.size()) *
                                                     size_of(value.dtype)}});
  }
  return tensors;
}

}  // namespace

void check_run_directory(const fs::path& path, bool overwrite) {
  if (!overwrite && fs::exists(path / "events.jsonl")) {
    throw UsageError("--run-dir " + path.string() + " holds a run already",
                     "choose another directory, or give --overwrite");
  }
}

RunDirectory::RunDirectory(const fs::path& path, bool overwrite) : path_(path) {
  check_run_directory(path, overwrite);
  std::error_code error;
  for (const char* entry : {"events.jsonl", "config.yaml", "checkpoints"}) {
    fs::remove_all(path / entry, error);
  }
  fs::create_directories(path / "checkpoints", error);
  if (error) {
    throw UsageError("--run-dir " + path.string() + " cannot be made: " + error.message(),
                     "choose a directory that can be written");
  }
  events_.open(path / "events.jsonl", std::ios::app);
  if (!events_) {
    throw UsageError("--run-dir " + path.string() + " cannot be written",
                     "choose a directory that can be written");
  }
}

void RunDirectory::write_config(const std::string& yaml) {
  write_text(path_ / "config.yaml", yaml);
}

void RunDirectory::event(const std::string& name, const nlohmann::json& fields) {
  nlohmann::ordered_json line{{"event", name}, {"time", now()}};
  for (const auto& [key, value] : fields.items()) line[key] = value;
  events_ << line.dump() << std::endl;
  if (!events_) {
    throw SystemError(
        "cannot write " + (path_ / "events.jsonl").string() + ": " + std::strerror(errno),
        "check free space");
  }
}

void RunDirectory::write_weights(const std::string& name, ParameterSet& parameters,
                                 const nlohmann::json& manifest) {
  const fs::path final_path = path_ / "checkpoints" / name;
  const fs::path draft = path_ / "checkpoints" / ("." + name);
  fs::remove_all(draft);
  fs::create_directories(draft);
  write_safetensors(draft / "model.safetensors", tensors_of(parameters));
  write_text(draft / "manifest.json", manifest.dump(2) + "\n");
  flush(draft);
  fs::remove_all(final_path);
  fs::rename(draft, final_path);
  flush(final_path.parent_path());
}

void load_weights(const fs::path& file, ParameterSet& parameters) {
  const SafetensorsFile weights = SafetensorsFile::open(file);
  for (std::size_t i = 0; i < parameters.list().size(); ++i) {
    const Parameter& parameter = parameters.list()[i];
    const Tensor& tensor = weights.at(parameter.name);
    if (tensor.shape != parameter.shape) {
      throw UsageError(file.string() + ": " + parameter.name + " has another shape than the model",
                       "give weights of the same model, widths and classes");
    }
    dispatch_compute(parameters.dtype(), [&](auto type) {
      using T = decltype(type);
      T* const out = parameters.value({i}).row<T>(0);
      const auto copy_from = [&](auto stored) {
        const auto* from = reinterpret_cast<const decltype(stored)*>(tensor.data.data());
        for (std::int64_t e = 0; e < parameter.size(); ++e) out[e] = static_cast<T>(from[e]);
      };
      if (tensor.dtype == "F64") {
        copy_from(double{});
      } else if (tensor.dtype == "F32") {
        copy_from(float{});
      } else {
        throw UsageError(file.string() + ": " + parameter.name + " is " + tensor.dtype,
                         "give fp32 or fp64 weights");
      }
    });
  }
}

}  // namespace gsplit
