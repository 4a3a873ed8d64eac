// The seam between gsplit and a device: a Backend hands out five small interfaces. One Backend
// belongs to one worker and is used by one thread at a time. An op is one arguments struct and
// one function; it is queued on the stream it is given, and its arguments must stay alive until the
// stream has passed it.
#pragma once

#include <memory>
#include <string>

#include "kernels/dense.h"
#include "kernels/layer.h"
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
  virtual void aggregate_linear(const AggregateLinearArgs& args, Stream& stream);
  virtual void layer_gradients(const LayerGradientsArgs& args, Stream& stream);
  /// Host memory that copies to and from the device without the host waiting: on a GPU page-locked,
  /// on the host memory() itself.
  virtual Memory& pinned() = 0;
  /// To be called by a thread other than the one that made the backend before it uses it.
  virtual void enter_thread() = 0;
  /// For profilers of the device: what the host queues between the two bears the name. They nest.
  virtual void begin_range(const char*) {}
  virtual void end_range() {}
  /// For logs: "cpu (2 threads)".
  virtual std::string describe() const = 0;
};

/// A range for its lifetime.
class DeviceRange {
 public:
  DeviceRange(Backend& backend, const char* name) : backend_(backend) { backend.begin_range(name); }
  ~DeviceRange() { backend_.end_range(); }
  DeviceRange(const DeviceRange&) = delete;
  DeviceRange& operator=(const DeviceRange&) = delete;

 private:
  Backend& backend_;
};

/// The host. `threads`: OpenMP threads of each op, at least 1.
std::unique_ptr<Backend> make_cpu_backend(int threads);
/// The same with its data in `memory`, host memory that must outlive the backend: what a GPU's
/// backend gives as pinned(), so that what the host has made reaches the GPU by plain copies.
std::unique_ptr<Backend> make_cpu_backend(int threads, Memory& memory);

}  // namespace gsplit
