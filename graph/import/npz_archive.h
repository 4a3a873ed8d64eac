// NumPy's .npz: a zip of .npy members, stored or deflated, Zip64 too.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "graph/npy.h"

namespace gsplit {

/// Not thread-safe. UsageError names the archive, the member and the remedy.
class NpzArchive {
 public:
  /// Throws UsageError where the file cannot be opened or its directory is damaged.
  explicit NpzArchive(const std::filesystem::path& path);
  ~NpzArchive();

  /// `name` without the .npy that NumPy adds.
  bool has(const std::string& name) const;
  /// The first of `names` that is there.
  std::optional<std::string> first_of(std::initializer_list<const char*> names) const;
  /// Size of a member when inflated, as the archive states it. REQUIRES: has(name).
  std::uint64_t stated_bytes(const std::string& name) const;

  /// Inflates a member into `file`, through a buffer of fixed size, and maps it. Refused: a member
  /// that is not there, is encrypted, is neither stored nor deflated, fails its checksum, is longer
  /// or shorter than the archive states, or states a size that deflate cannot reach. SystemError
  /// where `file` cannot be written.
  NpyArray extract(const std::string& name, const std::filesystem::path& file) const;

 private:
  struct Handle;
  [[noreturn]] void refuse(const std::string& name, const std::string& fault,
                           const std::string& remedy = "copy or download it again") const;

  std::filesystem::path path_;
  std::unique_ptr<Handle> handle_;
};

}  // namespace gsplit
