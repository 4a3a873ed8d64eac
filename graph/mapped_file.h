// A file mapped into memory, read-only or being written. Movable RAII owner of the mapping.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace gsplit {

class MappedFile {
 public:
  MappedFile() = default;
  /// Maps an existing regular file read-only. Throws UsageError naming the file, SystemError where
  /// it cannot be mapped.
  static MappedFile open(const std::filesystem::path& path);
  /// Creates or truncates `path` with `bytes` bytes, mapped read-write; space is reserved first, so
  /// that a full disk is an error here and not a SIGBUS later. Throws SystemError.
  static MappedFile create(const std::filesystem::path& path, std::size_t bytes);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// REQUIRES: made by create().
  std::span<std::byte> writable_bytes() { return {data_, size_}; }
  /// Flushes a written mapping to the disk. Throws SystemError.
  void sync();

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace gsplit
