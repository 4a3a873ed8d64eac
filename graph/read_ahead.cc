#include "graph/read_ahead.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

namespace gsplit {

std::vector<PageRange> pages_of(std::span<const RowIndex> rows, std::uint64_t offset,
                                std::uint64_t row_bytes, std::uint64_t page_bytes) {
  std::vector<RowIndex> sorted(rows.begin(), rows.end());
  std::sort(sorted.begin(), sorted.end());
  std::vector<PageRange> ranges;
  for (const RowIndex row : sorted) {
    const std::uint64_t begin = (offset + row * row_bytes) / page_bytes;
    const std::uint64_t end = (offset + (row + std::uint64_t{1}) * row_bytes - 1) / page_bytes + 1;
    if (!ranges.empty() && begin <= ranges.back().end) {
      ranges.back().end = std::max(ranges.back().end, end);
    } else {
      ranges.push_back({begin, end});
    }
  }
  return ranges;
}

ReadAhead::ReadAhead(ConstMatrixView matrix)
    : row_bytes_(static_cast<std::uint64_t>(matrix.stride) * size_of(matrix.dtype)),
      page_bytes_(static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))) {
  const auto address = reinterpret_cast<std::uintptr_t>(matrix.data);
  offset_ = address % page_bytes_;
  pages_ = reinterpret_cast<std::byte*>(address - offset_);
  bytes_ = offset_ + static_cast<std::uint64_t>(matrix.rows) * row_bytes_;
  // Advice only: where it is refused, rows come by page faults as before.
  if (bytes_ > offset_) ::madvise(pages_, bytes_, MADV_RANDOM);
}

ReadAhead::~ReadAhead() {
  if (bytes_ > offset_) ::madvise(pages_, bytes_, MADV_NORMAL);
}

void ReadAhead::request(std::span<const RowIndex> rows) const {
  for (const PageRange& range : pages_of(rows, offset_, row_bytes_, page_bytes_)) {
    const std::uint64_t begin = range.begin * page_bytes_;
    ::madvise(pages_ + begin, std::min(range.end * page_bytes_, bytes_) - begin, MADV_WILLNEED);
  }
}

}  // namespace gsplit
