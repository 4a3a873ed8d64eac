// Where trained weights lie: what --init-from, `gsplit evaluate` and `gsplit infer` take.
#pragma once

#include <filesystem>

namespace gsplit {

/// Directory of the checkpoint that `path` means: itself, or the best one of a run directory, or
/// its last. Throws UsageError where there is none.
std::filesystem::path checkpoint_of(const std::filesystem::path& path);

/// The safetensors file that `path` means: itself, or that of checkpoint_of(path).
std::filesystem::path weights_file_of(const std::filesystem::path& path);

}  // namespace gsplit
