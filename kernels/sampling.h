// Second of the five backend interfaces: drawing neighbours and building the index structures of a
// mini-batch.
//
// Everything here is integer work whose results are exactly equal on every backend and for every
// number of threads. Spans point to device memory unless said otherwise.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/base/ids.h"
#include "kernels/base/philox.h"
#include "kernels/base/sampler.h"
#include "kernels/memory.h"

namespace gsplit {

/// In-edges of the nodes of one part, by destination. Does not own. Row i holds the in-neighbours
/// of local node i as GlobalIds, in ascending OriginalId of the neighbour.
struct TopologyView {
  std::span<const std::int64_t> indptr;      ///< (nodes + 1)
  std::span<const std::uint32_t> indices32;  ///< (edges), where the graph has fewer than 2^32 nodes
  std::span<const std::uint64_t> indices64;  ///< (edges), otherwise; the other one is empty
  std::span<const OriginalId> original_ids;  ///< (nodes), ascending
  std::span<const float> edge_weights = {};  ///< (edges), or empty: unweighted

  std::size_t num_nodes() const { return original_ids.size(); }
  GlobalId neighbor(std::int64_t edge) const {
    const auto i = static_cast<std::size_t>(edge);
    return indices64.empty() ? GlobalId{indices32[i]} : GlobalId{indices64[i]};
  }
  std::int64_t degree(LocalId node) const { return indptr[value(node) + 1u] - indptr[value(node)]; }
};

/// A contiguous range of global ids [begin, end).
struct GlobalRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t size() const { return end - begin; }
  bool contains(GlobalId id) const { return value(id) >= begin && value(id) < end; }
};

/// As a fanout: every in-neighbour instead of a sample.
inline constexpr std::int32_t kFullFanout = -1;

/// What samplers read beside the topology. Does not own.
struct SamplerView {
  Sampler sampler = Sampler::kUniform;
  std::span<const OriginalId> names = {};              ///< kLabor: (all nodes), by GlobalId
  std::span<const std::uint32_t> weight_sums = {};     ///< kWeighted: (edges), within each row
  std::span<const std::uint32_t> positive_edges = {};  ///< kWeighted: (nodes)
};

/// Draws in-neighbours of each destination; kFullFanout takes all, but kWeighted those of positive
/// weight. Draw number i of a destination is word i of its Philox stream, keyed by its OriginalId.
struct SampleNeighborsArgs {
  TopologyView topology;
  std::span<const LocalId> destinations;
  std::int32_t fanout = kFullFanout;  ///< positive, or kFullFanout
  DrawKey key;
  SamplerView sampler = {};
};

struct SampledNeighbors {
  Buffer<RowIndex> indptr;  ///< (destinations + 1)
  Buffer<GlobalId>
      neighbors;          ///< (edges); within a row in ascending position of the neighbour list
  Buffer<float> weights;  ///< (edges) of the edges drawn; empty where the topology has none
};

/// Row of each local node in the matrices of the current mini-batch, for those that have one. O(1)
/// to look up; resetting costs time proportional to the nodes that were assigned.
class PositionTable {
 public:
  virtual ~PositionTable() = default;
  /// Node nodes[i] gets row first + i. REQUIRES: it has none yet.
  virtual void assign(std::span<const LocalId> nodes, RowIndex first, Stream& stream) = 0;
  /// rows[i] = row of nodes[i]. REQUIRES: each node has one; same sizes.
  virtual void look_up(std::span<const LocalId> nodes, std::span<RowIndex> rows,
                       Stream& stream) const = 0;
  virtual void reset(std::span<const LocalId> nodes, Stream& stream) = 0;
};

/// A set of ids in [0, universe): a two-level bitmap (bits, and a summary of the non-zero words),
/// so that insertion is O(1), and ordered enumeration, ranks and clearing cost time proportional to
/// the touched words. Nothing is sorted or hashed. Used in rounds: insert..., seal, read..., clear.
class IdSet {
 public:
  virtual ~IdSet() = default;
  virtual void insert(std::span<const GlobalId> ids, Stream& stream) = 0;
  /// Inserts the nodes that have no row in `present`.
  virtual void insert_absent(std::span<const LocalId> ids, const PositionTable& present,
                             Stream& stream) = 0;
  /// Ends insertion. Returns (host) how many members lie in each range; ranges are ascending and
  /// disjoint.
  virtual std::vector<std::size_t> seal(std::span<const GlobalRange> ranges, Stream& stream) = 0;
  /// Members in `range`, ascending, as LocalId = id - range.begin. REQUIRES: sealed; out has their
  /// number.
  virtual void members(GlobalRange range, std::span<LocalId> out, Stream& stream) const = 0;
  virtual void clear(Stream& stream) = 0;
};

/// One layer's draws, and which nodes they bring.
struct GrowArgs {
  SampleNeighborsArgs draws;
  IdSet& needed;   ///< over all nodes, empty
  IdSet& joining;  ///< over own nodes, empty
  const PositionTable& positions;
  std::span<const GlobalRange> owners;  ///< ascending, disjoint
  std::size_t self = 0;                 ///< who of them draws
};

struct Growth {
  SampledNeighbors drawn;
  std::vector<std::size_t> needed;  ///< distinct neighbours by owner
  /// Own neighbours without a row; unknown where other owners may bring further ones.
  std::optional<std::size_t> joined;
};

/// Columns of a Block: an own neighbour becomes its row, a remote one num_own + its rank among the
/// remote members of `needed`.
struct RelabelArgs {
  std::span<const GlobalId> neighbors;
  const IdSet* needed = nullptr;  ///< sealed; holds every neighbour
  const PositionTable* positions = nullptr;
  GlobalRange own;
  std::size_t own_members = 0;  ///< members of `needed` inside `own`
  RowIndex num_own = 0;         ///< own rows of the mini-batch
};

/// The inverse of a CSR: for each source row, the edges that read it.
struct InverseCsr {
  Buffer<RowIndex> indptr;        ///< (sources + 1)
  Buffer<RowIndex> destinations;  ///< (edges), ascending within a row
  Buffer<RowIndex> edges;         ///< (edges), position of each in the forward CSR
};

/// Of a bipartite graph the nodes [left_begin, left_end) and [right_begin, right_end), which have
/// no edges to others.
struct BipartitePart {
  RowIndex left_begin = 0;
  RowIndex left_end = 0;
  RowIndex right_begin = 0;
  RowIndex right_end = 0;
};

/// A bipartite graph as two CSRs, by left and by right node, each the inverse of the other.
/// Parallel edges are allowed.
struct CoverArgs {
  std::span<const RowIndex> left_offsets;   ///< (left nodes + 1)
  std::span<const RowIndex> rights;         ///< (edges)
  std::span<const RowIndex> right_offsets;  ///< (right nodes + 1)
  std::span<const RowIndex> lefts;          ///< (edges)
  std::span<const BipartitePart> parts;     ///< in host memory; each is covered by itself
};

/// 1 for each node of the cover, 0 for the others.
struct CoveredNodes {
  Buffer<std::uint32_t> lefts;
  Buffer<std::uint32_t> rights;
};

class SamplingOps {
 public:
  virtual ~SamplingOps() = default;
  virtual std::unique_ptr<IdSet> make_id_set(std::uint64_t universe) = 0;
  virtual std::unique_ptr<PositionTable> make_position_table(std::size_t nodes) = 0;
  virtual SampledNeighbors sample_neighbors(const SampleNeighborsArgs& args, Stream& stream) = 0;
  /// Draws, inserts the neighbours into `needed` and seals it, inserts those that are own nodes
  /// without a row into `joining`, and seals that too where there is one owner. The host waits for
  /// the device once, unless the number of edges has no bound known beforehand.
  virtual Growth grow(const GrowArgs& args, Stream& stream) = 0;
  virtual void relabel(const RelabelArgs& args, std::span<RowIndex> columns, Stream& stream) = 0;
  virtual InverseCsr invert(std::span<const RowIndex> indptr, std::span<const RowIndex> columns,
                            std::size_t num_columns, Stream& stream) = 0;
  /// Nodes such that each edge has one of them, by the rules of kernels/base/cover.h. In each part
  /// they are no more than either side's nodes with edges, nor than twice the fewest possible.
  virtual CoveredNodes cover(const CoverArgs& args, Stream& stream) = 0;
};

}  // namespace gsplit
