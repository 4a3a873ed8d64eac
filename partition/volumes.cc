#include "partition/volumes.h"

#include <algorithm>
#include <bit>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"

namespace gsplit {
namespace {

/// Calls `f(b)` for the number of each set bit, ascending.
template <class F>
void for_each_bit(std::uint64_t bits, F&& f) {
  for (; bits != 0; bits &= bits - 1) f(std::countr_zero(bits));
}

/// One count of each worker in the current step; adds to a Volume at its end.
class WorkerCounts {
 public:
  explicit WorkerCounts(int workers) : counts_(static_cast<std::size_t>(workers), 0) {}

  void add(int worker, std::uint64_t count) { counts_[static_cast<std::size_t>(worker)] += count; }
  void end_step(Volume& volume) {
    std::uint64_t total = 0;
    for (const std::uint64_t count : counts_) total += count;
    volume.total += static_cast<double>(total);
    volume.largest += static_cast<double>(*std::max_element(counts_.begin(), counts_.end()));
    std::fill(counts_.begin(), counts_.end(), 0);
  }

 private:
  std::vector<std::uint64_t> counts_;
};

/// Goes through a batch from the seeds down. Worker g * Q + q is member q of group g; sets of
/// workers and of groups are bits of a word.
class Counter {
 public:
  Counter(const CscView& graph, const VolumeOptions& options)
      : graph_(graph),
        options_(options),
        groups_of_(graph.num_nodes(), 0),
        readers_(graph.num_nodes(), 0),
        counts_(options.groups * options.parts) {}

  void layer(const PresampledLayer& sample, std::size_t depth, std::size_t depths) {
    volumes_.layers.resize(depths);
    if (depth == 0) cut_slices(sample.destinations);
    LayerVolumes& layer = volumes_.layers[depths - 1 - depth];
    count_destinations(sample, layer);
    mark_sources(sample);
    count_pushes(sample, layer);
    count_sources(sample, layer);
  }

  /// `inputs`: all nodes of the batch.
  void end_batch(std::span<const std::uint64_t> inputs) {
    count_nodes(inputs, volumes_.input_rows, [](std::uint64_t) { return true; });
    if (!options_.cached.empty()) {
      count_nodes(inputs, volumes_.cached_rows,
                  [this](std::uint64_t node) { return options_.cached[node] != 0; });
    }
    for (const std::uint64_t node : inputs) groups_of_[node] = 0;
    ++volumes_.steps;
  }

  Volumes result() const {
    Volumes means = volumes_;
    const auto divide = [this](Volume& volume) {
      volume.total /= volumes_.steps;
      volume.largest /= volumes_.steps;
    };
    for (LayerVolumes& layer : means.layers) {
      for (Volume* volume : {&layer.destinations, &layer.edges, &layer.own_rows, &layer.pull_rows,
                             &layer.push_rows}) {
        divide(*volume);
      }
    }
    divide(means.input_rows);
    divide(means.cached_rows);
    return means;
  }

 private:
  PartId part_of(std::uint64_t node) const {
    return options_.parts == 1 ? PartId{0} : options_.assignment[node];
  }
  /// The workers of part `part` in the groups `groups`.
  std::uint64_t workers(std::uint64_t groups, PartId part) const {
    std::uint64_t bits = 0;
    for_each_bit(groups, [&](int g) { bits |= std::uint64_t{1} << (g * options_.parts + part); });
    return bits;
  }

  /// Slices of equal size of the seeds in a random order.
  void cut_slices(std::span<const std::uint64_t> seeds) {
    std::vector<std::pair<std::uint32_t, std::uint64_t>> order;
    for (const std::uint64_t node : seeds) {
      const DrawKey key{
          .seed = options_.seed, .step = volumes_.steps, .purpose = Purpose::kPresampling};
      order.emplace_back(draw(key, node, 0).word[0], node);
    }
    std::sort(order.begin(), order.end());
    for (std::size_t i = 0; i < order.size(); ++i) {
      groups_of_[order[i].second] |=
          std::uint64_t{1} << (i * static_cast<std::size_t>(options_.groups) / order.size());
    }
  }

  template <class Chosen>
  void count_nodes(std::span<const std::uint64_t> nodes, Volume& volume, Chosen&& chosen) {
    for (const std::uint64_t node : nodes) {
      if (!chosen(node)) continue;
      for_each_bit(workers(groups_of_[node], part_of(node)),
                   [&](int worker) { counts_.add(worker, 1); });
    }
    counts_.end_step(volume);
  }

  void count_destinations(const PresampledLayer& sample, LayerVolumes& layer) {
    count_nodes(sample.destinations, layer.destinations, [](std::uint64_t) { return true; });
    for (std::size_t i = 0; i < sample.destinations.size(); ++i) {
      const std::uint64_t node = sample.destinations[i];
      for_each_bit(workers(groups_of_[node], part_of(node)), [&](int worker) {
        counts_.add(worker, sample.offsets[i + 1] - sample.offsets[i]);
      });
    }
    counts_.end_step(layer.edges);
  }

  template <class F>
  void for_each_source(const PresampledLayer& sample, std::size_t i, F&& f) const {
    for (std::uint64_t e = sample.offsets[i]; e < sample.offsets[i + 1]; ++e)
      f(graph_.neighbor(sample.edges[e]));
  }

  /// Groups go down to the sources only after all destinations of this layer have been read: a
  /// destination may be a source too.
  void mark_sources(const PresampledLayer& sample) {
    new_groups_.clear();
    for (std::size_t i = 0; i < sample.destinations.size(); ++i) {
      const std::uint64_t node = sample.destinations[i];
      const std::uint64_t readers = workers(groups_of_[node], part_of(node));
      for_each_source(sample, i, [&](std::uint64_t source) {
        if (readers_[source] == 0) sources_.push_back(source);
        readers_[source] |= readers;
        new_groups_.emplace_back(source, groups_of_[node]);
      });
    }
  }

  void count_pushes(const PresampledLayer& sample, LayerVolumes& layer) {
    if (options_.parts > 1) {
      for (std::size_t i = 0; i < sample.destinations.size(); ++i) {
        const std::uint64_t node = sample.destinations[i];
        std::uint64_t owners = 0;
        for_each_source(sample, i, [&](std::uint64_t source) {
          owners |= std::uint64_t{1} << part_of(source);
        });
        owners &= ~(std::uint64_t{1} << part_of(node));
        if (owners == 0) continue;
        for_each_bit(workers(groups_of_[node], part_of(node)), [&](int worker) {
          counts_.add(worker, static_cast<std::uint64_t>(std::popcount(owners)));
        });
      }
    }
    counts_.end_step(layer.push_rows);
  }

  /// Pulls, then the frontier of the layer below and its rows.
  void count_sources(const PresampledLayer& sample, LayerVolumes& layer) {
    for (const std::uint64_t source : sources_) {
      const PartId owner = part_of(source);
      for_each_bit(readers_[source], [&](int worker) {
        if (worker % options_.parts != owner) counts_.add(worker, 1);
      });
      readers_[source] = 0;
    }
    counts_.end_step(layer.pull_rows);
    for (const auto& [source, groups] : new_groups_) groups_of_[source] |= groups;
    sources_.insert(sources_.end(), sample.destinations.begin(), sample.destinations.end());
    std::sort(sources_.begin(), sources_.end());
    sources_.erase(std::unique(sources_.begin(), sources_.end()), sources_.end());
    count_nodes(sources_, layer.own_rows, [](std::uint64_t) { return true; });
    sources_.clear();
  }

  CscView graph_;
  const VolumeOptions& options_;
  std::vector<std::uint64_t> groups_of_;  // (nodes) groups whose slice has the node in its frontier
  std::vector<std::uint64_t> readers_;    // (nodes) workers that aggregate the row in this layer
  std::vector<std::uint64_t> sources_;    // distinct, of this layer
  std::vector<std::pair<std::uint64_t, std::uint64_t>> new_groups_;
  WorkerCounts counts_;
  Volumes volumes_;  // sums over steps
};

}  // namespace

Volumes count_volumes(const CscView& graph, const PresampledBatches& batches,
                      const VolumeOptions& options) {
  GSPLIT_CHECK(batches.size() > 0 && options.groups >= 1 && options.parts >= 1);
  GSPLIT_CHECK(options.groups * options.parts <= kMaxCountedWorkers);
  GSPLIT_CHECK(options.parts == 1 || options.assignment.size() == graph.num_nodes());
  Counter counter(graph, options);
  std::size_t depth = 0;
  batches.replay({.layer =
                      [&](const PresampledLayer& sample) {
                        counter.layer(sample, depth++, batches.num_layers());
                      },
                  .inputs =
                      [&](std::span<const std::uint64_t> inputs) {
                        counter.end_batch(inputs);
                        depth = 0;
                      }});
  return counter.result();
}

}  // namespace gsplit
