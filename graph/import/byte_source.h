// The bytes of a file, decompressed, read ahead by a thread of their own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace gsplit {

/// gzip (also of several members, as `cat a.gz b.gz` makes them), zstd (windows of at most 128 MiB,
/// the format's default limit) or plain, told apart by the first bytes and not by the name. Needs 4
/// MiB and what the decompressor needs, whatever the file says about itself. One reader; not
/// thread-safe.
class ByteSource {
 public:
  /// Throws UsageError where there is no such regular file that can be read.
  explicit ByteSource(const std::filesystem::path& path);
  ~ByteSource();

  /// The next bytes, empty at the end; valid until the next call. Throws UsageError where the file
  /// is truncated or damaged, naming the offset in the compressed file; SystemError where the disk
  /// fails.
  std::span<const char> next();

  const std::filesystem::path& path() const { return path_; }
  double progress() const;  ///< share of the file, as stored, that has been read

 private:
  class Reader;
  std::filesystem::path path_;
  std::unique_ptr<Reader> reader_;
};

}  // namespace gsplit
