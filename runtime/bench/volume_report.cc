#include "runtime/bench/volume_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

/// (in, out) of each layer, the input's first.
std::vector<std::pair<double, double>> layer_widths(const Dataset& dataset,
                                                    const VolumeReportOptions& options) {
  std::vector<std::pair<double, double>> widths;
  double in = static_cast<double>(dataset.feature_width());
  for (std::size_t l = 0; l < options.fanout.size(); ++l) {
    const bool last = l + 1 == options.fanout.size();
    const double out = last ? dataset.num_classes : static_cast<double>(options.hidden);
    widths.emplace_back(in, out);
    in = out;
  }
  return widths;
}

double ratio(const Volume& volume, int workers) {
  return volume.total == 0 ? 1 : volume.largest * workers / volume.total;
}

/// The nodes that most presampled batches need, a share of all.
std::vector<std::uint8_t> hottest(std::span<const std::uint32_t> uses, double share) {
  std::vector<std::uint64_t> order(uses.size());
  std::iota(order.begin(), order.end(), std::uint64_t{0});
  const auto count = static_cast<std::ptrdiff_t>(share * static_cast<double>(uses.size()));
  std::nth_element(order.begin(), order.begin() + count, order.end(),
                   [&](std::uint64_t a, std::uint64_t b) {
                     return std::pair(~uses[a], a) < std::pair(~uses[b], b);
                   });
  std::vector<std::uint8_t> chosen(uses.size(), 0);
  for (std::ptrdiff_t i = 0; i < count; ++i) chosen[order[static_cast<std::size_t>(i)]] = 1;
  return chosen;
}

class Report {
 public:
  Report(const Dataset& dataset, const VolumeReportOptions& options, const Log& log,
         const std::function<void(const VolumeLine&)>& emit)
      : dataset_(dataset),
        options_(options),
        log_(log),
        emit_(emit),
        widths_(layer_widths(dataset, options)),
        csc_(prepare_csc(dataset, options.threads, log)),
        counts_(count_samples(csc_.view(), dataset.train.nodes,
                              presample(options.batch_sizes.front()), options.threads)),
        hot_(hottest(counts_.input_rows, options.cache_budget)) {}

  void run() {
    for (const int workers : options_.workers) {
      if (workers < 1 || workers > kMaxCountedWorkers) {
        throw UsageError(fmt::format("--workers has the value {}", workers),
                         fmt::format("give 1 to {}", kMaxCountedWorkers));
      }
      const Assignment none;
      count("data", "-",
            {.groups = workers, .assignment = none, .cached = hot_, .seed = options_.seed},
            workers);
      for (const PartitionMethod method : options_.methods) count_partitioned(workers, method);
    }
  }

 private:
  PresampledBatches presample(int batch_size) const {
    return {csc_.view(),
            dataset_.train.nodes,
            {.fanout = options_.fanout,
             .sampler = options_.sampler,
             .batch_size = static_cast<std::uint32_t>(batch_size),
             .seed = options_.seed,
             .threads = options_.threads}};
  }

  Assignment assign(int parts, PartitionMethod method) const {
    return assign_nodes(csc_.view(), counts_,
                        {.parts = parts,
                         .method = method,
                         .fanout = options_.fanout,
                         .seed = options_.seed,
                         .threads = options_.threads},
                        log_);
  }

  void count_partitioned(int workers, PartitionMethod method) {
    if (workers == 1) return;  // as data
    const std::string name = name_of(method);
    const Assignment parts = assign(workers, method);
    count("split", name, {.assignment = parts, .parts = workers, .seed = options_.seed}, workers);
    const int size = options_.group_size;
    if (size < 2 || workers <= size || workers % size != 0) return;
    const Assignment members = assign(size, method);
    count("hybrid", name,
          {.groups = workers / size, .assignment = members, .parts = size, .seed = options_.seed},
          workers);
  }

  void count(const std::string& mode, const std::string& method,
             const VolumeOptions& volume_options, int workers) {
    for (const int batch_size : options_.batch_sizes) {
      const Volumes volumes = count_volumes(csc_.view(), presample(batch_size), volume_options);
      VolumeLine line = line_of(volumes, workers);
      line.mode = mode;
      line.partition = method;
      line.batch_size = batch_size;
      emit_(line);
      if (mode == "data" && workers > 1) emit_(p3_line(line, volumes));
    }
  }

  VolumeLine line_of(const Volumes& volumes, int workers) const {
    VolumeLine line{.workers = workers,
                    .input_rows = volumes.input_rows.total,
                    .cached_rows = volumes.cached_rows.total};
    Volume edges;
    for (std::size_t l = 0; l < widths_.size(); ++l) {
      const LayerVolumes& layer = volumes.layers[l];
      const auto [in, out] = widths_[l];
      const double passes =
          l > 0 ? 3 : 2;  // forward, weight gradient, but at the input, input gradient
      line.gflop += passes * 4 * layer.destinations.total * in * out / 1e9;
      const double trips = l > 0 ? 2 : 1;
      line.moved_bytes += trips * layer.edges.total * in * sizeof(float);
      line.pull_rows += layer.pull_rows.total;
      line.pull_bytes += trips * layer.pull_rows.total * in * sizeof(float);
      line.push_bytes += trips * layer.push_rows.total * in * sizeof(float);
      edges.total += layer.edges.total;
      edges.largest += layer.edges.largest;
    }
    line.edges = edges.total;
    line.load_edges = ratio(edges, workers);
    line.load_inputs = ratio(volumes.input_rows, workers);
    return line;
  }

  /// P3 (S. Gandhi and A. Iyer, OSDI 2021): as data, but each worker has a slice of the columns of
  /// all features, loads these of every worker's input rows, computes their part of the first layer
  /// for every worker, and sends it there.
  VolumeLine p3_line(const VolumeLine& data, const Volumes& volumes) const {
    VolumeLine line = data;
    line.mode = "p3";
    line.cached_rows = 0;
    line.load_inputs = 1;
    line.pull_rows = volumes.layers.front().destinations.total * (data.workers - 1);
    line.pull_bytes = 2 * line.pull_rows * widths_.front().second * sizeof(float);
    line.push_bytes = line.pull_bytes;
    return line;
  }

  const Dataset& dataset_;
  const VolumeReportOptions& options_;
  const Log& log_;
  const std::function<void(const VolumeLine&)>& emit_;
  std::vector<std::pair<double, double>> widths_;
  Csc csc_;
  PresampleCounts counts_;
  std::vector<std::uint8_t> hot_;
};

}  // namespace

void report_volumes(const Dataset& dataset, const VolumeReportOptions& options, const Log& log,
                    const std::function<void(const VolumeLine&)>& emit) {
  check_fanout(options.fanout);
  check_sampler(options.sampler, dataset);
  if (dataset.train.nodes.empty())
    throw UsageError("the dataset has no training nodes", "give a train_set");
  Report(dataset, options, log, emit).run();
}

std::string volume_header() {
  return fmt::format("{:6} {:9} {:>3} {:>6} {:>11} {:>11} {:>7} {:>8} {:>9} {:>9} {:>6} {:>6}",
                     "mode", "partition", "P", "batch", "edges", "input rows", "cached", "GFLOP",
                     "pull MB", "push MB", "edges", "inputs");
}

std::string as_text(const VolumeLine& line) {
  const double cached = line.input_rows == 0 ? 0 : 100 * line.cached_rows / line.input_rows;
  return fmt::format(
      "{:6} {:9} {:3} {:6} {:11.0f} {:11.0f} {:5.1f} % {:8.2f} {:9.2f} {:9.2f} {:6.2f} {:6.2f}",
      line.mode, line.partition, line.workers, line.batch_size, line.edges, line.input_rows, cached,
      line.gflop, line.pull_bytes / 1e6, line.push_bytes / 1e6, line.load_edges, line.load_inputs);
}

std::string as_json(const VolumeLine& line) {
  return nlohmann::ordered_json{
      {"mode", line.mode},
      {"partition", line.partition},
      {"workers", line.workers},
      {"batch_size", line.batch_size},
      {"edges", line.edges},
      {"input_rows", line.input_rows},
      {"cached_rows", line.cached_rows},
      {"gflop", line.gflop},
      {"pull_rows", line.pull_rows},
      {"pull_bytes", line.pull_bytes},
      {"push_bytes", line.push_bytes},
      {"load_max_avg", {{"edges", line.load_edges}, {"input_rows", line.load_inputs}}}}
      .dump();
}

}  // namespace gsplit
