#include "runtime/bench/volume_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
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

bool reads_weights(PartitionMethod method) {
  return method == PartitionMethod::kAuto || method == PartitionMethod::kMetis ||
         method == PartitionMethod::kStream;
}

/// Behind the method's name.
std::string suffix_of(const PartitionWeights& weights) {
  switch (weights.from) {
    case PartitionWeights::From::kSamples:
      return "";
    case PartitionWeights::From::kPresample:
      return std::string(" ") + name_of(weights.sampler);
    case PartitionWeights::From::kGraph:
      return " plain";
    case PartitionWeights::From::kEdges:
      return " edges";
  }
  throw InternalError("internal error: weights of a partition without a name");
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
        counts_(count(options.sampler)),
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
      if (workers == 1) continue;  // split is data
      for (const PartitionMethod method : options_.methods) {
        if (!reads_weights(method)) {
          count_partitioned(workers, {.method = method});
          continue;
        }
        for (const PartitionWeights& weights : options_.weights) {
          count_partitioned(workers, {.method = method, .weights = weights});
        }
      }
    }
  }

 private:
  struct Partitioner {
    PartitionMethod method;
    PartitionWeights weights{};

    std::string name() const { return name_of(method) + suffix_of(weights); }
  };

  PresampledBatches presample(int batch_size, Sampler sampler) const {
    return {csc_.view(),
            dataset_.train.nodes,
            {.fanout = options_.fanout,
             .sampler = sampler,
             .batch_size = static_cast<std::uint32_t>(batch_size),
             .seed = options_.seed,
             .threads = options_.threads}};
  }

  PresampleCounts count(Sampler sampler) const {
    return count_samples(csc_.view(), dataset_.train.nodes,
                         presample(options_.batch_sizes.front(), sampler), options_.threads);
  }

  Assignment assign(int parts, PartitionMethod method, const PresampleCounts& counts) const {
    return assign_nodes(csc_.view(), counts,
                        {.parts = parts,
                         .method = method,
                         .fanout = options_.fanout,
                         .seed = options_.seed,
                         .threads = options_.threads},
                        log_);
  }

  Assignment assign(int parts, const Partitioner& partitioner) const {
    const PartitionWeights& weights = partitioner.weights;
    switch (weights.from) {
      case PartitionWeights::From::kSamples:
        return assign(parts, partitioner.method, counts_);
      case PartitionWeights::From::kPresample:
        return assign(parts, partitioner.method, count(weights.sampler));
      case PartitionWeights::From::kGraph:
        return assign(parts, partitioner.method, no_samples(csc_.view()));
      case PartitionWeights::From::kEdges:
        return assign(parts, partitioner.method, in_degrees(csc_.view()));
    }
    throw InternalError("internal error: a partition by weights that nothing counts");
  }

  /// Made once: groups of one size are wanted for several numbers of workers.
  const Assignment& assigned(int parts, const Partitioner& partitioner) {
    Assignment& assignment = assignments_[{partitioner.name(), parts}];
    if (assignment.empty()) assignment = assign(parts, partitioner);
    return assignment;
  }

  void count_partitioned(int workers, const Partitioner& partitioner) {
    const std::string name = partitioner.name();
    const Assignment& parts = assigned(workers, partitioner);
    count("split", name, {.assignment = parts, .parts = workers, .seed = options_.seed}, workers);
    const int size = options_.group_size;
    if (size < 2 || workers <= size || workers % size != 0) return;
    const Assignment& members = assigned(size, partitioner);
    count("hybrid", name,
          {.groups = workers / size, .assignment = members, .parts = size, .seed = options_.seed},
          workers);
  }

  void count(const std::string& mode, const std::string& method,
             const VolumeOptions& volume_options, int workers) {
    for (const int batch_size : options_.batch_sizes) {
      const Volumes volumes =
          count_volumes(csc_.view(), presample(batch_size, options_.sampler), volume_options);
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
  std::map<std::pair<std::string, int>, Assignment> assignments_;  // by partitioner and parts
};

}  // namespace

PartitionWeights partition_weights_from_name(const std::string& name) {
  if (name == "samples") return {.from = PartitionWeights::From::kSamples};
  if (name == "plain") return {.from = PartitionWeights::From::kGraph};
  if (name == "edges") return {.from = PartitionWeights::From::kEdges};
  for (const Sampler sampler : {Sampler::kUniform, Sampler::kLabor, Sampler::kWeighted}) {
    if (name == name_of(sampler)) {
      return {.from = PartitionWeights::From::kPresample, .sampler = sampler};
    }
  }
  throw UsageError("--partition-weights " + name + " is unknown",
                   "choose samples, plain, edges, uniform, labor or weighted");
}

void report_volumes(const Dataset& dataset, const VolumeReportOptions& options, const Log& log,
                    const std::function<void(const VolumeLine&)>& emit) {
  check_fanout(options.fanout);
  check_sampler(options.sampler, dataset);
  for (const PartitionWeights& weights : options.weights) check_sampler(weights.sampler, dataset);
  if (dataset.train.nodes.empty())
    throw UsageError("the dataset has no training nodes", "give a train_set");
  Report(dataset, options, log, emit).run();
}

std::string volume_header() {
  return fmt::format("{:6} {:14} {:>3} {:>6} {:>11} {:>11} {:>7} {:>8} {:>9} {:>9} {:>6} {:>6}",
                     "mode", "partition", "P", "batch", "edges", "input rows", "cached", "GFLOP",
                     "pull MB", "push MB", "edges", "inputs");
}

std::string as_text(const VolumeLine& line) {
  const double cached = line.input_rows == 0 ? 0 : 100 * line.cached_rows / line.input_rows;
  return fmt::format(
      "{:6} {:14} {:3} {:6} {:11.0f} {:11.0f} {:5.1f} % {:8.2f} {:9.2f} {:9.2f} {:6.2f} {:6.2f}",
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
