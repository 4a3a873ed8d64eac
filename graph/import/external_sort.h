// Sorts more records than fit in memory: sorted runs in memory, spilled to a file when the memory
// given is full, merged in the end (D. Knuth, The Art of Computer Programming 3, section 5.4.1).
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <type_traits>
#include <vector>

#include "graph/import/output_file.h"
#include "graph/import/radix_sort.h"
#include "kernels/base/error.h"

namespace gsplit {

struct SortLimits {
  std::uint64_t memory = 0;  ///< bytes for records, beside a fixed few MiB
  int threads = 1;
};

/// Record: trivially copyable, with operator< and the keys of radix_sort.h, which must agree. Equal
/// records come out in the order they went in, so
/// that neither memory nor threads change the result. One owner, not thread-safe.
template <class Record>
class ExternalSorter {
  static_assert(std::is_trivially_copyable_v<Record>);

 public:
  /// The file is created when it is needed, and removed with the sorter. Memory for fewer than 1024
  /// records is raised to that.
  ExternalSorter(std::filesystem::path spill, const SortLimits& limits)
      : spill_path_(std::move(spill)), limits_(limits) {
    // The sort takes as much again.
    capacity_ = std::max<std::uint64_t>(1024, limits.memory / (2 * sizeof(Record)));
  }
  ExternalSorter(const ExternalSorter&) = delete;
  ExternalSorter& operator=(const ExternalSorter&) = delete;
  ~ExternalSorter() {
    std::error_code ignored;
    if (file_) std::filesystem::remove(spill_path_, ignored);
  }

  void add(const Record& record) {
    if (records_.size() == capacity_) spill();
    if (records_.capacity() == records_.size()) grow();
    records_.push_back(record);
  }

  /// Calls emit(record) in ascending order and ends the sorter. Throws SystemError as OutputFile.
  template <class Emit>
  void drain(Emit&& emit) {
    if (file_) spill();  // so that the memory is free for the merge
    const std::vector<Bounds> bounds = file_ ? runs_ : sort_chunks();
    if (file_) records_ = {};
    std::vector<Run> runs;
    for (const Bounds& run : bounds) {
      if (run.begin < run.end) runs.push_back({run, {}, 0});
    }
    merge(runs, emit);
  }

  std::uint64_t spilled_bytes() const { return file_ ? file_->size() : 0; }

 private:
  struct Bounds {
    std::uint64_t begin, end;  // records, in the file or in records_
  };
  struct Run {
    Bounds rest;
    std::vector<Record> buffer;  // of a run in the file
    std::size_t at;
  };
  struct Head {
    Record record;
    std::size_t run;
    /// Among equals the run that was filled first comes first.
    bool comes_before(const Head& other) const {
      if (record < other.record) return true;
      if (other.record < record) return false;
      return run < other.run;
    }
  };

  /// Doubles, but never beyond the capacity, as a vector on its own might.
  void grow() {
    records_.reserve(
        std::min<std::uint64_t>(capacity_, std::max<std::uint64_t>(1024, 2 * records_.size())));
  }

  std::vector<Bounds> sort_chunks() {
    const auto chunks = static_cast<std::uint64_t>(limits_.threads);
    const std::uint64_t size = records_.size();
    std::vector<Bounds> bounds(chunks);
    std::vector<Record> scratch(size);
#pragma omp parallel for num_threads(limits_.threads) schedule(static)
    for (std::uint64_t c = 0; c < chunks; ++c) {
      bounds[c] = {size / chunks * c + std::min(c, size % chunks),
                   size / chunks * (c + 1) + std::min(c + 1, size % chunks)};
      const std::uint64_t count = bounds[c].end - bounds[c].begin;
      radix_sort(std::span(records_).subspan(bounds[c].begin, count),
                 std::span(scratch).subspan(bounds[c].begin, count));
    }
    return bounds;
  }

  void spill() {
    if (!file_) file_.emplace(spill_path_);
    const std::uint64_t before = file_->size() / sizeof(Record);
    for (const Bounds& run : sort_chunks()) {
      runs_.push_back({before + run.begin, before + run.end});
    }
    file_->append(std::span<const Record>(records_));
    file_->flush();
    records_.clear();
  }

  /// The next record of a run; false at its end.
  bool pop(Run& run, std::size_t buffer_records, Record& record) {
    if (!file_) {
      if (run.rest.begin == run.rest.end) return false;
      record = records_[run.rest.begin++];
      return true;
    }
    if (run.at == run.buffer.size()) {
      run.buffer.resize(std::min<std::uint64_t>(buffer_records, run.rest.end - run.rest.begin));
      run.at = 0;
      if (run.buffer.empty()) return false;
      file_->read(run.rest.begin * sizeof(Record), std::as_writable_bytes(std::span(run.buffer)));
      run.rest.begin += run.buffer.size();
    }
    record = run.buffer[run.at++];
    return true;
  }

  template <class Emit>
  void merge(std::vector<Run>& runs, Emit& emit) {
    const std::uint64_t share =
        capacity_ / std::max<std::size_t>(1, runs.size());  // of the records that fit
    const std::size_t buffer_records = std::clamp<std::uint64_t>(share, 64, std::size_t{1} << 16);
    std::vector<Head> heap;
    for (std::size_t r = 0; r < runs.size(); ++r) {
      Head head{{}, r};
      if (pop(runs[r], buffer_records, head.record)) heap.push_back(head);
    }
    // Runs of a file may be many: a binary heap with the next record at its front.
    for (std::size_t i = heap.size(); i-- > 0;) sift_down(heap, i);
    while (!heap.empty()) {
      emit(heap.front().record);
      if (!pop(runs[heap.front().run], buffer_records, heap.front().record)) {
        heap.front() = heap.back();
        heap.pop_back();
      }
      sift_down(heap, 0);
    }
  }

  static void sift_down(std::vector<Head>& heap, std::size_t at) {
    for (std::size_t child = 2 * at + 1; child < heap.size(); child = 2 * at + 1) {
      if (child + 1 < heap.size() && heap[child + 1].comes_before(heap[child])) ++child;
      if (heap[at].comes_before(heap[child])) return;
      std::swap(heap[at], heap[child]);
      at = child;
    }
  }

  std::filesystem::path spill_path_;
  SortLimits limits_;
  std::uint64_t capacity_;
  std::vector<Record> records_;
  std::optional<OutputFile> file_;
  std::vector<Bounds> runs_;  // in the file
};

}  // namespace gsplit
