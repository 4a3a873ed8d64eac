// A directory that appears under its name only when it is complete and on the disk.
#pragma once

#include <filesystem>
#include <string>

namespace gsplit {

/// Makes a sibling of `target` whose name begins with a dot; commit() flushes it and renames it.
/// Without a commit it is removed with all that is in it. Used by one thread.
class StagingDirectory {
 public:
  /// Creates missing parents. Throws UsageError where `target` exists, SystemError where nothing
  /// can be written beside it.
  explicit StagingDirectory(std::filesystem::path target);
  StagingDirectory(const StagingDirectory&) = delete;
  StagingDirectory& operator=(const StagingDirectory&) = delete;
  ~StagingDirectory();

  const std::filesystem::path& path() const { return path_; }
  /// Flushes all files and directories, then renames. Throws SystemError, or UsageError where
  /// somebody made `target` meanwhile.
  void commit();

  /// Removes what processes that were killed left behind for `target`. REQUIRES: nobody is staging
  /// it.
  static void remove_leftovers(const std::filesystem::path& target);

 private:
  std::filesystem::path target_;
  std::filesystem::path path_;  // empty once committed
};

}  // namespace gsplit
