#include "sampler/split_sampler.h"

#include <numeric>
#include <utility>

#include "sampler/device_batch.h"

namespace gsplit {
namespace {

std::vector<GlobalRange> ranges_of(const std::vector<std::uint64_t>& bounds) {
  std::vector<GlobalRange> ranges;
  for (std::size_t p = 0; p + 1 < bounds.size(); ++p) ranges.push_back({bounds[p], bounds[p + 1]});
  return ranges;
}

std::size_t sum(const std::vector<std::size_t>& values) {
  return std::accumulate(values.begin(), values.end(), std::size_t{0});
}

std::vector<std::size_t> in_bytes(const std::vector<std::size_t>& counts, std::size_t element) {
  std::vector<std::size_t> bytes(counts);
  for (std::size_t& count : bytes) count *= element;
  return bytes;
}

/// `first` followed by `second`.
Buffer<LocalId> concatenate(std::span<const LocalId> first, std::span<const LocalId> second,
                            Memory& memory, Stream& stream) {
  Buffer<LocalId> both(memory, first.size() + second.size());
  memory.copy(both.data(), first.data(), first.size_bytes(), stream);
  memory.copy(both.data() + first.size(), second.data(), second.size_bytes(), stream);
  return both;
}

}  // namespace

/// Distinct sampled neighbours that others own, as their local ids, grouped by owner.
struct SplitSampler::Wanted {
  std::vector<std::size_t> remote_counts;  // by owner; own entry 0
  Buffer<LocalId> remote;
};

/// Own nodes that other workers want rows of, grouped by worker.
struct SplitSampler::Requests {
  std::vector<std::size_t> counts;
  Buffer<LocalId> nodes;
};

SplitSampler::SplitSampler(const TopologyView& topology, std::vector<std::uint64_t> bounds,
                           Backend& backend, Communicator& communicator, const SamplerView& data)
    : topology_(topology),
      owners_(ranges_of(bounds)),
      own_(owners_.at(static_cast<std::size_t>(communicator.rank()))),
      backend_(backend),
      communicator_(communicator),
      data_(data),
      needed_(backend.sampling().make_id_set(bounds.back())),
      joining_(backend.sampling().make_id_set(own_.size())),
      positions_(backend.sampling().make_position_table(own_.size())) {
  GSPLIT_CHECK(owners_.size() == static_cast<std::size_t>(communicator.size()));
  GSPLIT_CHECK(topology.num_nodes() == own_.size());
}

MiniBatch SplitSampler::sample(std::span<const LocalId> seeds, const SampleOptions& options,
                               Stream& stream) {
  MiniBatch batch;
  batch.nodes = concatenate(seeds, {}, backend_.memory(), stream);
  positions_->assign(batch.nodes.span(), 0, stream);
  batch.layers.resize(options.fanouts.size());
  const SamplerView data = data_of(options.sampler);
  for (std::size_t l = options.fanouts.size(); l-- > 0;) {
    const TraceSpan span(options.tracer, "sample layer", static_cast<std::int32_t>(l + 1));
    DrawKey key = options.key;
    key.layer = static_cast<std::uint32_t>(l + 1);
    batch.layers[l] =
        sample_layer(batch, {topology_, batch.nodes.span(), options.fanouts[l], key, data},
                     l == 0 ? options.copies : nullptr, stream);
    batch.plan_bytes += route(
        {options.route, options.cover, options.route == Route::kAuto ? options.row_bytes.at(l) : 0},
        batch.layers[l], stream);
    if (options.for_backward && (l > 0 || options.invert_input)) invert(batch.layers[l], stream);
  }
  const std::size_t owned = batch.nodes.size() - batch.layers.front().block.num_copies;
  positions_->reset(batch.nodes.span().first(owned), stream);
  return batch;
}

SamplerView SplitSampler::data_of(Sampler sampler) const {
  if (sampler == Sampler::kUniform) return {};
  GSPLIT_CHECK(data_.sampler == sampler);
  return data_;
}

SampledLayer SplitSampler::sample_layer(MiniBatch& batch, const SampleNeighborsArgs& draws,
                                        const CopiedNodes* copies, Stream& stream) {
  SampledLayer layer;
  Block& block = layer.block;
  block.num_destinations = static_cast<RowIndex>(batch.nodes.size());
  const auto self = static_cast<std::size_t>(communicator_.rank());
  Growth growth =
      backend_.sampling().grow({draws, *needed_, *joining_, *positions_, owners_, self}, stream);
  SampledNeighbors& drawn = growth.drawn;
  Wanted wanted = find_wanted(growth, stream);
  CopyUse use;
  if (copies != nullptr) {
    GSPLIT_CHECK(backend_.memory().host_accessible());
    use = use_copies(*copies, wanted.remote_counts, wanted.remote, backend_.memory());
  }
  Requests requests = exchange_requests(wanted, batch, stream);
  extend_frontier(growth, requests, batch, stream);

  const auto num_owned = static_cast<RowIndex>(batch.nodes.size());
  block.num_copies = static_cast<RowIndex>(use.copies.size());
  block.num_own = num_owned + block.num_copies;
  block.num_received = static_cast<RowIndex>(wanted.remote.size());
  block.indptr = std::move(drawn.indptr);
  block.weights = std::move(drawn.weights);
  block.columns = Buffer<RowIndex>(backend_.memory(), drawn.neighbors.size());
  backend_.sampling().relabel({drawn.neighbors.span(), needed_.get(), positions_.get(), own_,
                               growth.needed[self], num_owned},
                              block.columns.span(), stream);
  needed_->clear(stream);
  layer.plan = {.send_counts = requests.counts,
                .receive_counts = wanted.remote_counts,
                .send_rows = Buffer<RowIndex>(backend_.memory(), requests.nodes.size()),
                .pull_sends = requests.nodes.size() + use.copies.size(),
                .pull_receives = wanted.remote.size() + use.copies.size()};
  positions_->look_up(requests.nodes.span(), layer.plan.send_rows.span(), stream);
  if (copies != nullptr) {
    use.renumber(num_owned, block.columns.span());
    block.num_spared = append_copies(*copies, use, batch, stream);
  }
  return layer;
}

RowIndex SplitSampler::append_copies(const CopiedNodes& copies, const CopyUse& use,
                                     MiniBatch& batch, Stream& stream) {
  const std::vector<LocalId> read =
      nodes_read_from_copies(copies, use, communicator_, batch.plan_bytes);
  joining_->insert_absent(read, *positions_, stream);
  const std::size_t spared = joining_->seal({{GlobalRange{0, own_.size()}}}, stream).front();
  joining_->clear(stream);
  std::vector<LocalId> names;
  for (const std::uint32_t copy : use.copies) {
    names.push_back(LocalId{static_cast<std::uint32_t>(own_.size()) + copy});
  }
  batch.nodes = concatenate(batch.nodes.span(), names, backend_.memory(), stream);
  return static_cast<RowIndex>(spared);
}

std::uint64_t SplitSampler::route(const RouteOptions& options, SampledLayer& layer,
                                  Stream& stream) {
  Memory& memory = backend_.memory();
  if (options.route == Route::kPull || communicator_.size() == 1 || memory.host_accessible()) {
    return route_layer(options, layer, communicator_, backend_, stream);
  }
  SampledLayer host = copy_layer(layer, backend_.pinned(), memory, stream);
  stream.synchronize();
  const std::uint64_t bytes = route_layer(options, host, communicator_, backend_, stream);
  layer = copy_layer(host, memory, memory, stream);
  return bytes;
}

void SplitSampler::invert(SampledLayer& layer, Stream& stream) {
  Block& block = layer.block;
  block.inverse = backend_.sampling().invert(block.indptr.span(), block.columns.span(),
                                             block.num_sources(), stream);
  if (!layer.plan.sends_sums()) return;
  PartialSums& sums = layer.plan.sums;
  sums.inverse =
      backend_.sampling().invert(sums.indptr.span(), sums.columns.span(), block.num_own, stream);
}

SplitSampler::Wanted SplitSampler::find_wanted(const Growth& growth, Stream& stream) {
  const auto self = static_cast<std::size_t>(communicator_.rank());
  Wanted wanted;
  wanted.remote_counts = growth.needed;
  wanted.remote_counts[self] = 0;
  wanted.remote = Buffer<LocalId>(backend_.memory(), sum(wanted.remote_counts));
  std::size_t offset = 0;
  for (std::size_t q = 0; q < owners_.size(); ++q) {
    if (q == self) continue;
    needed_->members(owners_[q], wanted.remote.span().subspan(offset, wanted.remote_counts[q]),
                     stream);
    offset += wanted.remote_counts[q];
  }
  return wanted;
}

SplitSampler::Requests SplitSampler::exchange_requests(const Wanted& wanted, MiniBatch& batch,
                                                       Stream& stream) {
  Requests requests;
  requests.counts.assign(owners_.size(), 0);
  if (owners_.size() == 1) return requests;
  const std::vector<std::uint64_t> sent(wanted.remote_counts.begin(), wanted.remote_counts.end());
  const std::vector<std::uint64_t> received = communicator_.exchange_counts(sent);
  requests.counts.assign(received.begin(), received.end());
  requests.nodes = Buffer<LocalId>(backend_.memory(), sum(requests.counts));
  exchange_ids(wanted, requests, stream);
  batch.plan_bytes +=
      wanted.remote.size() * sizeof(LocalId) + (owners_.size() - 1) * sizeof(std::uint64_t);
  return requests;
}

/// By way of the host where the ids are elsewhere.
void SplitSampler::exchange_ids(const Wanted& wanted, Requests& requests, Stream& stream) {
  const auto exchange = [&](std::span<const LocalId> sent, std::span<LocalId> received) {
    communicator_.exchange({std::as_bytes(sent), in_bytes(wanted.remote_counts, sizeof(LocalId)),
                            std::as_writable_bytes(received),
                            in_bytes(requests.counts, sizeof(LocalId))});
  };
  Memory& memory = backend_.memory();
  if (memory.host_accessible()) return exchange(wanted.remote.span(), requests.nodes.span());
  Buffer<LocalId> sent(backend_.pinned(), wanted.remote.size());
  Buffer<LocalId> received(backend_.pinned(), requests.nodes.size());
  memory.copy(sent.data(), wanted.remote.data(), sent.span().size_bytes(), stream);
  stream.synchronize();
  exchange(std::as_const(sent).span(), received.span());
  memory.copy(requests.nodes.data(), received.data(), received.span().size_bytes(), stream);
}

void SplitSampler::extend_frontier(const Growth& growth, const Requests& requests, MiniBatch& batch,
                                   Stream& stream) {
  const GlobalRange everyone{0, own_.size()};
  const auto with_requests = [&] {
    joining_->insert_absent(requests.nodes.span(), *positions_, stream);
    return joining_->seal({{everyone}}, stream).front();
  };
  Buffer<LocalId> joined(backend_.memory(), growth.joined ? *growth.joined : with_requests());
  joining_->members(everyone, joined.span(), stream);
  joining_->clear(stream);
  positions_->assign(joined.span(), static_cast<RowIndex>(batch.nodes.size()), stream);
  batch.nodes = concatenate(batch.nodes.span(), joined.span(), backend_.memory(), stream);
}

}  // namespace gsplit
