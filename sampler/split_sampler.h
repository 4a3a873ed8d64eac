// Split sampling (GSplit, arXiv 2303.13775, section 4; DESIGN section 6): every node of the global
// mini-batch is sampled by its owner alone, and frontiers grow by exchanging ids.
//
// A SplitSampler belongs to one worker; all workers make the same calls in the same order.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "kernels/backend.h"
#include "sampler/block.h"
#include "sampler/copies.h"
#include "sampler/routes.h"

namespace gsplit {

struct SampleOptions {
  /// Neighbours to draw per layer, input layer first; kFullFanout takes all.
  std::vector<std::int32_t> fanouts;
  /// Seed, step and purpose; its layer is set per layer: 1 at the input.
  DrawKey key;
  Sampler sampler = Sampler::kUniform;  ///< this, or the one that the data of the sampler are for
  bool for_backward =
      true;  ///< build the inverse CSRs that backward needs, of all layers but the first
  bool invert_input = false;  ///< and of the first
  Route route = Route::kPull;
  Cover cover = Cover::kExact;
  /// kAuto: what a row of a layer's shuffle costs, forward and backward, input layer first.
  std::vector<std::uint64_t> row_bytes = {};
  /// Of all workers or none: copies that the input layer reads in place of the owner's rows.
  /// REQUIRES: the host can read the backend's memory.
  const CopiedNodes* copies = nullptr;
  Tracer* tracer = nullptr;  ///< where the sampling of a layer is recorded
};

class SplitSampler {
 public:
  /// `bounds`: (workers + 1), worker p owns [bounds[p], bounds[p + 1]); `topology`: the own
  /// range's; `data`: of the sampler to draw with, if it is not uniform; both in reach of the
  /// backend's device. Backend, communicator and the spans must outlive the sampler.
  SplitSampler(const TopologyView& topology, std::vector<std::uint64_t> bounds, Backend& backend,
               Communicator& communicator, const SamplerView& data = {});

  /// The sample of the global mini-batch whose seeds of this worker are `seeds` (distinct, may be
  /// empty; in host memory). It lies in the backend's memory.
  MiniBatch sample(std::span<const LocalId> seeds, const SampleOptions& options, Stream& stream);

 private:
  struct Wanted;
  struct Requests;

  Wanted find_wanted(const Growth& growth, Stream& stream);
  Requests exchange_requests(const Wanted& wanted, MiniBatch& batch, Stream& stream);
  void exchange_ids(const Wanted& wanted, Requests& requests, Stream& stream);
  void extend_frontier(const Growth& growth, const Requests& requests, MiniBatch& batch,
                       Stream& stream);
  /// `copies`: none but in the input layer.
  SampledLayer sample_layer(MiniBatch& batch, const SampleNeighborsArgs& draws,
                            const CopiedNodes* copies, Stream& stream);
  /// Puts the copies used behind the own nodes of the batch. Returns Block::num_spared.
  RowIndex append_copies(const CopiedNodes& copies, const CopyUse& use, MiniBatch& batch,
                         Stream& stream);
  /// Returns the bytes of ids and counts sent. What travels is planned by the host, where a layer
  /// of a device goes and comes back.
  std::uint64_t route(const RouteOptions& options, SampledLayer& layer, Stream& stream);
  void invert(SampledLayer& layer, Stream& stream);
  SamplerView data_of(Sampler sampler) const;

  TopologyView topology_;
  std::vector<GlobalRange> owners_;
  GlobalRange own_;
  Backend& backend_;
  Communicator& communicator_;
  SamplerView data_;
  std::unique_ptr<IdSet> needed_;             // over all nodes
  std::unique_ptr<IdSet> joining_;            // over own nodes
  std::unique_ptr<PositionTable> positions_;  // over own nodes
};

}  // namespace gsplit
