// RUN_DIR/trace.json: the spans of all ranks in Chrome's trace format, which Perfetto and
// chrome://tracing open. Rank r is process 1000 (r + 1) there, and its thread t thread 1000 (r + 1)
// + t. Lives on rank 0.
//
// Format: "Trace Event Format", Google, section "JSON Object Format".
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "kernels/base/trace.h"

namespace gsplit {

class TraceFile {
 public:
  /// `hosts`: by rank. `clock_error_ns`: of what is known of the ranks' clocks, at most.
  TraceFile(std::filesystem::path file, const std::vector<std::string>& hosts,
            std::int64_t clock_error_ns = 0);
  /// Writes what has not been written, as far as that is possible: a run may end by a failure.
  ~TraceFile();
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;

  /// `origin_ns`: of the rank's clock, where all ranks' times begin.
  void add(int rank, std::int64_t origin_ns, std::span<const TraceRecord> records);
  /// After the spans of a step: writes the file where it has grown to twice its size, so that the
  /// cost of all writing stays in proportion to what is written.
  void end_step();
  /// Writes it. Throws SystemError.
  void write();
  std::uint64_t num_left_out() const { return left_out_; }

 private:
  /// Of the process, or of a thread of it.
  void add_fact(const char* what, int rank, std::uint32_t thread, const char* key,
                const std::string& json);

  std::filesystem::path file_;
  std::int64_t clock_error_ns_;
  std::string events_;  // one JSON object a line, with commas between them
  std::set<std::pair<int, std::uint32_t>> named_threads_;
  std::size_t written_ = 0;  // bytes of events_ that the file has
  std::uint64_t spans_ = 0;
  std::uint64_t left_out_ = 0;
};

}  // namespace gsplit
