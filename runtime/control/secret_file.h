// Files that nobody but their owner may read.
#pragma once

#include <filesystem>
#include <string>

namespace gsplit {

/// The file's content. `what`: the file in words, for the error: "--token-file FILE". Throws
/// UsageError where it cannot be read, is no plain file or longer than 64 KiB, or where others than
/// its owner could read or change it.
std::string read_secret_file(const std::filesystem::path& path, const std::string& what);

/// Makes a file that did not exist, readable by its owner alone from its first moment on. Returns
/// its open descriptor, or -1 with errno.
int make_secret_file(const std::filesystem::path& path, const std::string& content);

}  // namespace gsplit
