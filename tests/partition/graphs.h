// Graphs, datasets and cache folders for the tests of partitioning.
#pragma once

#include <stdlib.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "graph/csc.h"
#include "graph/dataset.h"
#include "graph/npy.h"
#include "tests/graph/temporary_directory.h"

namespace gsplit::test {

using Edge = std::pair<std::uint64_t, std::uint64_t>;  // source, destination; original ids

/// Planted communities: node v belongs to community v % communities, so that contiguous ranges mix
/// them all. Directed edges, `inside` of them within a community, with loops and parallel edges;
/// every eleventh node has no in-edges and the last one no edges at all.
inline std::vector<Edge> community_edges(std::uint64_t nodes, std::uint64_t communities,
                                         std::uint64_t degree, double inside, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Edge> edges;
  for (std::uint64_t v = 0; v + 1 < nodes; ++v) {
    if (v % 11 == 0) continue;
    for (std::uint64_t i = 0; i < degree; ++i) {
      std::uint64_t u = random() % (nodes - 1);
      if (static_cast<double>(random() % 1000) < inside * 1000) {
        u = u / communities * communities + v % communities;
      }
      if (u + 1 >= nodes) continue;
      edges.emplace_back(u, v);
    }
  }
  edges.emplace_back(1, 1);
  edges.push_back(edges.front());
  return edges;
}

/// Owns what a CscView shows.
struct MemoryCsc {
  std::vector<std::int64_t> indptr;
  std::vector<std::uint32_t> indices;
  CscView view() const { return {indptr, indices, {}}; }
};

inline MemoryCsc make_csc(std::uint64_t nodes, std::vector<Edge> edges) {
  std::sort(edges.begin(), edges.end(), [](Edge a, Edge b) {
    return std::pair(a.second, a.first) < std::pair(b.second, b.first);
  });
  MemoryCsc csc{.indptr = std::vector<std::int64_t>(nodes + 1, 0), .indices = {}};
  for (const Edge& edge : edges) {
    ++csc.indptr[edge.second + 1];
    csc.indices.push_back(static_cast<std::uint32_t>(edge.first));
  }
  for (std::uint64_t v = 0; v < nodes; ++v) csc.indptr[v + 1] += csc.indptr[v];
  return csc;
}

/// Every third node trains; of the others some validate, some test and some have no label.
inline DatasetArrays describe(std::uint64_t nodes) {
  DatasetArrays arrays{.name = "planted", .num_nodes = nodes, .num_classes = 5};
  for (std::uint64_t i = nodes; i > 0; --i) {  // descending: files need not be sorted
    const std::uint64_t v = i - 1;
    LabeledNodes* const split = v % 3 == 0   ? &arrays.train
                                : v % 7 == 1 ? &arrays.validation
                                : v % 5 == 2 ? &arrays.test
                                             : nullptr;
    if (split == nullptr) continue;
    split->nodes.push_back(v);
    split->labels.push_back(static_cast<std::int32_t>(v % 5));
  }
  return arrays;
}

/// Feature (v, column) is 3 v + column, exact in fp32 and, for small graphs, in fp16.
inline void write_dataset(const std::filesystem::path& directory, std::uint64_t nodes,
                          const std::vector<Edge>& edges) {
  std::filesystem::create_directories(directory);
  std::vector<std::int64_t> ends(2 * edges.size());
  for (std::size_t e = 0; e < edges.size(); ++e) {
    ends[e] = static_cast<std::int64_t>(edges[e].first);
    ends[edges.size() + e] = static_cast<std::int64_t>(edges[e].second);
  }
  write_npy<std::int64_t>(directory / "edges.npy", ends, {2, edges.size()});
  std::vector<float> features(nodes * 3);
  for (std::size_t i = 0; i < features.size(); ++i) features[i] = static_cast<float>(i);
  write_npy<float>(directory / "feat.npy", features, {nodes, 3});
  write_dataset_metadata(directory, describe(nodes));
}

/// Gives edge e of a written dataset the weight e / 4.
inline void write_edge_weights(const std::filesystem::path& directory, std::uint64_t edges) {
  std::vector<double> weights(edges);
  for (std::size_t e = 0; e < edges; ++e) weights[e] = static_cast<double>(e) / 4;
  write_npy<double>(directory / "weights.npy", weights, {edges});
  std::string metadata = read_file(directory / "metadata.yaml");
  const std::string before = "feature_data:\n";
  metadata.insert(metadata.find(before) + before.size(),
                  "  - {domain: edge, name: weight, format: numpy, path: weights.npy}\n");
  write_file(directory / "metadata.yaml", metadata);
}

/// A cache folder of the test's own.
class ScopedCache {
 public:
  ScopedCache() { ::setenv("GSPLIT_CACHE", directory_.path().c_str(), 1); }
  const std::filesystem::path& path() const { return directory_.path(); }

 private:
  TemporaryDirectory directory_;
};

}  // namespace gsplit::test
