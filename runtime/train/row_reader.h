// Where the feature rows of nodes come from, as they are stored.
#pragma once

#include <span>

#include "kernels/base/ids.h"
#include "kernels/matrix.h"

namespace gsplit {

class RowReader {
 public:
  virtual ~RowReader() = default;
  /// Writes the rows of `nodes`, in their order, into `rows` (nodes, width) in host memory.
  virtual void read(std::span<const LocalId> nodes, MatrixView rows) = 0;
};

}  // namespace gsplit
