// Features, classes and splits for nodes that have none of their own: what the generators and the
// import of bare edge lists share. Each random value is a pure function of (seed, stream, who,
// index), so that threads share the work in any way they like.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "graph/dataset.h"
#include "kernels/base/dtype.h"
#include "kernels/base/philox.h"

namespace gsplit {

/// Sub-streams of the generators: the `layer` field of the counter. The numbers are part of the
/// reproducibility promise.
enum class GeneratorStream : std::uint32_t {
  kClassShare = 0,
  kNode = 1,
  kInside = 2,
  kAcross = 3,
  kCentre = 4,
  kNoise = 5,
  kSplit = 6,
  kRmatEdge = 7,
  kRmatScramble = 8,
  kDegreeClass = 9,
};

DrawKey generator_key(std::uint64_t seed, GeneratorStream stream, std::uint32_t round = 0);

/// In (0, 1], so that its logarithm is finite.
inline double positive_unit(std::uint32_t random) { return (random + 1.0) * 0x1p-32; }

inline std::uint64_t join(std::uint32_t high, std::uint32_t low) {
  return (std::uint64_t{high} << 32) | low;
}

struct SplitShares {
  double train = 0.10;
  double validation = 0.05;
  double test = 0.10;
};

/// Throws UsageError where the shares are not in [0, 1], sum to more than 1, or leave none of
/// `nodes` for training.
void check_split_shares(std::uint64_t nodes, const SplitShares& shares);

/// Disjoint, each ascending.
struct SplitNodes {
  std::vector<std::uint64_t> train, validation, test;
};

/// Cuts a random order of `candidates` (distinct ids below 2^32) into splits; a share is one of the
/// candidates, rounded to nodes.
SplitNodes draw_splits(std::span<const std::uint32_t> candidates, const SplitShares& shares,
                       std::uint64_t seed, int threads);

/// The splits of a graph whose every node v has class class_of[v].
void split_by_class(std::span<const std::uint32_t> class_of, const SplitShares& shares,
                    std::uint64_t seed, int threads, DatasetArrays& arrays);

/// Philox counts 4 x 2^20 variates a node.
constexpr std::uint64_t kMaxSyntheticFeatures = std::uint64_t{1} << 20;

struct SyntheticFeatures {
  std::uint64_t width = 0;
  DType dtype = DType::kF32;  ///< or fp16, bf16: rounded
  std::uint64_t classes = 0;
  std::uint64_t seed = 0;
};

/// Writes (nodes, width): 0.5 x the centre of the node's class (standard normal) + 2 x standard
/// normal noise.
void write_synthetic_features(const std::filesystem::path& path,
                              std::span<const std::uint32_t> class_of,
                              const SyntheticFeatures& features, int threads);

/// Classes of equal expected size by in-degree: class = floor(classes x rank / nodes), where nodes
/// are ranked by in-degree and, within a degree, at random.
std::vector<std::uint32_t> degree_classes(std::span<const std::uint32_t> in_degrees,
                                          std::uint64_t classes, std::uint64_t seed, int threads);

/// Number of times that each node is the destination of an edge. `ends`: (2, edges) as
/// Dataset::edges, every id below num_nodes; degrees beyond 2^32 - 1 wrap.
std::vector<std::uint32_t> count_in_degrees(const NpyArray& ends, std::uint64_t num_nodes,
                                            int threads);

}  // namespace gsplit
