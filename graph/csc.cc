#include "graph/csc.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <utility>

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

/// Puts entry(e) of each edge e into the row of its destination, in whatever order the threads
/// come.
template <class Id, class T, class Entry>
void place_in_rows(const EdgeList<Id>& edges, std::span<const std::int64_t> indptr,
                   std::span<T> entries, int threads, Entry entry) {
  std::vector<std::int64_t> next(indptr.begin(), indptr.end() - 1);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::size_t e = 0; e < edges.sources.size(); ++e) {
    const auto row = static_cast<std::size_t>(edges.destinations[e]);
    const std::int64_t at = std::atomic_ref(next[row]).fetch_add(1, std::memory_order_relaxed);
    entries[static_cast<std::size_t>(at)] = entry(e);
  }
}

/// Makes the order within rows independent of the threads. REQUIRES: `before` tells any two
/// different entries apart.
template <class T, class Before>
void sort_rows(std::span<const std::int64_t> indptr, std::span<T> entries, int threads,
               Before before) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1024)
  for (std::size_t v = 0; v < indptr.size() - 1; ++v) {
    std::sort(entries.begin() + indptr[v], entries.begin() + indptr[v + 1], before);
  }
}

template <class Id, class Index>
void fill_sources(const EdgeList<Id>& edges, std::span<const std::int64_t> indptr,
                  std::span<Index> indices, int threads) {
  place_in_rows(edges, indptr, indices, threads,
                [&](std::size_t e) { return static_cast<Index>(edges.sources[e]); });
  sort_rows(indptr, indices, threads, std::less<>());
}

/// As fill_sources, in a detour over the positions of the edges: weights follow them.
template <class Id, class Index>
void fill_sources_and_weights(const Dataset& dataset, const EdgeList<Id>& edges,
                              std::span<const std::int64_t> indptr, std::span<Index> indices,
                              std::span<float> weights, int threads) {
  std::vector<std::uint64_t> order(edges.sources.size());
  place_in_rows(edges, indptr, std::span(order), threads,
                [](std::size_t e) { return std::uint64_t{e}; });
  sort_rows(indptr, std::span(order), threads, [&](std::uint64_t a, std::uint64_t b) {
    return std::pair(edges.sources[a], a) < std::pair(edges.sources[b], b);
  });
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::size_t i = 0; i < order.size(); ++i) {
    indices[i] = static_cast<Index>(edges.sources[order[i]]);
  }
  gather_edge_weights(dataset, order, weights, threads);
}

template <class Index>
void write_csc(const Dataset& dataset, const std::filesystem::path& directory, int threads) {
  NpyWriter indptr_file(directory / "indptr.npy", npy_type_of<std::int64_t>::value,
                        {dataset.num_nodes + 1});
  NpyWriter indices_file(directory / "indices.npy", npy_type_of<Index>::value, {dataset.num_edges});
  const auto indptr = indptr_file.as<std::int64_t>();
  const auto indices = indices_file.as<Index>();
  dataset.edges.visit_integers([&](auto ends) {
    const auto edges = halves(ends);
    count_in_edges(edges.destinations, indptr, threads);
    if (!dataset.edge_weights) return fill_sources(edges, indptr, indices, threads);
    NpyWriter weights(directory / "weights.npy", npy_type_of<float>::value, {dataset.num_edges});
    fill_sources_and_weights(dataset, edges, indptr, indices, weights.as<float>(), threads);
    weights.close();
  });
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

void build_csc(const Dataset& dataset, const std::filesystem::path& directory, int threads) {
  validate_edges(dataset, threads);  // the ends are positions from here on
  if (dataset.num_nodes <= std::numeric_limits<std::uint32_t>::max()) {
    write_csc<std::uint32_t>(dataset, directory, threads);
  } else {
    write_csc<std::uint64_t>(dataset, directory, threads);
  }
}

}  // namespace gsplit
