// Derived data that are kept between runs: directories in the cache folder, each made once for its
// key.
//
// Safe against other threads, processes and sudden death: an entry is made under a lock of its own,
// in a staging directory that is renamed when it is complete.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "graph/staged_directory.h"
#include "kernels/base/error.h"
#include "kernels/base/log.h"

namespace gsplit {

/// Size and time of change of a file, as text for a key. Throws UsageError where it is missing.
std::string file_stamp(const std::filesystem::path& file);

/// An exclusive flock() on a file of its own (created, never removed: removing it would let two
/// holders in). Waits for other holders, telling the log so.
class FileLock {
 public:
  FileLock(const std::filesystem::path& file, const Log& log);
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

 private:
  int descriptor_;
};

/// How to read an entry and how to make it.
template <class T>
struct CacheEntry {
  /// Opens and checks; throws UsageError for damage, upon which the entry is made again.
  std::function<T(const std::filesystem::path&)> open;
  /// Fills an existing, empty directory.
  std::function<void(const std::filesystem::path&)> build;
};

/// The entry `path`, opened; made first where it is missing or damaged. A build that throws leaves
/// nothing.
template <class T>
T open_cached(const std::filesystem::path& path, const CacheEntry<T>& entry, const Log& log) {
  // An entry that is there is complete, so reading it takes no lock (and a cache folder that
  // cannot be written can be used).
  const auto open_existing = [&]() -> std::optional<T> {
    if (!std::filesystem::exists(path)) return std::nullopt;
    try {
      return entry.open(path);
    } catch (const UsageError& error) {
      log.warning(std::string("the cache entry is damaged and made again: ") + error.what());
      return std::nullopt;
    }
  };
  if (std::optional<T> existing = open_existing()) return *std::move(existing);
  const FileLock lock(path.string() + ".lock", log);
  if (std::optional<T> existing = open_existing()) return *std::move(existing);
  std::filesystem::remove_all(path);
  StagedDirectory::remove_leftovers(path);
  StagedDirectory staging(path);
  entry.build(staging.path());
  staging.commit();
  return entry.open(path);
}

}  // namespace gsplit
