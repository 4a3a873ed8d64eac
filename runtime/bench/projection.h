// `gsplit bench DATASET --project RATES`: what an epoch would take on other workers and links, from
// counted volumes (runtime/bench/volume_report.h) and a file of rates. No step is timed.
//
// The busiest worker, one thing after the other:
//
//   sample     its sampled edges
//   load       its input rows that no cache has, from host memory, or where the workers hold the
//              features among them those of others, by the links between workers
//   compute    its products, and the rows that its sums read and write
//   shuffle    what it sends to others, of which those of its host have a faster link; a fixed time
//   for each
//              exchange
//   gradients  all-reduce of the weights by reduce-scatter and all-gather
//   step       a fixed time
#pragma once

#include <filesystem>
#include <string>

#include "runtime/bench/volume_report.h"

namespace gsplit {

/// Of one worker, a second.
struct DeviceRates {
  std::string name;
  int workers_per_host = 1;
  double sampled_edges = 0;
  double dense_flops = 0;
  double memory_bytes = 0;   ///< read and written
  double load_bytes = 0;     ///< of input rows, from host memory
  double peer_bytes = 0;     ///< each way, to workers of its host
  double network_bytes = 0;  ///< each way, to workers of other hosts
  double exchange = 0;       ///< seconds, of a collective however little it carries
  double step = 0;           ///< seconds, of a step whatever it does
};

/// Reads a file like those in bench/rates. UsageError naming it where a rate is missing or is not a
/// positive number, or a key is unknown.
DeviceRates read_device_rates(const std::filesystem::path& file);

/// What a line of volumes leaves open.
struct ProjectionOptions {
  std::size_t layers = 3;
  double row_bytes = 0;         ///< of an input row
  double weights = 0;           ///< elements of all weights
  std::uint64_t num_train = 0;  ///< training nodes
  bool cached = false;          ///< rows that a cache has are not loaded
  /// Workers hold the features among them, in device memory: own ones need no loading, and in mode
  /// data those of others are fetched from them (Quiver).
  bool on_device = false;
};

/// Seconds of a step.
struct Projection {
  double sample = 0;
  double load = 0;
  double compute = 0;
  double shuffle = 0;
  double gradients = 0;
  double step = 0;
  double epoch = 0;

  double total() const { return sample + load + compute + shuffle + gradients + step; }
};

Projection project(const VolumeLine& line, const DeviceRates& rates,
                   const ProjectionOptions& options);

std::string projection_header();
/// `data_epoch`: of mode data with as many workers, to compare with.
std::string as_text(const VolumeLine& line, const Projection& projection, double data_epoch,
                    bool cached);
std::string as_json(const VolumeLine& line, const Projection& projection, bool cached);

}  // namespace gsplit
