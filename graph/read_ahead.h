// Rows of a mapped matrix that does not fit the memory: asked for together before they are read, so
// that the disk serves many requests at once instead of one page fault after the other.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/matrix.h"
#include "kernels/sampling.h"

namespace gsplit {

/// Pages are counted from that of the matrix's first byte.
struct PageRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool operator==(const PageRange&) const = default;
};

/// The pages that hold the rows, as ascending ranges that neither meet nor overlap. `offset`: of
/// the first row in its page; `row_bytes` above 0.
std::vector<PageRange> pages_of(std::span<const RowIndex> rows, std::uint64_t offset,
                                std::uint64_t row_bytes, std::uint64_t page_bytes);

class ReadAhead {
 public:
  /// Tells the system that rows are read in no order, so that it does not read around each of them.
  /// `matrix` is part of a read-only mapping that outlives this; one owner at a time.
  explicit ReadAhead(ConstMatrixView matrix);
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  /// Starts to read what is not in memory of these rows, and does not wait for it.
  void request(std::span<const RowIndex> rows) const;

 private:
  std::byte* pages_ = nullptr;  // where the page of the first byte begins
  std::uint64_t offset_ = 0;
  std::uint64_t bytes_ = 0;  // from pages_ on
  std::uint64_t row_bytes_ = 0;
  std::uint64_t page_bytes_ = 0;
};

}  // namespace gsplit
