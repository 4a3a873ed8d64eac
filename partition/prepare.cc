#include "partition/prepare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>

#include <array>
#include <chrono>
#include <string_view>
#include <utility>

#include "graph/csc.h"
#include "graph/sha256.h"
#include "graph/staged_directory.h"
#include "kernels/base/available_memory.h"
#include "partition/cache.h"
#include "partition/cache_key.h"
#include "partition/metis_memory.h"
#include "partition/metis_partitioner.h"
#include "partition/presample.h"
#include "partition/quality.h"
#include "partition/shard_writer.h"
#include "partition/simple_partitioners.h"
#include "partition/stream_partitioner.h"

namespace gsplit {
namespace {

constexpr std::array<std::pair<std::string_view, PartitionMethod>, 6> kMethods{
    {{"auto", PartitionMethod::kAuto},
     {"metis", PartitionMethod::kMetis},
     {"stream", PartitionMethod::kStream},
     {"random", PartitionMethod::kRandom},
     {"range", PartitionMethod::kRange},
     {"file", PartitionMethod::kFile}}};

std::string method_name(const PrepareOptions& options) {
  return options.parts == 1 ? "none" : name_of(options.method);
}

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

std::uint64_t peak_rss_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;  // Linux counts in KiB
}

void check_options(const Dataset& dataset, const PrepareOptions& options) {
  check_part_count(options.parts, dataset.num_nodes);
  check_fanout(options.fanout);
  check_sampler(options.sampler, dataset);
  if (options.batch_size == 0) throw UsageError("the batch size is 0", "give a positive one");
  const bool from_file = options.method == PartitionMethod::kFile;
  if (from_file && options.assignment.empty()) {
    throw UsageError("--method file needs --assignment", "name a .npy with the part of each node");
  }
  if (!from_file && !options.assignment.empty()) {
    throw UsageError("--assignment is given, but --method is " + method_name(options),
                     "add --method file or leave it out");
  }
}

/// One part depends on nothing but the dataset.
std::string options_key(const PrepareOptions& options) {
  if (options.parts == 1) return "one part\n";
  std::string key = fmt::format("{} parts by {}, fanout {}, batch {}, seed {}\n", options.parts,
                                method_name(options), fmt::join(options.fanout, ","),
                                options.batch_size, options.seed);
  if (options.sampler != Sampler::kUniform) {
    key += fmt::format("sampler {}\n", name_of(options.sampler));
  }
  if (options.method == PartitionMethod::kFile) {
    key += sha256_hex(NpyArray::open(options.assignment).bytes());
  }
  return key;
}

/// A dataset that is being partitioned.
struct Job {
  const Dataset& dataset;
  const PrepareOptions& options;
  const std::string fingerprint;
  const Log& log;
};

Csc cached_csc(const Job& job) {
  const Dataset& dataset = job.dataset;
  const CacheEntry<Csc> entry{
      .open =
          [&](const std::filesystem::path& path) {
            Csc csc = Csc::open(path);
            const CscView view = csc.view();
            if (view.num_nodes() != dataset.num_nodes || view.num_edges() != dataset.num_edges ||
                view.weights.size() != (dataset.edge_weights ? dataset.num_edges : 0)) {
              throw UsageError(path.string() + " holds another graph");
            }
            return csc;
          },
      .build =
          [&](const std::filesystem::path& path) {
            const Stopwatch watch;
            validate_arrays(dataset, job.options.threads);  // nothing is kept of a bad dataset
            build_csc(dataset, path, {.threads = job.options.threads});
            job.log.info(fmt::format("sorted {} edges by destination in {:.1f} s",
                                     dataset.num_edges, watch.seconds()));
          }};
  return open_cached(cache_path("csc", dataset_key(dataset, job.fingerprint)), entry, job.log);
}

Assignment assign_parts(const CscView& graph, const PresampleCounts& counts,
                        const PrepareOptions& options) {
  switch (options.method) {
    case PartitionMethod::kAuto:
      break;  // decided before
    case PartitionMethod::kMetis:
      return metis_partition(
          graph, counts,
          {.parts = options.parts, .seed = options.seed, .threads = options.threads});
    case PartitionMethod::kStream:
      return stream_partition(
          graph, counts,
          {.parts = options.parts, .seed = options.seed, .threads = options.threads});
    case PartitionMethod::kRandom:
      return random_partition(graph.num_nodes(), options.parts, options.seed);
    case PartitionMethod::kRange:
      return range_partition(graph, options.parts);
    case PartitionMethod::kFile:
      return read_assignment(options.assignment, graph.num_nodes(), options.parts);
  }
  throw InternalError("internal error: a partition method without an implementation");
}

/// The method to use: what auto stands for is decided, METIS is refused where it does not fit.
PartitionMethod decided_method(const CscView& graph, const PrepareOptions& options,
                               const Log& log) {
  const bool automatic = options.method == PartitionMethod::kAuto;
  if (options.parts == 1 || !(automatic || options.method == PartitionMethod::kMetis)) {
    return options.method;
  }
  constexpr double kGiB = 1 << 30;
  const MetisEstimate estimate = estimate_metis(graph);
  const std::uint64_t memory = options.memory ? *options.memory : available_memory();
  const bool fits = metis_fits(estimate, memory);
  const std::string needs = fmt::format(
      "METIS would need about {:.2f} GiB for {} nodes and {} undirected edges; {:.2f} GiB are "
      "available and its integers end at 2^30 edges",
      static_cast<double>(estimate.bytes) / kGiB, estimate.nodes, estimate.edges,
      static_cast<double>(memory) / kGiB);
  if (!automatic && !fits) {
    throw UsageError(needs, "choose --partition stream (gsplit partition: --method stream)");
  }
  if (automatic) log.info(fmt::format("auto takes {}: {}", fits ? "metis" : "stream", needs));
  return fits ? PartitionMethod::kMetis : PartitionMethod::kStream;
}

struct PartitionedGraph {
  Assignment assignment;
  Quality quality;
};

PartitionedGraph partition_graph(const CscView& graph, const Job& job) {
  const PrepareOptions& options = job.options;
  if (options.parts == 1) return {Assignment(graph.num_nodes(), 0), Quality{}};
  const Stopwatch watch;
  const PresampledBatches batches(graph, job.dataset.train.nodes,
                                  {.fanout = options.fanout,
                                   .sampler = options.sampler,
                                   .batch_size = options.batch_size,
                                   .seed = options.seed,
                                   .threads = options.threads});
  const PresampleCounts counts =
      count_samples(graph, job.dataset.train.nodes, batches, options.threads);
  const double presampled = watch.seconds();
  PartitionedGraph result{.assignment = assign_parts(graph, counts, options), .quality = {}};
  const double assigned = watch.seconds();
  result.quality =
      measure_quality(graph, result.assignment, options.parts, batches, counts, options.threads);
  job.log.info(fmt::format(
      "{} parts by {}: presampled {} batches in {:.1f} s, partitioned in {:.1f} s, measured in "
      "{:.1f} s; {:.1f} % of the edges cut, {:.0f} rows to shuffle a step",
      options.parts, method_name(options), batches.size(), presampled, assigned - presampled,
      watch.seconds() - assigned, 100 * result.quality.cut_fraction, result.quality.shuffle_rows));
  return result;
}

PartitionInfo partition_info(const Job& job) {
  PartitionInfo info{.method = method_name(job.options),
                     .dataset_fingerprint = job.fingerprint,
                     .seed = job.options.seed};
  if (job.options.parts > 1) info.fanout = job.options.fanout;  // else there was no presample
  return info;
}

/// Fills `directory`, which exists and is empty.
void build_partition(const Job& asked, const std::filesystem::path& directory) {
  const Stopwatch watch;
  const Csc csc = cached_csc(asked);
  PrepareOptions options = asked.options;
  options.method = decided_method(csc.view(), options, asked.log);
  const Job job{asked.dataset, options, asked.fingerprint, asked.log};
  PartitionedGraph partitioned = partition_graph(csc.view(), job);
  write_shards({job.dataset, csc.view(), partitioned.assignment}, partition_info(job), directory,
               job.options.threads);
  partitioned.quality.method = method_name(job.options);
  partitioned.quality.seconds = watch.seconds();
  partitioned.quality.peak_rss_bytes = peak_rss_bytes();
  write_quality(directory / "quality.json", partitioned.quality);
}

/// Opens with the checks of all shards.
Partition open_whole(const std::filesystem::path& directory) {
  Partition partition = Partition::open(directory);
  for (int part = 0; part < partition.info().num_parts; ++part) Shard::open(partition, part);
  return partition;
}

std::filesystem::path partition_path(const Job& job, const PrepareOptions& options) {
  return cache_path("partition", dataset_key(job.dataset, job.fingerprint) + options_key(options));
}

/// The entry of auto where it was made by the method that is asked for: the same partition.
std::optional<Partition> made_by_auto(const Job& job) {
  const PartitionMethod method = job.options.method;
  if (method != PartitionMethod::kMetis && method != PartitionMethod::kStream) return std::nullopt;
  PrepareOptions automatic = job.options;
  automatic.method = PartitionMethod::kAuto;
  const std::filesystem::path path = partition_path(job, automatic);
  if (!std::filesystem::exists(path)) return std::nullopt;
  try {
    Partition partition = open_whole(path);
    if (partition.info().method == method_name(job.options)) return partition;
  } catch (const UsageError&) {
    // Damaged: the one that is asked for is made.
  }
  return std::nullopt;
}

}  // namespace

PartitionMethod partition_method_from_name(const std::string& name) {
  for (const auto& [known, method] : kMethods) {
    if (name == known) return method;
  }
  throw UsageError("--method " + name + " is unknown",
                   "choose auto, metis, stream, random, range or file");
}

Csc prepare_csc(const Dataset& dataset, int threads, const Log& log) {
  const PrepareOptions options{.threads = threads};
  return cached_csc({dataset, options, content_fingerprint(dataset), log});
}

Assignment assign_nodes(const CscView& graph, const PresampleCounts& counts,
                        const PrepareOptions& options, const Log& log) {
  check_part_count(options.parts, graph.num_nodes());
  if (options.parts == 1) return Assignment(graph.num_nodes(), 0);
  PrepareOptions decided = options;
  decided.method = decided_method(graph, options, log);
  return assign_parts(graph, counts, decided);
}

std::string name_of(PartitionMethod method) {
  for (const auto& [name, known] : kMethods) {
    if (known == method) return std::string(name);
  }
  throw InternalError("internal error: a partition method without a name");
}

void require_edge_weights(bool there) {
  if (there) return;
  throw UsageError("--sampler weighted needs edge weights, and the dataset has none",
                   "choose --sampler uniform or labor, or add weights to the dataset");
}

void check_sampler(Sampler sampler, const Dataset& dataset) {
  if (sampler == Sampler::kWeighted) require_edge_weights(dataset.edge_weights.has_value());
}

void write_partition(const Dataset& dataset, const PrepareOptions& options,
                     const std::filesystem::path& out, const Log& log) {
  check_options(dataset, options);
  StagedDirectory staging(out);
  build_partition({dataset, options, content_fingerprint(dataset), log}, staging.path());
  staging.commit();
}

Partition prepare_partition(const Dataset& dataset, const PrepareOptions& options, const Log& log) {
  check_options(dataset, options);
  const Job job{dataset, options, content_fingerprint(dataset), log};
  const std::filesystem::path path = partition_path(job, options);
  if (!std::filesystem::exists(path)) {
    if (std::optional<Partition> same = made_by_auto(job)) return *std::move(same);
  }
  const CacheEntry<Partition> entry{
      .open = open_whole,
      .build = [&](const std::filesystem::path& directory) { build_partition(job, directory); }};
  return open_cached(path, entry, log);
}

}  // namespace gsplit
