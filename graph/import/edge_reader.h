// The seam between formats and the edge list that is written: a reader yields edges in batches.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gsplit {

/// Edges as arrays of equal length, in the order of the input; reused from call to call.
struct EdgeBatch {
  std::vector<std::uint64_t> sources;
  std::vector<std::uint64_t> destinations;
  std::vector<float> weights;  ///< empty where the graph has none, else finite and at least 0

  std::size_t size() const { return sources.size(); }
  void clear() {
    sources.clear();
    destinations.clear();
    weights.clear();
  }
};

class EdgeReader {
 public:
  virtual ~EdgeReader() = default;
  /// Replaces the content of `batch`, by at most a few MiB; false at the end. Either all batches
  /// have weights or none. Every id is below the limit given to the reader. Throws UsageError
  /// naming file and line or position.
  virtual bool next(EdgeBatch& batch) = 0;
  /// Share of the input read so far, in [0, 1].
  virtual double progress() const = 0;
};

}  // namespace gsplit
