// RUN_DIR: config.yaml, events.jsonl and the checkpoints of one run. Written by rank 0 alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "runtime/nn/parameters.h"

namespace gsplit {

/// UsageError when `path` holds a run and `overwrite` is not set; touches nothing.
void check_run_directory(const std::filesystem::path& path, bool overwrite);

class RunDirectory {
 public:
  /// Creates the directory. One that holds a run is refused with a UsageError, or emptied of it
  /// with `overwrite`.
  RunDirectory(const std::filesystem::path& path, bool overwrite);

  const std::filesystem::path& path() const { return path_; }
  void write_config(const std::string& yaml);
  /// Appends one line {"event": name, "time": now, ...fields} to events.jsonl and flushes it.
  /// Throws SystemError.
  void event(const std::string& name, const nlohmann::json& fields);
  /// Writes checkpoints/NAME (model.safetensors, manifest.json) under a name that begins with a
  /// dot, flushes and renames it over an older one.
  void write_weights(const std::string& name, ParameterSet& parameters,
                     const nlohmann::json& manifest);

 private:
  std::filesystem::path path_;
  std::ofstream events_;
};

/// Copies the weights of a model.safetensors into `parameters`. UsageError where a tensor is
/// missing or of another shape.
void load_weights(const std::filesystem::path& file, ParameterSet& parameters);

}  // namespace gsplit
