// A checkpoint on disk: a directory of safetensors files and manifest.json, which holds a checksum
// of each file and of itself. docs/formats.md gives its fields.
//
//   checkpoints/step-N/   all that a run needs to go on after step N: weights, optimizer, the best
//                         weights so far, the state of the loop
//   checkpoints/best/     weights of the best validation score
//   checkpoints/final/    weights at the end
//
// Written under a name that begins with a dot, flushed and renamed: what has its final name is
// whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "graph/staged_directory.h"
#include "kernels/base/log.h"
#include "runtime/train/safetensors.h"

namespace gsplit {

/// What manifest.json says beside the checksums.
struct CheckpointManifest {
  std::uint64_t step = 0;   ///< optimizer steps done
  std::uint32_t epoch = 0;  ///< epochs done
  std::string config;       ///< config.yaml of the run
  std::string dataset_fingerprint;
  /// Of step-N: the state of the loop. Of best: its score.
  nlohmann::ordered_json state;
};

/// One checkpoint being written; what is not committed leaves nothing. Throws SystemError.
class CheckpointWriter {
 public:
  explicit CheckpointWriter(const std::filesystem::path& directory)
      : staging_(directory, StagedDirectory::Existing::kReplace) {}
  void add(const std::string& file, const std::vector<std::pair<std::string, Tensor>>& tensors);
  /// The same bytes under another name: as a link to `existing`, which must never be written to,
  /// where the file system has links.
  void add_copy(const std::string& file, const std::filesystem::path& existing);
  void commit(const CheckpointManifest& manifest);

 private:
  void add_checksum(const std::string& file);

  StagedDirectory staging_;
  nlohmann::ordered_json checksums_ = nlohmann::ordered_json::object();
};

/// A checkpoint that has been read and found whole.
class Checkpoint {
 public:
  /// Reads the manifest and all files. Throws UsageError naming the file that is missing or
  /// damaged.
  static Checkpoint open(const std::filesystem::path& directory);

  const std::filesystem::path& directory() const { return directory_; }
  const CheckpointManifest& manifest() const { return manifest_; }
  bool has(const std::string& file) const;
  /// REQUIRES: has(file).
  SafetensorsFile tensors(const std::string& file) const;

 private:
  std::filesystem::path directory_;
  CheckpointManifest manifest_;
  std::vector<std::string> files_;
};

struct StepCheckpoint {
  std::uint64_t step = 0;
  std::filesystem::path directory;
};

std::filesystem::path step_checkpoint_directory(const std::filesystem::path& checkpoints,
                                                std::uint64_t step);
/// The step-N directories inside `checkpoints`, the latest first; empty where there is no such
/// directory.
std::vector<StepCheckpoint> list_step_checkpoints(const std::filesystem::path& checkpoints);

/// The latest whole one. Damaged ones are named as warnings and passed over.
std::optional<Checkpoint> latest_step_checkpoint(const std::filesystem::path& checkpoints,
                                                 const Log& log);

/// Removes all but the latest `keep`.
void remove_old_step_checkpoints(const std::filesystem::path& checkpoints, std::size_t keep);

}  // namespace gsplit
