// edges.npy and edge_weight.npy while they grow.
#pragma once

#include <filesystem>
#include <memory>

#include "graph/import/edge_reader.h"
#include "graph/import/npy_stream.h"

namespace gsplit {

/// Writes the sources where they stay and the destinations aside, and joins them in the end: an
/// edge costs 8 bytes of disk, 4 of them twice, until an id of 2^31 or more comes and all become
/// int64. One owner, not thread-safe; SystemError as OutputFile.
class EdgeColumns {
 public:
  /// `scratch`: an existing directory on the same file system, for files that are removed again.
  EdgeColumns(const std::filesystem::path& directory, const std::filesystem::path& scratch);

  /// REQUIRES: ids below 2^63; every batch has weights, or none.
  void append(const EdgeBatch& batch);
  /// Writes the headers. edges.npy: (2, edges) i4, or i8; edge_weight.npy: (edges) f4, where there
  /// are weights.
  void finish();

  std::uint64_t num_edges() const { return num_edges_; }
  bool weighted() const { return weights_ != nullptr; }

 private:
  template <class Id>
  void append_as(const EdgeBatch& batch);
  void widen();

  std::filesystem::path directory_;
  std::filesystem::path scratch_;
  bool wide_ = false;
  std::uint64_t num_edges_ = 0;
  std::unique_ptr<NpyStream> sources_;
  std::unique_ptr<OutputFile> destinations_;
  std::unique_ptr<NpyStream> weights_;
};

}  // namespace gsplit
