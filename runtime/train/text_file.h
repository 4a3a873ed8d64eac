// Small text files, read and written whole.
#pragma once

#include <filesystem>
#include <string>

namespace gsplit {

/// Writes and flushes `file`. Throws SystemError naming it.
void write_text(const std::filesystem::path& file, const std::string& text);

/// Empty where the file cannot be read.
std::string read_text(const std::filesystem::path& file);

/// Flushes a file or directory to the disk; best effort where the system cannot.
void flush_to_disk(const std::filesystem::path& path) noexcept;

}  // namespace gsplit
