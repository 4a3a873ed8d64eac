// A directory that appears under its final name only when it is whole and on the disk.
#pragma once

#include <filesystem>
#include <system_error>

namespace gsplit {

/// Makes a directory beside the target, under a name that begins with a dot; commit() flushes and
/// renames it, and what was not committed is removed. One owner; not thread-safe, but several
/// threads and processes may stage one target: one of them commits.
class StagedDirectory {
 public:
  enum class Existing {
    kRefuse,  ///< a target that exists is an error
    kReplace  ///< and may be replaced: at any moment the old or the new one is there, where the
              ///< file system can exchange two names (ext4, xfs, btrfs, tmpfs), else for a moment
              ///< neither
  };

  /// Creates missing parents. Throws UsageError where `target` exists and may not, SystemError
  /// where nothing can be made beside it.
  explicit StagedDirectory(const std::filesystem::path& target,
                           Existing existing = Existing::kRefuse);
  StagedDirectory(const StagedDirectory&) = delete;
  StagedDirectory& operator=(const StagedDirectory&) = delete;
  ~StagedDirectory();

  /// Where to write.
  const std::filesystem::path& path() const { return staging_; }
  /// Throws SystemError where the target has appeared meanwhile and may not be replaced.
  void commit();

  /// Removes what killed processes left of `target`. REQUIRES: nobody is staging it.
  static void remove_leftovers(const std::filesystem::path& target);

 private:
  void replace(std::error_code& error);

  std::filesystem::path target_;
  Existing existing_;
  std::filesystem::path staging_;  // empty once committed
};

}  // namespace gsplit
