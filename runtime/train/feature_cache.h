// --mode data with a cache of the hottest feature rows: the same ones in the memory of every worker
// (--cache replicate; PaGraph, SoCC'20), or each at one of the workers, from which the others fetch
// it (--cache partition; Quiver, arXiv 2305.10863). Other rows are read from the shard.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "graph/shard.h"
#include "runtime/nn/context.h"
#include "runtime/train/hot_rows.h"
#include "runtime/train/row_reader.h"

namespace gsplit {

/// Rows read, by where they were.
struct RowsRead {
  std::uint64_t cache = 0;
  std::uint64_t remote = 0;
  std::uint64_t disk = 0;
  std::uint64_t id_bytes = 0;  ///< sent to ask for the remote ones
};

enum class CachePlacement : std::uint8_t { kEveryWorker, kOneWorker };

class FeatureCache final : public RowReader {
 public:
  /// Keeps the rows of `hot`, ascending, of a shard that is the whole graph: of kOneWorker row i is
  /// at worker i % workers. `shard_rows` reads the others. References must outlive it.
  FeatureCache(std::span<const GlobalId> hot, CachePlacement placement, const Shard& shard,
               RowReader& shard_rows, Context& context);

  /// With kOneWorker collective. Rows from other workers count in Context::shuffle; with
  /// Context::bf16_wire they are rounded to bf16 on their way.
  void read(std::span<const LocalId> nodes, MatrixView rows) override;
  /// Of the last read().
  const RowsRead& counts() const { return counts_; }
  std::size_t bytes() const { return kept_.bytes(); }

 private:
  struct Sources;
  struct Fetched;

  bool is_spread() const { return workers_ > 1; }
  Sources find(std::span<const LocalId> nodes) const;
  /// Rows kept by others, as they travel, grouped by worker.
  Matrix fetch(const Sources& sources);
  /// What travels in answer to `asked`, rows of kept_.
  Matrix answer(std::span<const RowIndex> asked) const;
  DType wire_type() const;

  RowReader& shard_rows_;
  Context& context_;
  NodeRanks ranks_;
  std::size_t workers_;  // among which kept rows are spread
  std::size_t self_;     // among them
  Matrix kept_;          // (rows, F), as stored
  RowsRead counts_;
};

}  // namespace gsplit
