// From batches of edges to the edge files of a dataset: reverses, self-loops, duplicates.
#pragma once

#include <memory>
#include <optional>

#include "graph/import/edge_columns.h"
#include "graph/import/edge_steps.h"
#include "graph/import/external_sort.h"

namespace gsplit {

struct EdgeTotals {
  std::uint64_t read = 0;
  std::uint64_t written = 0;
  std::uint64_t dropped_self_loops = 0;
  std::uint64_t dropped_duplicates = 0;
  std::uint64_t spilled_bytes = 0;
  bool weighted = false;
};

/// One owner, not thread-safe. SystemError where the disk fails.
class EdgeWriter {
 public:
  EdgeWriter(const std::filesystem::path& directory, const std::filesystem::path& scratch,
             const EdgeSteps& steps, const SortLimits& limits);
  ~EdgeWriter();

  void add(const EdgeBatch& batch);
  /// One more than the largest id so far; 0 where there is no edge.
  std::uint64_t id_bound() const { return id_bound_; }
  const EdgeTotals& totals() const { return totals_; }
  /// Writes edges.npy, and edge_weight.npy where there are weights. REQUIRES: `num_nodes` is at
  /// least id_bound().
  EdgeTotals finish(std::uint64_t num_nodes);

 private:
  class Sink;
  template <class Record>
  class SortingSink;
  class StreamingSink;

  void transform(const EdgeBatch& batch, EdgeBatch& out);
  void pass_on(const EdgeBatch& batch);
  void add_self_loops(std::uint64_t num_nodes);

  EdgeSteps steps_;
  SortLimits limits_;
  std::filesystem::path scratch_;
  EdgeColumns columns_;
  std::unique_ptr<Sink> sink_;  // made for the first batch, which shows whether there are weights
  EdgeBatch transformed_;
  EdgeTotals totals_;
  std::uint64_t id_bound_ = 0;
};

}  // namespace gsplit
