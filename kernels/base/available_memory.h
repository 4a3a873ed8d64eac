// How much memory this process may still take.
#pragma once

#include <cstdint>
#include <filesystem>

namespace gsplit {

/// Bytes: /proc/meminfo's MemAvailable, or what the process's control group (v2 or v1) or one
/// around it leaves of its limit where that is less. `root` is where proc/ and sys/ lie. 2^64 - 1
/// where nothing can be read.
std::uint64_t available_memory(const std::filesystem::path& root = "/");

}  // namespace gsplit
