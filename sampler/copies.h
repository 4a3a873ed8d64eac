// Copies of rows: a worker may keep input rows of nodes that others own. Edges from such nodes then
// read the copy, in the input layer, and the owner is not asked for the row.
//
// Copies stand behind the own rows of the block, as if they were own ones. So all that is done to
// own rows before rows travel is done to copies too, and what travels are the other rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "kernels/base/ids.h"
#include "kernels/memory.h"
#include "sampler/block.h"

namespace gsplit {

/// Which nodes a worker has copies of, and of which own nodes the others have some.
struct CopiedNodes {
  std::vector<std::size_t> counts;       ///< (workers) of `nodes`, by owner; own entry 0
  std::vector<LocalId> nodes;            ///< of their owners, ascending: copy i is of nodes[i]
  std::vector<std::size_t> lent_counts;  ///< (workers) of `lent`, by worker; own entry 0
  std::vector<LocalId> lent;             ///< own nodes, in each worker's order of copies

  /// Tells the owners which nodes are copied. Collective.
  static CopiedNodes agree(std::vector<std::size_t> counts, std::vector<LocalId> nodes,
                           Communicator& communicator);
};

/// How the remote sources of one block are served.
struct CopyUse {
  std::vector<std::uint32_t> copies;  ///< which serve, ascending
  std::vector<RowIndex> rank;         ///< (remote sources) among the copies that serve or the rest
  std::vector<std::uint8_t> copied;   ///< (remote sources) 1 where a copy serves

  /// Columns from `num_owned` on, so far num_owned + position among the remote sources, become rows
  /// of [owned | copies | received].
  void renumber(RowIndex num_owned, std::span<RowIndex> columns) const;
};

/// Takes the nodes with copies out of `remote`, sources of a block by owner and ascending, and out
/// of their `counts`. `memory` is of the host.
CopyUse use_copies(const CopiedNodes& kept, std::vector<std::size_t>& counts,
                   Buffer<LocalId>& remote, Memory& memory);

/// Own nodes whose copies other workers use in this step, each once a worker. Adds what it sends to
/// `sent_bytes`. Collective.
std::vector<LocalId> nodes_read_from_copies(const CopiedNodes& kept, const CopyUse& use,
                                            Communicator& communicator, std::uint64_t& sent_bytes);

}  // namespace gsplit
