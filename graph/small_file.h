// Descriptions that are read whole before they are parsed.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace gsplit {

/// Enough for what people write, and for partition.json and manifest.json.
inline constexpr std::size_t kMostYamlBytes = std::size_t{1} << 20;
inline constexpr std::size_t kMostJsonBytes = std::size_t{1} << 26;

/// The content of a regular file. Throws UsageError where there is none that can be read (a pipe is
/// refused and not waited for), or where it has more than `most` bytes.
std::string read_small_file(const std::filesystem::path& file, std::size_t most);

}  // namespace gsplit
