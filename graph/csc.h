// The whole graph by destination (compressed sparse columns): what partitioning reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>

#include "graph/dataset.h"
#include "graph/npy.h"

namespace gsplit {

/// In-neighbours of every node in original ids: those of v are indices[indptr[v] .. indptr[v + 1]),
/// ascending; parallel edges stay, in the order of the edge list. Does not own.
struct CscView {
  std::span<const std::int64_t> indptr;      ///< (num_nodes + 1)
  std::span<const std::uint32_t> indices32;  ///< (num_edges), where num_nodes < 2^32
  std::span<const std::uint64_t> indices64;  ///< (num_edges), otherwise; the other one is empty
  std::span<const float> weights = {};       ///< (num_edges), or empty: an unweighted graph

  std::uint64_t num_nodes() const { return indptr.size() - 1; }
  std::uint64_t num_edges() const { return static_cast<std::uint64_t>(indptr.back()); }
  std::uint64_t neighbor(std::int64_t edge) const {
    const auto i = static_cast<std::size_t>(edge);
    return indices64.empty() ? indices32[i] : indices64[i];
  }
};

/// A CSC in mapped files, indptr.npy and indices.npy, and weights.npy where the graph has weights.
class Csc {
 public:
  static Csc open(const std::filesystem::path& directory);
  CscView view() const;

 private:
  NpyArray indptr_;
  NpyArray indices_;
  std::optional<NpyArray> weights_;
};

struct CscOptions {
  int threads = 1;
  /// Rows are placed in memory in ranges of this size; the edge list is read once for each.
  std::size_t range_bytes = std::size_t{1} << 31;
};

/// Builds the CSC of `dataset` into `directory` (existing) by counting, placing and sorting within
/// rows. Memory beside the mapped files: 16 bytes a node and a range; an edge takes 4 or 8 bytes of
/// it, 8 where there are weights, and the rows of a node are never cut. The same files for any
/// options. Checks the edges as it goes (UsageError as validate_arrays).
void build_csc(const Dataset& dataset, const std::filesystem::path& directory,
               const CscOptions& options);

}  // namespace gsplit
