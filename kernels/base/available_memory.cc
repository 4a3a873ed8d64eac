#include "kernels/base/available_memory.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace gsplit {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kUnknown = std::numeric_limits<std::uint64_t>::max();

/// The number after `key` at the start of a line; of the first word for an empty key.
std::optional<std::uint64_t> number_in(const fs::path& file, const std::string& key) {
  std::ifstream in(file);
  std::string word, value;
  while (in >> word) {
    if (key.empty()) {
      value = word;
    } else if (word != key || !(in >> value)) {
      continue;
    }
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error == std::errc() && end == value.data() + value.size()) return number;
    return std::nullopt;  // "max": no limit
  }
  return std::nullopt;
}

/// What one control group leaves. Its page cache can be taken back, so only memory in use counts.
std::uint64_t left_of_limit(const fs::path& limit, const fs::path& stat, const std::string& used) {
  const std::optional<std::uint64_t> most = number_in(limit, "");
  if (!most) return kUnknown;
  return *most - std::min(*most, number_in(stat, used).value_or(0));
}

/// Where the process stands in a hierarchy of control groups, "/" where that is not known.
/// /proc/self/cgroup has lines NUMBER:CONTROLLERS:PATH, without controllers for v2.
fs::path own_group(const fs::path& root, const std::string& controllers) {
  std::ifstream in(root / "proc" / "self" / "cgroup");
  const std::string key = ":" + controllers + ":";
  for (std::string line; std::getline(in, line);) {
    const std::size_t colon = line.find(':');
    if (colon != std::string::npos && line.compare(colon, key.size(), key) == 0) {
      return line.substr(colon + key.size());
    }
  }
  return "/";
}

/// The least that the process's own group and those around it leave. In a container the path may be
/// that of the host, while its own group is mounted as the root: what is not there is passed over.
template <class Left>
std::uint64_t least_upward(const fs::path& mount, const fs::path& group, Left left) {
  std::uint64_t least = left(mount);
  fs::path at = mount;
  for (const fs::path& name : group.relative_path()) {
    at /= name;
    least = std::min(least, left(at));
  }
  return least;
}

}  // namespace

std::uint64_t available_memory(const fs::path& root) {
  const std::optional<std::uint64_t> system = number_in(root / "proc" / "meminfo", "MemAvailable:");
  const fs::path groups = root / "sys" / "fs" / "cgroup";
  const auto version2 = [](const fs::path& group) {
    return left_of_limit(group / "memory.max", group / "memory.stat", "anon");
  };
  const auto version1 = [](const fs::path& group) {
    return left_of_limit(group / "memory.limit_in_bytes", group / "memory.stat", "total_rss");
  };
  return std::min({system ? *system * 1024 : kUnknown,
                   least_upward(groups, own_group(root, ""), version2),
                   least_upward(groups / "memory", own_group(root, "memory"), version1)});
}

}  // namespace gsplit
