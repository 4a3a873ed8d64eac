// A text file, perhaps compressed, as blocks of whole lines: what parsers scan without asking at
// each character whether more is to be read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "graph/import/byte_source.h"

namespace gsplit {

/// Whole lines; the last character is '\n', added where the file's last line lacks it.
struct TextBlock {
  const char* begin = nullptr;
  const char* end = nullptr;
  std::uint64_t first_line = 1;  ///< number of the line at `begin`, from 1

  /// Number of the line that `at` stands in. Costs a scan: for messages.
  std::uint64_t line_of(const char* at) const;
};

/// Not thread-safe.
class TextBlocks {
 public:
  explicit TextBlocks(const std::filesystem::path& path) : source_(path) {}

  /// False at the end. The block is valid until the next call. Throws UsageError for a line of more
  /// than 16 MiB, and as ByteSource.
  bool next(TextBlock& block);

  /// "PATH line N FAULT; REMEDY" as a UsageError.
  [[noreturn]] void refuse(std::uint64_t line, const std::string& fault,
                           const std::string& remedy) const;

  const ByteSource& source() const { return source_; }

 private:
  ByteSource source_;
  std::vector<char> buffer_;
  std::size_t whole_ = 0;  // bytes of the block given out, at the start of buffer_
  std::uint64_t lines_ = 0;
  bool ended_ = false;
};

/// What stands at `at`, cut and with unprintable characters replaced, to be quoted in a message.
std::string quoted(const char* at, const char* end);

}  // namespace gsplit
