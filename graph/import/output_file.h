// A file that is written from its beginning to its end and whose size is not known before; what has
// been written can be read back, so that it also serves as scratch space.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace gsplit {

/// Owns the descriptor. Every failure of the system (a full disk, a file system that has become
/// read-only) is a SystemError that names the file. One owner, not thread-safe.
class OutputFile {
 public:
  /// Creates or truncates.
  explicit OutputFile(const std::filesystem::path& path);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  /// Buffered: call flush() before reading back or closing.
  void append(std::span<const std::byte> bytes);
  template <class T>
  void append(std::span<const T> values) {
    append(std::as_bytes(values));
  }
  void flush();
  /// Fills `out` from `offset`. REQUIRES: flushed, and offset + out.size() <= size().
  void read(std::uint64_t offset, std::span<std::byte> out) const;
  /// Replaces the first bytes of the file. REQUIRES: flushed.
  void overwrite_start(std::span<const std::byte> bytes);
  /// All of `other`, which is flushed, at the end of this file.
  void append_file(const OutputFile& other);

  std::uint64_t size() const { return written_ + pending_.size(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);

  std::filesystem::path path_;
  int fd_ = -1;
  std::uint64_t written_ = 0;
  std::vector<std::byte> pending_;
};

/// Bytes that an unprivileged process may still write where `directory` lies. Throws SystemError.
std::uint64_t free_disk_bytes(const std::filesystem::path& directory);

}  // namespace gsplit
