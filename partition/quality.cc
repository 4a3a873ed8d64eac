#include "partition/quality.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "kernels/base/error.h"
#include "partition/node_bitmap.h"

namespace gsplit {
namespace {

/// Rows of edges, each into one destination; `for_each(i, f)` calls f(source) for the edges of row
/// i.
template <class ForEach>
struct EdgeRows {
  std::size_t rows;
  ForEach for_each;
};
template <class ForEach>
EdgeRows(std::size_t, ForEach) -> EdgeRows<ForEach>;

/// Counts unique (source, part of destination) pairs of sources that another part owns. One part
/// after the other marks its sources in a bitmap, so memory is one bit a node for any number of
/// parts.
class PairCounter {
 public:
  PairCounter(std::span<const PartId> assignment, int parts, int threads)
      : assignment_(assignment), parts_(parts), threads_(threads), seen_(assignment.size()) {}

  /// `destination(i)`: the node that row i leads to.
  template <class Destination, class ForEach>
  std::uint64_t count(const EdgeRows<ForEach>& edges, Destination&& destination) {
    group_rows(edges.rows, destination);
    std::uint64_t pairs = 0;
    for (int part = 0; part < parts_; ++part) {
      pairs += count_part(edges, static_cast<PartId>(part));
    }
    return pairs;
  }

 private:
  static constexpr std::size_t kShortRound = 2048;

  /// Counting sort of the rows by the part of their destinations.
  template <class Destination>
  void group_rows(std::size_t rows, Destination&& destination) {
    bounds_.assign(static_cast<std::size_t>(parts_) + 1, 0);
    for (std::size_t i = 0; i < rows; ++i) ++bounds_[assignment_[destination(i)] + std::size_t{1}];
    std::partial_sum(bounds_.begin(), bounds_.end(), bounds_.begin());
    std::vector<std::size_t> next(bounds_.begin(), bounds_.end() - 1);
    rows_.resize(rows);
    for (std::size_t i = 0; i < rows; ++i) rows_[next[assignment_[destination(i)]]++] = i;
  }

  template <class ForEach>
  std::uint64_t count_part(const EdgeRows<ForEach>& edges, PartId part) {
    const std::span<const std::size_t> rows =
        std::span(rows_).subspan(bounds_[part], bounds_[part + std::size_t{1}] - bounds_[part]);
    // Many parts make short rounds, which waking threads would only lengthen.
    const int threads = rows.size() < kShortRound ? 1 : threads_;
    std::uint64_t pairs = 0;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 256) reduction(+ : pairs)
    for (std::size_t i = 0; i < rows.size(); ++i) {
      edges.for_each(rows[i], [&](std::uint64_t source) {
        if (assignment_[source] != part && seen_.insert(source)) ++pairs;
      });
    }
#pragma omp parallel for num_threads(threads) schedule(dynamic, 256)
    for (std::size_t i = 0; i < rows.size(); ++i) {
      edges.for_each(rows[i], [&](std::uint64_t source) { seen_.clear_word_of(source); });
    }
    return pairs;
  }

  std::span<const PartId> assignment_;
  int parts_;
  int threads_;
  NodeBitmap seen_;
  std::vector<std::size_t> rows_;
  std::vector<std::size_t> bounds_;
};

double cut_fraction(const CscView& graph, std::span<const PartId> assignment, int threads) {
  if (graph.num_edges() == 0) return 0;
  std::uint64_t cut = 0;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1024) reduction(+ : cut)
  for (std::uint64_t v = 0; v < graph.num_nodes(); ++v) {
    for (std::int64_t e = graph.indptr[v]; e < graph.indptr[v + 1]; ++e) {
      if (assignment[graph.neighbor(e)] != assignment[v]) ++cut;
    }
  }
  return static_cast<double>(cut) / static_cast<double>(graph.num_edges());
}

std::uint64_t halo_rows(const CscView& graph, PairCounter& counter) {
  const EdgeRows edges{static_cast<std::size_t>(graph.num_nodes()), [&](std::size_t v, auto&& f) {
                         for (std::int64_t e = graph.indptr[v]; e < graph.indptr[v + 1]; ++e) {
                           f(graph.neighbor(e));
                         }
                       }};
  return counter.count(edges, [](std::size_t v) { return v; });
}

double shuffle_rows(const CscView& graph, const PresampledBatches& batches, PairCounter& counter) {
  if (batches.size() == 0) return 0;
  std::uint64_t pairs = 0;
  batches.replay({.layer = [&](const PresampledLayer& sample) {
    const EdgeRows edges{sample.destinations.size(), [&](std::size_t i, auto&& f) {
                           for (std::uint64_t e = sample.offsets[i]; e < sample.offsets[i + 1];
                                ++e) {
                             f(graph.neighbor(sample.edges[e]));
                           }
                         }};
    pairs += counter.count(edges, [&](std::size_t i) { return sample.destinations[i]; });
  }});
  return static_cast<double>(pairs) / batches.size();
}

template <class Load>
double max_over_average(std::span<const Load> loads, std::span<const PartId> assignment,
                        int parts) {
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(parts), 0);
  for (std::size_t v = 0; v < loads.size(); ++v) sums[assignment[v]] += loads[v];
  const std::uint64_t total = std::accumulate(sums.begin(), sums.end(), std::uint64_t{0});
  if (total == 0) return 1;
  const double average = static_cast<double>(total) / parts;
  return static_cast<double>(*std::max_element(sums.begin(), sums.end())) / average;
}

}  // namespace

Quality measure_quality(const CscView& graph, std::span<const PartId> assignment, int parts,
                        const PresampledBatches& batches, const PresampleCounts& counts,
                        int threads) {
  PairCounter counter(assignment, parts, threads);
  Quality quality{.parts = parts};
  quality.cut_fraction = cut_fraction(graph, assignment, threads);
  quality.halo_rows = halo_rows(graph, counter);
  quality.shuffle_rows = shuffle_rows(graph, batches, counter);
  quality.load_max_avg = {
      .edges = max_over_average<std::uint64_t>(counts.compute, assignment, parts),
      .input_rows = max_over_average<std::uint32_t>(counts.input_rows, assignment, parts),
      .seeds = max_over_average<std::uint8_t>(counts.is_seed, assignment, parts)};
  return quality;
}

void write_quality(const std::filesystem::path& file, const Quality& quality) {
  const nlohmann::ordered_json json{{"parts", quality.parts},
                                    {"method", quality.method},
                                    {"seconds", quality.seconds},
                                    {"peak_rss_bytes", quality.peak_rss_bytes},
                                    {"cut_fraction", quality.cut_fraction},
                                    {"halo_rows", quality.halo_rows},
                                    {"shuffle_rows", quality.shuffle_rows},
                                    {"load_max_avg",
                                     {{"edges", quality.load_max_avg.edges},
                                      {"input_rows", quality.load_max_avg.input_rows},
                                      {"seeds", quality.load_max_avg.seeds}}}};
  std::ofstream stream(file);
  stream << json.dump(2) << '\n';
  stream.close();
  if (!stream) throw SystemError("cannot write " + file.string(), "check the disk's space");
}

}  // namespace gsplit
