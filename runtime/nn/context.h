// What a layer works with during one step of one worker.
#pragma once

#include <chrono>
#include <cstdint>

#include "comm/communicator.h"
#include "comm/device_communicator.h"
#include "kernels/backend.h"
#include "kernels/transfer.h"
#include "runtime/control/progress.h"
#include "runtime/nn/shuffle_counters.h"

namespace gsplit {

/// Adds its lifetime in seconds to `total`.
class Stopwatch {
 public:
  explicit Stopwatch(double& total) : total_(total), start_(std::chrono::steady_clock::now()) {}
  ~Stopwatch() {
    total_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double& total_;
  std::chrono::steady_clock::time_point start_;
};

/// The workers that hold the same part of the graph as this one, itself included.
struct Replicas {
  int count = 1;
  int index = 0;                          ///< of this worker among them
  DeviceCommunicator* traffic = nullptr;  ///< between them; null: there is no other
};

struct Context {
  Backend& backend;  ///< where the model computes
  Backend& host;     ///< where shards are read and samples drawn; the same one on the CPU
  Stream& stream;
  Communicator& communicator;       ///< of host memory: counts, ids, reports
  DeviceCommunicator& row_traffic;  ///< of the backend's memory: gradients
  Progress& progress;
  ShuffleCounters shuffle;
  /// The workers among whom nodes are divided, for sampling and the shuffle: all of them in split
  /// parallelism; in data parallelism each worker alone, since each has the whole graph; else this
  /// worker's group.
  Communicator& owners = communicator;
  DeviceCommunicator& owner_traffic = row_traffic;  ///< the rows that they exchange
  Replicas replicas = {};
  /// Rows and gradients between workers are rounded to bf16 on the way.
  bool bf16_wire = false;

  Memory& memory() const { return backend.memory(); }
  /// A host array for the backend's ops to read.
  template <class T>
  DeviceArray<T> to_device(const std::vector<T>& host) const {
    return {host, memory(), stream};
  }
};

/// During its lifetime what travels belongs to `layer` (from 0, the input layer), whose source rows
/// are `in_width` wide; a span of the trace, too.
class LayerScope {
 public:
  LayerScope(Context& context, const char* name, std::size_t layer, std::int64_t in_width)
      : span_(context.progress.tracer, name, static_cast<std::int32_t>(layer + 1)),
        range_(context.backend, name) {
    context.shuffle.layer = layer;
    context.shuffle.in_width = in_width;
  }

 private:
  TraceSpan span_;
  DeviceRange range_;
};

/// During its lifetime rows travel as they are.
class ExactWire {
 public:
  explicit ExactWire(Context& context) : context_(context), before_(context.bf16_wire) {
    context.bf16_wire = false;
  }
  ~ExactWire() { context_.bf16_wire = before_; }
  ExactWire(const ExactWire&) = delete;
  ExactWire& operator=(const ExactWire&) = delete;

 private:
  Context& context_;
  bool before_;
};

}  // namespace gsplit
