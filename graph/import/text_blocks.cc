#include "graph/import/text_blocks.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

constexpr std::size_t kLongestLine = std::size_t{1} << 24;
constexpr std::size_t kQuoted = 24;

}  // namespace

std::uint64_t TextBlock::line_of(const char* at) const {
  return first_line + static_cast<std::uint64_t>(std::count(begin, at, '\n'));
}

bool TextBlocks::next(TextBlock& block) {
  lines_ += static_cast<std::uint64_t>(
      std::count(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(whole_), '\n'));
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(whole_));
  whole_ = 0;
  while (whole_ == 0 && !ended_) {
    const std::span<const char> more = source_.next();
    ended_ = more.empty();
    if (ended_ && !buffer_.empty()) buffer_.push_back('\n');
    buffer_.insert(buffer_.end(), more.begin(), more.end());
    const void* last = buffer_.empty() ? nullptr : ::memrchr(buffer_.data(), '\n', buffer_.size());
    if (last != nullptr) {
      whole_ = static_cast<std::size_t>(static_cast<const char*>(last) - buffer_.data()) + 1;
    } else if (buffer_.size() > kLongestLine) {
      refuse(lines_ + 1, "is longer than 16 MiB", "give a text file of lines");
    }
  }
  block = {buffer_.data(), buffer_.data() + whole_, lines_ + 1};
  return whole_ > 0;
}

void TextBlocks::refuse(std::uint64_t line, const std::string& fault,
                        const std::string& remedy) const {
  throw UsageError(source_.path().string() + " line " + std::to_string(line) + " " + fault, remedy);
}

std::string quoted(const char* at, const char* end) {
  const char* stop =
      std::find_if(at, std::min(end, at + kQuoted), [](char c) { return c == '\n' || c == '\r'; });
  std::string text(at, stop);
  std::replace_if(
      text.begin(), text.end(),
      [](char c) {
        return static_cast<unsigned char>(c) < 0x20 || static_cast<signed char>(c) < 0;
      },
      '?');
  return "'" + text + "'";
}

}  // namespace gsplit
