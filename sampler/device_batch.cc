#include "sampler/device_batch.h"

namespace gsplit {
namespace {

/// Where the copies go, and whose memory carries them out.
struct Target {
  Memory& home;
  Memory& device;
  Stream& stream;

  template <class T>
  Buffer<T> copy(const Buffer<T>& from) const {
    Buffer<T> to(home, from.size());
    device.copy(to.data(), from.data(), from.size() * sizeof(T), stream);
    return to;
  }
};

InverseCsr copy_inverse(const InverseCsr& inverse, const Target& target) {
  return {target.copy(inverse.indptr), target.copy(inverse.destinations),
          target.copy(inverse.edges)};
}

Block copy_block(const Block& block, const Target& target) {
  return {.num_destinations = block.num_destinations,
          .num_own = block.num_own,
          .num_copies = block.num_copies,
          .num_received = block.num_received,
          .num_spared = block.num_spared,
          .indptr = target.copy(block.indptr),
          .columns = target.copy(block.columns),
          .weights = target.copy(block.weights),
          .edges_elsewhere = block.edges_elsewhere,
          .inverse_lengths = target.copy(block.inverse_lengths),
          .inverse = copy_inverse(block.inverse, target)};
}

ShufflePlan copy_plan(const ShufflePlan& plan, const Target& target) {
  return {.send_counts = plan.send_counts,
          .receive_counts = plan.receive_counts,
          .send_rows = target.copy(plan.send_rows),
          .pull_sends = plan.pull_sends,
          .pull_receives = plan.pull_receives,
          .sums = {target.copy(plan.sums.indptr), target.copy(plan.sums.columns),
                   target.copy(plan.sums.weights), copy_inverse(plan.sums.inverse, target)}};
}

SampledLayer copy_layer(const SampledLayer& layer, const Target& target) {
  return {copy_block(layer.block, target), copy_plan(layer.plan, target)};
}

MiniBatch copy_batch(const MiniBatch& batch, const Target& target) {
  MiniBatch copy;
  for (const SampledLayer& layer : batch.layers) {
    copy.layers.push_back(copy_layer(layer, target));
  }
  copy.nodes = target.copy(batch.nodes);
  copy.plan_bytes = batch.plan_bytes;
  return copy;
}

}  // namespace

DeviceBatch::DeviceBatch(const MiniBatch& batch, Memory& memory, Stream& stream) : batch_(batch) {
  if (!memory.host_accessible()) copy_ = copy_batch(batch, {memory, memory, stream});
}

SampledLayer copy_layer(const SampledLayer& layer, Memory& home, Memory& device, Stream& stream) {
  return copy_layer(layer, Target{home, device, stream});
}

MiniBatch to_host(const MiniBatch& batch, Memory& device, Memory& pinned, Stream& stream) {
  MiniBatch copy = copy_batch(batch, {pinned, device, stream});
  stream.synchronize();
  return copy;
}

}  // namespace gsplit
