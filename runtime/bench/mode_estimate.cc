#include "runtime/bench/mode_estimate.h"

#include <fmt/core.h>

#include <algorithm>

namespace gsplit {
namespace {

/// Enough for the mean: batches of one graph differ by a few per cent.
constexpr std::uint32_t kCountedBatches = 4;
/// How often a byte of a row that travels is read or written: gathered, copied to the peer, read
/// by whoever sums it.
constexpr double kMovesPerByte = 5;
/// Random reads for each row that travels: its id on both sides, its place among the rows.
constexpr double kReadsPerRow = 4;
/// Of a layer: counts and ids, rows forward, gradients backward, counts for the order.
constexpr double kExchangesPerLayer = 6;
constexpr double kExchangeSeconds = 50e-6;

/// Rows that are pulled in one layer, one way.
double rows_of(const LayerVolumes& layer) { return layer.pull_rows.total; }

/// Of the row that travels: before or after the product with the weights, as `--order auto` takes
/// them; GIN sums first.
double width_of(const LayerWidths& widths, const std::string& model) {
  return model == "gin" ? widths.in : std::min(widths.in, widths.out);
}

/// How much longer the busiest worker takes than the mean, where workers may share cores: one that
/// waits leaves its core to others.
double uneven_time(const Volumes& volumes, const ModeOptions& options) {
  Volume edges;
  for (const LayerVolumes& layer : volumes.layers) {
    edges.total += layer.edges.total;
    edges.largest += layer.edges.largest;
  }
  const double ratio = edges.total > 0 ? edges.largest * options.workers / edges.total : 1;
  return std::max(1.0, ratio * std::min(1.0, static_cast<double>(options.cores) / options.workers));
}

class Estimator {
 public:
  Estimator(const Dataset& dataset, const ModeOptions& options, const MachineRates& rates,
            const Log& log)
      : options_(options),
        rates_(rates),
        log_(log),
        widths_(layer_widths(dataset, options.step)),
        csc_(prepare_csc(dataset, options.step.threads, log)),
        batches_(csc_.view(), dataset.train.nodes,
                 {.fanout = options.step.fanout,
                  .sampler = options.sampler,
                  .batch_size = static_cast<std::uint32_t>(options.step.batch_size),
                  .max_batches = kCountedBatches,
                  .seed = options.step.seed,
                  .threads = options.step.threads}),
        presample_(
            count_samples(csc_.view(), dataset.train.nodes, batches_, options.step.threads)) {}

  /// Of groups of `size` workers.
  ModeEstimate estimate(int size) const {
    const Assignment parts = assign(size);
    const Volumes volumes = count_volumes(csc_.view(), batches_,
                                          {.groups = options_.workers / size,
                                           .assignment = parts,
                                           .parts = size,
                                           .seed = options_.step.seed});
    const bool hybrid = size > 1 && size < options_.workers;
    ModeEstimate estimate{.mode = size == 1 ? "data" : (hybrid ? "hybrid" : "split"),
                          .group_size = hybrid ? size : 0,
                          .counts = counts_of(volumes, widths_, options_.step),
                          .uneven = uneven_time(volumes, options_)};
    estimate.work_s = floor_of(estimate.counts, rates_).total();
    add_shuffle(volumes, size, estimate);
    return estimate;
  }

 private:
  Assignment assign(int parts) const {
    if (parts == 1) return {};
    const bool metis = options_.method == PartitionMethod::kMetis;
    const bool open = options_.method == PartitionMethod::kAuto;
    return assign_nodes(csc_.view(), presample_,
                        {.parts = parts,
                         .method = metis || open ? PartitionMethod::kStream : options_.method,
                         .fanout = options_.step.fanout,
                         .seed = options_.step.seed,
                         .threads = options_.step.threads},
                        log_);
  }

  void add_shuffle(const Volumes& volumes, int size, ModeEstimate& estimate) const {
    if (size == 1) return;
    double rows = 0;
    for (std::size_t l = 0; l < volumes.layers.size(); ++l) {
      const double ways = l > 0 ? 2 : 1;  // input features have no gradient
      rows += rows_of(volumes.layers[l]);
      estimate.shuffled_bytes += ways * rows_of(volumes.layers[l]) *
                                 width_of(widths_[l], options_.step.model) *
                                 options_.row_element_bytes;
    }
    estimate.shuffle_s = kMovesPerByte * estimate.shuffled_bytes / rates_.stream_bytes +
                         kReadsPerRow * rows / rates_.random_reads;
    estimate.exchanges_s =
        kExchangesPerLayer * static_cast<double>(volumes.layers.size()) * kExchangeSeconds;
  }

  const ModeOptions& options_;
  const MachineRates& rates_;
  const Log& log_;
  std::vector<LayerWidths> widths_;
  Csc csc_;
  PresampledBatches batches_;
  PresampleCounts presample_;
};

}  // namespace

std::vector<ModeEstimate> estimate_modes(const Dataset& dataset, const ModeOptions& options,
                                         const MachineRates& rates, const Log& log) {
  GSPLIT_CHECK(options.workers >= 2 && options.workers <= kMostEstimatedWorkers);
  const Estimator estimator(dataset, options, rates, log);
  std::vector<ModeEstimate> estimates;
  for (int size = options.workers; size >= 1; --size) {
    if (options.workers % size == 0) estimates.push_back(estimator.estimate(size));
  }
  return estimates;
}

const ModeEstimate& fastest_of(const std::vector<ModeEstimate>& estimates) {
  return *std::min_element(estimates.begin(), estimates.end(),
                           [](const ModeEstimate& one, const ModeEstimate& other) {
                             return one.seconds() < other.seconds();
                           });
}

std::string as_text(const ModeEstimate& estimate) {
  const std::string groups =
      estimate.group_size > 0 ? fmt::format(" in groups of {}", estimate.group_size) : "";
  return fmt::format(
      "{}{}: {:.1f} ms a step (work {:.1f} ms x {:.2f}, shuffle {:.1f} ms, exchanges {:.1f} ms; "
      "{:.0f} input rows, {:.1f} GFLOP, {:.1f} MB shuffled)",
      estimate.mode, groups, 1e3 * estimate.seconds(), 1e3 * estimate.work_s, estimate.uneven,
      1e3 * estimate.shuffle_s, 1e3 * estimate.exchanges_s, estimate.counts.input_rows,
      estimate.counts.dense_flops / 1e9, estimate.shuffled_bytes / 1e6);
}

}  // namespace gsplit
