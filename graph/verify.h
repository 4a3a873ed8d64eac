// Every invariant of what lies on the disk, beyond what opening it checks: for `gsplit inspect
// --verify`. Memory beside the mapped files is a few bits a node.
#pragma once

#include <string>
#include <vector>

#include "graph/dataset.h"
#include "graph/shard.h"

namespace gsplit {

/// What is wrong, one line each, naming the file and the first place; empty where all is well.
using Findings = std::vector<std::string>;

/// Edge ends and weights, features, disjoint splits. `threads` at least 1.
Findings verify_dataset(const Dataset& dataset, int threads);

/// The parts hold every node once and every edge; rows ascend by OriginalId; labels, splits,
/// features and weights are in range; counts and training seeds are those of the shared files. A
/// part that cannot be opened is a finding, and what needs it is left out.
Findings verify_partition(const Partition& partition, int threads);

}  // namespace gsplit
