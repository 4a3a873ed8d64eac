// A directory that appears under its final name only when it is whole and on the disk.
#pragma once

#include <filesystem>

namespace gsplit {

/// Makes a directory beside the target, under a name that begins with a dot; commit() flushes and
/// renames it, and what was not committed is removed. One owner; not thread-safe, but several
/// threads and processes may stage one target: one of them commits.
class StagedDirectory {
 public:
  /// Creates missing parents. Throws UsageError where `target` exists, SystemError where nothing
  /// can be made beside it.
  explicit StagedDirectory(const std::filesystem::path& target);
  StagedDirectory(const StagedDirectory&) = delete;
  StagedDirectory& operator=(const StagedDirectory&) = delete;
  ~StagedDirectory();

  /// Where to write.
  const std::filesystem::path& path() const { return staging_; }
  /// Throws SystemError where the target has appeared meanwhile.
  void commit();

  /// Removes what killed processes left of `target`. REQUIRES: nobody is staging it.
  static void remove_leftovers(const std::filesystem::path& target);

 private:
  std::filesystem::path target_;
  std::filesystem::path staging_;  // empty once committed
};

}  // namespace gsplit
