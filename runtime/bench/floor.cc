#include "runtime/bench/floor.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "partition/prepare.h"

namespace gsplit {
namespace {

constexpr double kElementBytes = 4;  // fp32

/// One layer of the model on the counted block.
struct Layer {
  double destinations, sources, in, out;
  bool is_input;
};

struct Cost {
  double flops = 0;
  double elements = 0;
};

/// Products with one weight matrix and what lies between product and sum. `rows` are transformed to
/// `out` from `in`; `summed`: elements of the sums (aggregate first) or of the products (transform
/// first), written and read forward, and their gradients.
Cost cost_of(double rows, double in, double out, double summed, bool row_gradient) {
  const double products =
      row_gradient ? 3 : 2;  // forward, gradient of the weights, gradient of the rows
  return {2 * rows * in * out * products, 2 * summed * (row_gradient ? 2 : 1)};
}

Cost cheaper(const Cost& a, const Cost& b) { return a.flops < b.flops ? a : b; }

/// Attention needs the gradient of the sums for that of its coefficients, also at the input.
Cost gat(const Layer& layer, int heads) {
  return cheaper(
      cost_of(layer.destinations, layer.in, layer.out, layer.destinations * heads * layer.in, true),
      cost_of(layer.sources, layer.in, layer.out, layer.sources * layer.out, !layer.is_input));
}

Cost gcn(const Layer& layer) {
  return cheaper(
      cost_of(layer.destinations, layer.in, layer.out, layer.destinations * layer.in,
              !layer.is_input),
      cost_of(layer.sources, layer.in, layer.out, layer.sources * layer.out, !layer.is_input));
}

/// GCN's, and the product of the own rows.
Cost sage(const Layer& layer) {
  Cost cost = gcn(layer);
  cost.flops += 2 * layer.destinations * layer.in * layer.out * (layer.is_input ? 2 : 3);
  return cost;
}

/// Sums first, then two products.
Cost gin(const Layer& layer) {
  const Cost first = cost_of(layer.destinations, layer.in, layer.out, layer.destinations * layer.in,
                             !layer.is_input);
  const Cost second =
      cost_of(layer.destinations, layer.out, layer.out, layer.destinations * layer.out, true);
  return {first.flops + second.flops, first.elements + second.elements};
}

Cost linear_part(const Layer& layer, const FloorOptions& options) {
  if (options.model == "gin") return gin(layer);
  if (options.model == "gat") return gat(layer, options.heads);
  return options.model == "gcn" ? gcn(layer) : sage(layer);
}

/// Source rows, output, gradient of the output; gradients of the sources.
double outer_elements(const Layer& layer) {
  return layer.sources * layer.in * (layer.is_input ? 1 : 2) + 3 * layer.destinations * layer.out;
}

}  // namespace

std::vector<LayerWidths> layer_widths(const Dataset& dataset, const FloorOptions& options) {
  std::vector<LayerWidths> widths;
  double in = static_cast<double>(dataset.feature_width());
  for (std::size_t l = 0; l < options.fanout.size(); ++l) {
    const bool last = l + 1 == options.fanout.size();
    const int heads = options.model == "gat" ? options.heads : 1;
    const double out = last ? dataset.num_classes * heads : static_cast<double>(options.hidden);
    widths.push_back({in, out});
    in = out;
  }
  return widths;
}

StepCounts counts_of(const Volumes& volumes, const std::vector<LayerWidths>& widths,
                     const FloorOptions& options) {
  StepCounts counts{.input_rows = volumes.input_rows.total};
  counts.gathered_bytes = counts.input_rows * widths.front().in * kElementBytes;
  for (std::size_t l = 0; l < volumes.layers.size(); ++l) {
    const LayerVolumes& volume = volumes.layers[l];
    const Layer layer{volume.destinations.total, volume.own_rows.total, widths[l].in, widths[l].out,
                      l == 0};
    const Cost cost = linear_part(layer, options);
    counts.dense_flops += cost.flops;
    counts.streamed_bytes += kElementBytes * (cost.elements + outer_elements(layer));
    counts.random_reads += volume.destinations.total + volume.edges.total;
  }
  return counts;
}

StepCounts count_step(const Dataset& dataset, const FloorOptions& options, const Log& log) {
  check_fanout(options.fanout);
  if (dataset.train.nodes.empty())
    throw UsageError("the dataset has no training nodes", "give a train_set");
  static const std::set<std::string> models{"sage", "gcn", "gat", "gin"};
  if (!models.contains(options.model)) {
    throw UsageError("--floor does not know --model " + options.model,
                     "choose sage, gcn, gat or gin");
  }
  const Csc csc = prepare_csc(dataset, options.threads, log);
  const PresampledBatches batches(csc.view(), dataset.train.nodes,
                                  {.fanout = options.fanout,
                                   .batch_size = static_cast<std::uint32_t>(options.batch_size),
                                   .max_batches = 16,
                                   .seed = options.seed,
                                   .threads = options.threads});
  return counts_of(count_volumes(csc.view(), batches, {.seed = options.seed}),
                   layer_widths(dataset, options), options);
}

StepFloor floor_of(const StepCounts& counts, const MachineRates& rates) {
  return {.sample = counts.random_reads / rates.random_reads,
          .load = counts.gathered_bytes / rates.gather_bytes,
          .dense = counts.dense_flops / rates.gemm_flops,
          .rows = counts.streamed_bytes / rates.stream_bytes};
}

std::string as_text(const StepCounts& counts, const MachineRates& rates) {
  const StepFloor floor = floor_of(counts, rates);
  std::string text;
  const auto line = [&](const char* part, const std::string& count, const std::string& rate,
                        double seconds) {
    text += fmt::format("{:7} {:>22}  at {:>16}  {:7.1f} ms\n", part, count, rate, 1e3 * seconds);
  };
  line("sample", fmt::format("{:.0f} random reads", counts.random_reads),
       fmt::format("{:.0f} M/s", rates.random_reads / 1e6), floor.sample);
  line("load", fmt::format("{:.1f} MB of rows", counts.gathered_bytes / 1e6),
       fmt::format("{:.1f} GB/s", rates.gather_bytes / 1e9), floor.load);
  line("dense", fmt::format("{:.2f} GFLOP", counts.dense_flops / 1e9),
       fmt::format("{:.0f} GFLOP/s", rates.gemm_flops / 1e9), floor.dense);
  line("rows", fmt::format("{:.1f} MB", counts.streamed_bytes / 1e6),
       fmt::format("{:.1f} GB/s", rates.stream_bytes / 1e9), floor.rows);
  return text + fmt::format("floor of a step: {:.1f} ms", 1e3 * floor.total());
}

std::string as_json(const StepCounts& counts, const MachineRates& rates) {
  const StepFloor floor = floor_of(counts, rates);
  return nlohmann::ordered_json{{"counts",
                                 {{"random_reads", counts.random_reads},
                                  {"input_rows", counts.input_rows},
                                  {"gathered_bytes", counts.gathered_bytes},
                                  {"dense_flops", counts.dense_flops},
                                  {"streamed_bytes", counts.streamed_bytes}}},
                                {"rates",
                                 {{"random_reads", rates.random_reads},
                                  {"gather_bytes", rates.gather_bytes},
                                  {"gemm_flops", rates.gemm_flops},
                                  {"stream_bytes", rates.stream_bytes}}},
                                {"floor_s",
                                 {{"sample", floor.sample},
                                  {"load", floor.load},
                                  {"dense", floor.dense},
                                  {"rows", floor.rows},
                                  {"total", floor.total()}}}}
      .dump();
}

}  // namespace gsplit
