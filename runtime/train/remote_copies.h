// --mode split --cache replicate: copies of the hottest input rows that other workers own, with
// what else the input layer asks of them.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "graph/shard.h"
#include "runtime/nn/context.h"
#include "runtime/train/row_reader.h"
#include "sampler/copies.h"

namespace gsplit {

class RemoteCopies {
 public:
  /// Fetches the rows of `wanted`, ascending, from their owners. `bounds`: (workers + 1).
  /// References must outlive it. Collective.
  RemoteCopies(std::span<const GlobalId> wanted, const std::vector<std::uint64_t>& bounds,
               const Shard& shard, Context& context);

  const CopiedNodes& nodes() const { return nodes_; }
  /// Features as stored.
  ConstMatrixView rows() const { return rows_.view(); }
  std::size_t bytes() const { return rows_.bytes(); }
  /// Of an own node or a copy, as MiniBatch::nodes names them.
  OriginalId original_id(LocalId name) const;
  /// The copied nodes' elements of their owners' arrays. `own`: (own nodes). Collective.
  std::vector<double> fetch(std::span<const double> own) const;

 private:
  /// Sends from the owners `bytes` for each copied node, which `of` finds by LocalId.
  void fetch(const std::function<const void*(LocalId)>& of, std::size_t bytes, void* copies) const;

  const Shard& shard_;
  Communicator& communicator_;
  CopiedNodes nodes_;
  Matrix rows_;
  std::vector<OriginalId> original_ids_;
};

/// Reads own nodes from the shard and, behind them, copies.
class CopiedRowReader final : public RowReader {
 public:
  /// References must outlive it.
  CopiedRowReader(const RemoteCopies& copies, std::size_t own_nodes, RowReader& own,
                  Context& context)
      : copies_(copies), own_nodes_(own_nodes), own_(own), context_(context) {}
  /// `nodes`: as MiniBatch::nodes.
  void read(std::span<const LocalId> nodes, MatrixView rows) override;

 private:
  const RemoteCopies& copies_;
  std::size_t own_nodes_;
  RowReader& own_;
  Context& context_;
};

}  // namespace gsplit
