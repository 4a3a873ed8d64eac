// A mini-batch in reach of whoever reads it: the device that computes on it, or the host.
#pragma once

#include <optional>

#include "sampler/block.h"

namespace gsplit {

class DeviceBatch {
 public:
  /// Copies the arrays of `batch`, which the host has, into `memory`, or refers to them where the
  /// host's memory is the device's. `batch` must outlive this object.
  DeviceBatch(const MiniBatch& batch, Memory& memory, Stream& stream);

  const MiniBatch& get() const { return copy_ ? *copy_ : batch_; }

 private:
  const MiniBatch& batch_;
  std::optional<MiniBatch> copy_;
};

/// A copy in `home`; `device` carries it there. Complete once the stream has passed.
SampledLayer copy_layer(const SampledLayer& layer, Memory& home, Memory& device, Stream& stream);

/// A batch of `device` memory for the host, in `pinned`; complete on return.
MiniBatch to_host(const MiniBatch& batch, Memory& device, Memory& pinned, Stream& stream);

}  // namespace gsplit
