#include "sampler/device_batch.h"

namespace gsplit {
namespace {

/// Where the copies go.
struct Target {
  Memory& memory;
  Stream& stream;

  template <class T>
  Buffer<T> copy(const Buffer<T>& from) const {
    Buffer<T> to(memory, from.size());
    memory.copy(to.data(), from.data(), from.size() * sizeof(T), stream);
    return to;
  }
};

Block copy_block(const Block& block, const Target& target) {
  return {.num_destinations = block.num_destinations,
          .num_own = block.num_own,
          .num_received = block.num_received,
          .indptr = target.copy(block.indptr),
          .columns = target.copy(block.columns),
          .weights = target.copy(block.weights),
          .inverse = {target.copy(block.inverse.indptr), target.copy(block.inverse.destinations),
                      target.copy(block.inverse.edges)}};
}

}  // namespace

DeviceBatch::DeviceBatch(const MiniBatch& batch, Memory& memory, Stream& stream) : batch_(batch) {
  if (memory.host_accessible()) return;
  const Target target{memory, stream};
  copy_.emplace();
  for (const SampledLayer& layer : batch.layers) {
    copy_->layers.push_back(
        {copy_block(layer.block, target),
         {layer.plan.send_counts, layer.plan.receive_counts, target.copy(layer.plan.send_rows)}});
  }
  copy_->nodes = target.copy(batch.nodes);
  copy_->plan_bytes = batch.plan_bytes;
}

}  // namespace gsplit
