#include "graph/csc.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

namespace gsplit {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& fault) {
  throw UsageError(file.string() + " " + fault, "remove it, so that it is built again");
}

void check_indptr(const NpyArray& indptr, std::uint64_t num_edges) {
  const auto bounds = indptr.as<std::int64_t>();
  if (indptr.shape().size() != 1 || bounds.empty() || bounds.front() != 0 ||
      static_cast<std::uint64_t>(bounds.back()) != num_edges ||
      !std::is_sorted(bounds.begin(), bounds.end())) {
    refuse(indptr.path(), "does not bound the rows of indices.npy");
  }
}

/// Edge ends of a dataset in the type of its file.
template <class Id>
struct EdgeList {
  std::span<const Id> sources;
  std::span<const Id> destinations;
};

template <class Id>
EdgeList<Id> halves(std::span<const Id> ends) {
  const std::size_t edges = ends.size() / 2;
  return {ends.first(edges), ends.last(edges)};
}

/// indptr[v] = number of edges into nodes before v.
template <class Id>
void count_in_edges(std::span<const Id> destinations, std::span<std::int64_t> indptr, int threads) {
  std::fill(indptr.begin(), indptr.end(), 0);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (const Id v : destinations) {
    std::atomic_ref(indptr[static_cast<std::size_t>(v) + 1])
        .fetch_add(1, std::memory_order_relaxed);
  }
  for (std::size_t v = 1; v < indptr.size(); ++v) indptr[v] += indptr[v - 1];
}

/// Rows that are filled together.
struct RowRange {
  std::size_t begin, end;
};

/// Cuts the rows into ranges of at most `most` entries, a longer row being a range of its own.
std::vector<RowRange> cut_rows(std::span<const std::int64_t> indptr, std::size_t most) {
  std::vector<RowRange> ranges;
  const std::size_t rows = indptr.size() - 1;
  for (std::size_t begin = 0; begin < rows; begin = ranges.back().end) {
    const auto past =
        std::upper_bound(indptr.begin() + static_cast<std::ptrdiff_t>(begin), indptr.end(),
                         indptr[begin] + static_cast<std::int64_t>(most));
    const auto end = static_cast<std::size_t>(past - indptr.begin()) - 1;
    ranges.push_back({begin, std::max(end, begin + 1)});
  }
  return ranges;
}

/// Puts entry(e) of each edge e into one of the rows of `range` into the row of its destination, in
/// whatever order the threads come. `entries`: those of the range.
template <class Id, class T, class Entry>
void place_in_rows(const EdgeList<Id>& edges, std::span<const std::int64_t> indptr,
                   const RowRange& range, std::span<T> entries, int threads, Entry entry) {
  std::vector<std::int64_t> next;
  for (std::size_t v = range.begin; v < range.end; ++v) {
    next.push_back(indptr[v] - indptr[range.begin]);
  }
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::size_t e = 0; e < edges.sources.size(); ++e) {
    const auto row = static_cast<std::size_t>(edges.destinations[e]);
    if (row < range.begin || row >= range.end) continue;
    const std::int64_t at =
        std::atomic_ref(next[row - range.begin]).fetch_add(1, std::memory_order_relaxed);
    entries[static_cast<std::size_t>(at)] = entry(e);
  }
}

/// Makes the order within rows independent of the threads. REQUIRES: `before` tells any two
/// different entries apart.
template <class T, class Before>
void sort_rows(std::span<const std::int64_t> indptr, const RowRange& range, std::span<T> entries,
               int threads, Before before) {
  const std::int64_t first = indptr[range.begin];
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1024)
  for (std::size_t v = range.begin; v < range.end; ++v) {
    std::sort(entries.begin() + (indptr[v] - first), entries.begin() + (indptr[v + 1] - first),
              before);
  }
}

/// Calls use(first entry's position, entries) for range after range. The entries of a range are
/// placed in memory, at random, and written to files in order: pages of a mapped file that are
/// written at random go to the disk again and again.
template <class T, class Id, class Entry, class Before, class Use>
void fill_rows(const EdgeList<Id>& edges, std::span<const std::int64_t> indptr,
               const CscOptions& options, Entry entry, Before before, Use use) {
  std::vector<T> entries;
  for (const RowRange& range : cut_rows(indptr, options.range_bytes / sizeof(T))) {
    const std::int64_t first = indptr[range.begin];
    entries.resize(static_cast<std::size_t>(indptr[range.end] - first));
    place_in_rows(edges, indptr, range, std::span(entries), options.threads, entry);
    sort_rows(indptr, range, std::span(entries), options.threads, before);
    use(static_cast<std::size_t>(first), std::span<const T>(entries));
  }
}

template <class Id, class Index>
void fill_sources(const EdgeList<Id>& edges, std::span<const std::int64_t> indptr,
                  std::span<Index> indices, const CscOptions& options) {
  fill_rows<Index>(
      edges, indptr, options, [&](std::size_t e) { return static_cast<Index>(edges.sources[e]); },
      std::less<>(),
      [&](std::size_t first, std::span<const Index> entries) {
        std::copy(entries.begin(), entries.end(),
                  indices.begin() + static_cast<std::ptrdiff_t>(first));
      });
}

/// As fill_sources, in a detour over the positions of the edges: weights follow them.
template <class Id, class Index>
void fill_sources_and_weights(const Dataset& dataset, const EdgeList<Id>& edges,
                              std::span<const std::int64_t> indptr, std::span<Index> indices,
                              std::span<float> weights, const CscOptions& options) {
  const auto before = [&](std::uint64_t a, std::uint64_t b) {
    return std::pair(edges.sources[a], a) < std::pair(edges.sources[b], b);
  };
  fill_rows<std::uint64_t>(
      edges, indptr, options, [](std::size_t e) { return std::uint64_t{e}; }, before,
      [&](std::size_t first, std::span<const std::uint64_t> order) {
#pragma omp parallel for num_threads(options.threads) schedule(static)
        for (std::size_t i = 0; i < order.size(); ++i) {
          indices[first + i] = static_cast<Index>(edges.sources[order[i]]);
        }
        gather_edge_weights(dataset, order, weights.subspan(first, order.size()), options.threads);
      });
}

template <class Index>
void write_csc(const Dataset& dataset, const std::filesystem::path& directory,
               const CscOptions& options) {
  NpyWriter indptr_file(directory / "indptr.npy", npy_type_of<std::int64_t>::value,
                        {dataset.num_nodes + 1});
  NpyWriter indices_file(directory / "indices.npy", npy_type_of<Index>::value, {dataset.num_edges});
  std::vector<std::int64_t> indptr(dataset.num_nodes + 1);
  const auto indices = indices_file.as<Index>();
  dataset.edges.visit_integers([&](auto ends) {
    const auto edges = halves(ends);
    count_in_edges(edges.destinations, std::span(indptr), options.threads);
    if (!dataset.edge_weights) return fill_sources(edges, indptr, indices, options);
    NpyWriter weights(directory / "weights.npy", npy_type_of<float>::value, {dataset.num_edges});
    fill_sources_and_weights(dataset, edges, indptr, indices, weights.as<float>(), options);
    weights.close();
  });
  std::copy(indptr.begin(), indptr.end(), indptr_file.as<std::int64_t>().begin());
  indptr_file.close();
  indices_file.close();
}

}  // namespace

Csc Csc::open(const std::filesystem::path& directory) {
  Csc csc;
  csc.indptr_ = NpyArray::open(directory / "indptr.npy");
  csc.indices_ = NpyArray::open(directory / "indices.npy");
  const NpyType type = csc.indices_.type();
  if (csc.indices_.shape().size() != 1 ||
      (type != npy_type_of<std::uint32_t>::value && type != npy_type_of<std::uint64_t>::value)) {
    refuse(csc.indices_.path(), "does not hold the indices of a CSC");
  }
  check_indptr(csc.indptr_, csc.indices_.num_elements());
  if (const auto weights = directory / "weights.npy"; std::filesystem::exists(weights)) {
    csc.weights_ = NpyArray::open(weights);
    if (csc.weights_->type() != npy_type_of<float>::value ||
        csc.weights_->shape() != csc.indices_.shape()) {
      refuse(weights, "does not hold a weight for each index");
    }
  }
  return csc;
}

CscView Csc::view() const {
  CscView view{indptr_.as<std::int64_t>(), {}, {}};
  if (indices_.type().bytes == 4) {
    view.indices32 = indices_.as<std::uint32_t>();
  } else {
    view.indices64 = indices_.as<std::uint64_t>();
  }
  if (weights_) view.weights = weights_->as<float>();
  return view;
}

void build_csc(const Dataset& dataset, const std::filesystem::path& directory,
               const CscOptions& options) {
  validate_edges(dataset, options.threads);  // the ends are positions from here on
  if (dataset.num_nodes <= std::numeric_limits<std::uint32_t>::max()) {
    write_csc<std::uint32_t>(dataset, directory, options);
  } else {
    write_csc<std::uint64_t>(dataset, directory, options);
  }
}

}  // namespace gsplit
