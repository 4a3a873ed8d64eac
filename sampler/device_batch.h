// A mini-batch in reach of the device that computes on it. Sampling happens where its backend is,
// at present always on the host; training reads blocks and plans on the device.
#pragma once

#include <optional>

#include "sampler/block.h"

namespace gsplit {

class DeviceBatch {
 public:
  /// Copies the arrays of `batch` into `memory`, or refers to them where the host's memory is the
  /// device's. `batch` must outlive this object.
  DeviceBatch(const MiniBatch& batch, Memory& memory, Stream& stream);

  const MiniBatch& get() const { return copy_ ? *copy_ : batch_; }

 private:
  const MiniBatch& batch_;
  std::optional<MiniBatch> copy_;
};

}  // namespace gsplit
