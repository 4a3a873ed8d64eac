// The seam between gsplit and a device: a Backend hands out five small interfaces. One Backend
// belongs to one worker and is used by that worker's thread only. An op is one arguments struct and
// one function; it is queued on the stream it is given, and its arguments must stay alive until the
// stream has passed it.
#pragma once

#include <memory>
#include <string>

#include "kernels/dense.h"
#include "kernels/memory.h"
#include "kernels/optimizer.h"
#include "kernels/sampling.h"
#include "kernels/sparse.h"

namespace gsplit {

class Backend {
 public:
  virtual ~Backend() = default;
  virtual Memory& memory() = 0;
  virtual SamplingOps& sampling() = 0;
  virtual SparseOps& sparse() = 0;
  virtual DenseOps& dense() = 0;
  virtual OptimizerOps& optimizer() = 0;
  /// For logs: "cpu (2 threads)".
  virtual std::string describe() const = 0;
};

/// The host. `threads`: OpenMP threads of each op, at least 1. Must be made by the thread that will
/// use it.
std::unique_ptr<Backend> make_cpu_backend(int threads);

}  // namespace gsplit
